/**
 * One simulated machine: a disk, the files of a database, and at most one process, which is the real node with
 * simulated ports. It can be started, killed, cut from power, paused, and lose its disk.
 */

import { CorruptionError, messageOf, StorageError } from "../../base/errors.ts";
import type { Prng } from "../../base/prng.ts";
import type { LogStore } from "../../log/log-store.ts";
import { openNode } from "../../node/open.ts";
import type { RunningNode } from "../../node/running-node.ts";
import type { HardState } from "../../raft/ready.ts";
import {
  defaultSettings,
  type EntryId,
  type Membership,
  type NodeId,
  type Settings,
} from "../../vocabulary.ts";
import { type ClockTraits, SimClock } from "../clock.ts";
import { type Effect, type Fault, SimDisk } from "../disk.ts";
import { SimForwarder } from "../forwarder.ts";
import { SimLinks } from "../links.ts";
import { ModelStore } from "../model/store.ts";
import { Life } from "../scheduler.ts";
import { SlowDisk } from "../slow-disk.ts";
import { SqliteStore } from "../sqlite/store.ts";
import type { NodeStore } from "../store.ts";
import type { Parameters } from "./parameters.ts";
import type { World } from "./world.ts";

/** What was on the disk of a node when its last run ended, as far as it had said so itself. */
export type Held = {
  readonly log: LogStore;
  readonly last: EntryId;
  readonly hardState: HardState;
};

export class SimNode {
  readonly id: NodeId;
  readonly address: string;
  readonly store: NodeStore;
  disk = new SimDisk();
  /** The running process, from the moment it was started. */
  life: Life | undefined;
  running: RunningNode | undefined;
  links: SimLinks | undefined;
  /** Of the last run that had opened its log. */
  held: Held | undefined;
  /** Members to begin with; what a new cluster or a new node is given. */
  initial: Membership;
  contacts: Membership;
  /** No restart by itself before this moment. */
  downUntilMs = 0;
  /** The disk refuses writes. */
  full = false;
  /** Every sync takes so long. */
  syncExtraMs = 0;
  /** The n-th effect from now on ends or fails like this. */
  armed: { effects: number; readonly fault: "power" | "EIO" } | undefined;
  /** So many reads from now on, one fails. */
  readsLeft: number | undefined;
  /**
   * What is on the disk is not what it was, and a start must be refused with this error. Whoever runs the node then
   * does what the message says: an empty directory, and `contacts` to join. Unless the file is one that it was about to
   * remove, and has.
   */
  broken:
    | { readonly contacts: Membership; readonly must: string; readonly file?: string }
    | undefined;
  clock: SimClock | undefined;
  writerDies = false;
  /** Power likes to fail just after a database was put in place. */
  isFragile = false;
  /** It votes, and has no database. */
  isWitness = false;
  /** A disk fault was played on this run, so that it may end by it. */
  excused = false;
  /** Started over with an empty disk, or with a damaged database, and not yet whole again. */
  impaired = false;
  /** Its disk was lost some time. */
  hasLostDisk = false;
  /** Runs that are still to be told when the process ends. */
  readonly onDeath = new Set<() => void>();
  readonly #world: World;
  readonly #prng: Prng;
  readonly #diskPrng: Prng;

  constructor(id: NodeId, world: World, prng: Prng, members: Membership) {
    this.id = id;
    this.address = `${id}:7000`;
    const { scheduler, parameters } = world;
    this.store =
      parameters.database === "model"
        ? new ModelStore()
        : new SqliteStore({ ...parameters, scheduler });
    this.#world = world;
    this.#prng = prng.child();
    this.#diskPrng = prng.child();
    this.initial = members;
    this.contacts = members;
  }

  get isUp(): boolean {
    return this.running !== undefined && this.life?.alive === true;
  }

  get isPaused(): boolean {
    return this.life !== undefined && this.life.pausedUntilMs > this.#world.scheduler.nowMs;
  }

