/**
 * Registers that only rise, each with one writer that counts up. A write that comes late finds a greater value and
 * does nothing, so what may be read is known exactly, without a search:
 *
 *   linearizable   at least what was acknowledged when the read began, at most what was ever sent, nothing refused
 *   session        at least what was acknowledged at the position that is asked for, and never less than this session
 *                  has seen, through whichever node
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Actor, placeOf } from "./actor.ts";
import { type Ground, Home } from "./ground.ts";

export const registersSchema = "CREATE TABLE register (k INTEGER PRIMARY KEY, v INTEGER)";

const writeSql = "UPDATE register SET v = ? WHERE k = ? AND v < ?";
const readSql = "SELECT v FROM register WHERE k = ?";
const betweenMs = 8;
const refusedMax = 10_000;

type Register = {
  readonly k: number;
  sent: number;
  acked: number;
  /** Of the newest acknowledged write. */
  position: string | undefined;
  readonly failed: Set<number>;
  readonly actor: Actor;
};

export function registerRows(registers: number): string {
  const rows = Array.from({ length: registers }, (_, k) => `(${k}, 0)`);
  return `INSERT INTO register VALUES ${rows.join(", ")}`;
}

export class Registers {
  readonly #ground: Ground;
  readonly #registers: readonly Register[];
  #reads = 0;

  constructor(ground: Ground, registers: number) {
    this.#ground = ground;
    this.#registers = Array.from({ length: registers }, (_, k) => ({
      ...{ k, sent: 0, acked: 0, position: undefined, failed: new Set<number>() },
      actor: new Actor(ground.history, `register-${k}`),
    }));
    for (const register of this.#registers) {
      const home = new Home(ground, register.k);
      ground.loop(() => this.#write(register, home));
    }
    for (let n = 0; n < 2; n++) ground.loop(() => this.#readLinearizable());
    for (let n = 0; n < 2; n++) {
      const session = new Session(new Actor(ground.history, `register-session-${n}`));
      ground.loop(() => this.#readInSession(session));
    }
  }

  /** A linearizable read through every node, at once; the n-th may be one that has just woken. */
  async readEverywhere(nodes: number): Promise<void> {
    const reads = Array.from({ length: nodes }, (_, n) => this.#readLinearizable(n));
    await Promise.all(reads);
  }

  async #write(register: Register, home: Home): Promise<void> {
    const v = ++register.sent;
    const doing = { op: "write", key: `register/${register.k}`, value: v };
    const outcome = await register.actor.does(doing, () =>
      home.node.ask({ statements: [{ sql: writeSql, args: [v, register.k, v] }] }),
    );
    this.#ground.recorder.write(outcome);
    if (outcome.type === "ok") {
      register.acked = v;
      register.position = outcome.position;
      await sleep(betweenMs);
    } else {
      if (outcome.type === "failed") refuse(register, v);
      await home.retreat(outcome);
    }
  }

  async #readLinearizable(n?: number): Promise<void> {
    const register = this.#any();
    const atLeast = register.acked;
    const node = n === undefined ? this.#ground.any() : this.#ground.of(n);
    const statements = [{ sql: readSql, args: [register.k] }];
    // Reads may be many at once, so each has a name of its own.
    const actor = new Actor(this.#ground.history, `register-read-${this.#reads++}`);
    const outcome = await actor.does(
      { op: "read", key: `register/${register.k}` },
      () => node.ask({ statements, consistency: "linearizable" }),
      ({ rows }) => rows[0]![0]![0]!,
    );
    await sleep(betweenMs);
    if (outcome.type !== "ok") return;
    const v = outcome.rows[0]![0]![0] as number;
    const { recorder } = this.#ground;
    recorder.read("linearizable");
    const where = `register ${register.k} at ${outcome.position}`;
    if (v < atLeast) recorder.violate("stale", `${where}: read ${v} after ${atLeast} was acked`);
    this.#checkPossible(register, v, where);
  }

  async #readInSession(session: Session): Promise<void> {
    const register = this.#any();
    const { position, acked } = register;
    session.advance(position);
    const atLeast = Math.max(position === undefined ? 0 : acked, session.seen(register.k));
    const statements = [{ sql: readSql, args: [register.k] }];
    const minPosition = session.position;
    const outcome = await session.actor.does(
      { op: "read", key: `register/${register.k}`, value: "session", asked: minPosition },
      () => this.#ground.any().ask({ statements, minPosition }),
      ({ rows }) => rows[0]![0]![0]!,
    );
    await sleep(betweenMs);
    if (outcome.type !== "ok") return;
    const v = outcome.rows[0]![0]![0] as number;
    const { recorder } = this.#ground;
    recorder.read("session");
    const where = `register ${register.k} at ${outcome.position}, asked for ${session.position}`;
    if (v < atLeast) recorder.violate("stale", `${where}: read ${v}, ${atLeast} was seen before`);
    this.#checkPossible(register, v, where);
    session.advance(outcome.position);
    session.saw(register.k, v);
  }

  #checkPossible(register: Register, v: number, where: string): void {
    const { recorder } = this.#ground;
    if (v > register.sent) recorder.violate("risen", `${where}: read ${v}, never written`);
    if (register.failed.has(v)) recorder.violate("risen", `${where}: read ${v}, which was refused`);
  }

  #any(): Register {
    return this.#registers[this.#ground.prng.integer(0, this.#registers.length)]!;
  }
}

/** What one reader has seen, wherever it read. */
class Session {
  readonly actor: Actor;
  position: string | undefined;
  readonly #seen = new Map<number, number>();

  constructor(actor: Actor) {
    this.actor = actor;
  }

  seen(k: number): number {
    return this.#seen.get(k) ?? 0;
  }

  saw(k: number, v: number): void {
    this.#seen.set(k, v);
  }

  /** Positions are LSN@term, and what is acknowledged never changes its place. */
  advance(position: string | undefined): void {
    if (position === undefined) return;
    if (this.position === undefined || lsnOf(position) > lsnOf(this.position)) {
      this.position = position;
    }
  }
}

function lsnOf(position: string): number {
  return placeOf(position).lsn ?? 0;
}

/** Values only rise, so one far below what is acknowledged is never seen again and need not be kept. */
function refuse({ failed, acked }: Register, v: number): void {
  failed.add(v);
  if (failed.size <= refusedMax) return;
  for (const old of failed) if (old < acked - refusedMax) failed.delete(old);
}