  /** Starts the process. What goes wrong on the way ends it again. */
  start(): void {
    if (this.life?.alive === true) return;
    const life = new Life(this.id, (error) => this.#onThrown(life, error));
    this.life = life;
    this.excused = this.full || this.armed !== undefined || this.readsLeft !== undefined;
    this.#hook(life);
    this.#world.tell(this.id, "starts");
    this.#open(life).then(
      (running) => {
        if (!life.alive) return;
        const { file } = this.broken ?? {};
        const isGone = file !== undefined && !this.disk.atRest().some((at) => at.path === file);
        if (isGone) this.broken = undefined;
        if (this.broken !== undefined) {
          this.#world.violated("I4", `${this.id} starts on a log that is not what it was`);
        }
        this.running = running;
        this.#world.onStarted(this, running);
        running.begin();
      },
      (error: unknown) => {
        if (!life.alive) return;
        this.#world.tell(this.id, `cannot start: ${messageOf(error)}`);
        const { broken } = this;
        const isDue = broken !== undefined && (error as Error).name === broken.must;
        if (!isDue && !(error instanceof StorageError && this.excused)) {
          this.#world.violated("I4", `${this.id} cannot start: ${stackOf(error)}`);
        }
        this.die("kill");
        if (isDue) this.loseDisk(broken.contacts);
      },
    );
  }

  /** The process ends. With `power` the machine does, and what was not synced is in doubt. */
  die(how: "kill" | "power"): void {
    const { life } = this;
    if (life === undefined) return;
    life.alive = false;
    if (this.running !== undefined) this.#noteHeld(this.running);
    this.life = undefined;
    this.running = undefined;
    const silently = how === "power" && this.#prng.chance(0.5);
    if (this.links !== undefined) this.#world.network.dead(this.links, silently);
    this.links = undefined;
    // Not a cut on top of an old log: it could take the database back to where nobody sees that the log is old.
    const ending = this.broken === undefined ? how : "kill";
    if (ending === "kill") this.disk.kill();
    else this.disk.crash(this.#diskPrng);
    this.store.end(ending, this.#diskPrng);
    for (const told of [...this.onDeath]) told();
    this.onDeath.clear();
    const { scheduler } = this.#world;
    const backMs = Math.max(this.downUntilMs, scheduler.nowMs) + this.#prng.integer(20, 800);
    this.#world.tell(this.id, how === "kill" ? "process ends" : "power fails");
    scheduler.after(backMs - scheduler.nowMs, () => this.#world.restart(this));
  }

  /** Everything on its disk is gone. */
  loseDisk(contacts: Membership): void {
    this.disk = new SimDisk();
    this.store.wipe();
    this.held = undefined;
    this.armed = undefined;
    this.initial = [];
    this.contacts = contacts;
    this.broken = undefined;
    this.readsLeft = undefined;
    this.impaired = true;
    this.hasLostDisk = true;
  }

  /** No start within the next milliseconds. */
  stayDown(ms: number): void {
    this.downUntilMs = this.#world.scheduler.nowMs + ms;
  }

  pause(ms: number): void {
    if (this.life !== undefined) this.life.pausedUntilMs = this.#world.scheduler.nowMs + ms;
  }

  async #open(life: Life): Promise<RunningNode> {
    const world = this.#world;
    const { scheduler, network, parameters } = world;
    const prng = this.#prng.child();
    const traits: ClockTraits = {
      rate: parameters.clockRate * (1 + parameters.drift * (2 * prng.integer(0, 101) * 0.01 - 1)),
      latenessMs: parameters.timersLateMs,
      wallSkewMs: prng.integer(-3_600_000, 3_600_000),
    };
    const clock = new SimClock(scheduler, life, prng.child(), traits);
    this.clock = clock;
    const pacePrng = prng.child();
    const namePrng = prng.child();
    return openNode({
      self: this.id,
      dir: "/node",
      clock,
      disk: new SlowDisk(this.disk, (what) => this.#pace(life, pacePrng, what)),
      driver: this.store.driver({
        lists: parameters.lists,
        onEffect: (what) => this.#storeEffect(life, what),
        pace: async (what) => this.#pace(life, pacePrng, what),
        writerDies: () => {
          const dies = this.writerDies;
          this.writerDies = false;
          return dies;
        },
      }),
      seed: prng.u32(),
      randomHex: (bytes) => hexOf(namePrng, bytes),
      ...{ address: this.id, follow: [] },
      initial: this.initial,
      witness: this.isWitness,
      initialSettings: settingsOf(parameters),
      contacts: this.contacts,
      addressById: new Map(),
      logRetentionBytes: parameters.logRetentionBytes,
      syncBytesPerSecond: 64 * 1024,
      openLinks: (events) => {
        this.links = new SimLinks(this.id, life, network, events);
        this.links.onSend = (to, envelope) => world.onSend(this, to, envelope);
        return this.links;
      },
      forwarder: new SimForwarder(this.id, life, network, (address) => world.answering(address)),
      onEvent: (line) => {
        if (life.alive) world.tell(this.id, line);
      },
      onFatal: (error) => this.#onFatal(life, error),
    });
  }

  #onFatal(life: Life, error: Error): void {
    if (!life.alive) return;
    this.#world.tell(this.id, `gives up: ${error.message}`);
    if (!(error instanceof StorageError && this.excused)) {
      this.#world.violated("I19", `${this.id} gives up without a cause: ${stackOf(error)}`);
    }
    life.alive = false;
    // Whoever called this goes on for a moment; the process is taken away after that.
    this.#world.scheduler.after(0, () => {
      if (this.life === life) this.die("kill");
    });
  }

  #onThrown(life: Life, error: unknown): void {
    if (!life.alive) return;
    this.#onFatal(life, error instanceof Error ? error : new Error(String(error)));
  }

  #pace(
    life: Life,
    prng: Prng,
    what: "read" | "write" | "sync" | "apply" | "spawn",
  ): Promise<void> | undefined {
    const { syncMeanMs, slowness } = this.#world.parameters;
    const { scheduler } = this.#world;
    if (what === "sync") {
      const ms = prng.exponential(syncMeanMs);
      return scheduler.pause(ms + this.syncExtraMs, life);
    }
    if (what === "spawn") return scheduler.pause(prng.integer(5, 60), life);
    if (what === "read" && this.readsLeft !== undefined && this.readsLeft-- === 0) {
      this.readsLeft = undefined;
      this.excused = true;
      return Promise.reject(new StorageError("cannot read: EIO"));
    }
    return prng.chance(slowness) ? scheduler.pause(prng.integer(0, 6), life) : undefined;
  }

  #hook(life: Life): void {
    this.disk.faultOf = (effect) => this.#faultOf(life, effect);
  }

  #faultOf(life: Life, effect: Effect): Fault | undefined {
    if (!life.alive) return "power";
    if (this.full && (effect.kind === "write" || effect.kind === "create")) {
      this.excused = true;
      return "ENOSPC";
    }
    return this.#armedFault(life, effect.kind === "sync");
  }

  #armedFault(life: Life, isSync: boolean): "power" | "EIO" | undefined {
    const { armed } = this;
    if (armed === undefined || armed.effects-- > 0) return undefined;
    if (armed.fault === "EIO" && !isSync) return undefined;
    this.armed = undefined;
    this.excused = true;
    if (armed.fault === "power") {
      if (this.running !== undefined) this.#noteHeld(this.running);
      life.alive = false;
      this.#world.scheduler.after(0, () => {
        if (this.life === life) this.die("power");
      });
    }
    return armed.fault;
  }

  #storeEffect(life: Life, what: "write" | "sync" | "rename"): void {
    if (!life.alive) throw new StorageError("power is off");
    if (what === "rename" && this.isFragile && this.#prng.chance(0.5)) {
      this.armed ??= { effects: this.#prng.integer(0, 5), fault: "power" };
    }
    if (this.full && what === "write") {
      this.excused = true;
      throw new StorageError("ENOSPC in the database");
    }
    const fault = this.#armedFault(life, what === "sync");
    if (fault !== undefined) throw new StorageError(`${fault} in the database`);
  }

  #noteHeld(running: RunningNode): void {
    const { log } = running.parts;
    this.held = { log, last: log.last, hardState: log.hardState };
  }
}

/** Undefined where they are the default ones, so that nobody need agree on them. */
function settingsOf({ isManual, commitRule, whenCopiesMissing }: Parameters): Settings | undefined {
  if (isManual) return { ...defaultSettings, coordinator: "manual" };
  if (commitRule === "quorum") return undefined;
  return { ...defaultSettings, commitRule, whenCopiesMissing, copiesTimeoutMs: 500 };
}

function hexOf(prng: Prng, bytes: number): string {
  let text = "";
  for (let i = 0; i < bytes; i++) text += prng.integer(0, 256).toString(16).padStart(2, "0");
  return text;
}

function stackOf(error: unknown): string {
  if (error instanceof CorruptionError || error instanceof StorageError) return String(error);
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
