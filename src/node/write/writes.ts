/**
 * Writing, on the leader: what waits becomes a batch, the writer process runs it on the scratch WAL, its pages become
 * one entry, and its clients are answered when that entry is committed and applied here [architecture §2].
 *
 *   off → preparing → ready → off        preparing: everything of the log is applied, a fresh scratch is made, a warm
 *                                        writer opens it; again when a writer was killed or the scratch has grown
 *
 * Batches are pipelined: the writer runs the next one while the entry of the last is made durable and committed.
 *
 * Invariants
 *   - an entry is proposed at exactly the LSN that the writer put into the position row [D1]
 *   - nobody is answered, not even about what was read, before all that was seen is committed [invariants I18]
 *   - a unit that was never proposed is refused as NOT_LEADER, safe to repeat; one that was proposed is only ever
 *     answered by its entry's fate (outcomes.ts)
 */

import { assert } from "../../base/assert.ts";
import { largeBodyBytes, summed } from "../../base/body-sums.ts";
import { ClientError, messageOf } from "../../base/errors.ts";
import type { Hash64 } from "../../base/hash.ts";
import type { WriterRun } from "../../db/process/writer.ts";
import type { Recording } from "../../db/record/recording.ts";
import type { Unit } from "../../db/sql/request.ts";
import { limits } from "../../limits.ts";
import { pagesHeader, stampChecksum } from "../../payload/pages.ts";
import { pagesSection } from "../../payload/sections.ts";
import { type EntryId, type Lsn, type NodeId, type Term, zeroEntryId } from "../../vocabulary.ts";
import type { WriterProcess } from "../driver.ts";
import type { RunAnswer } from "../route/run.ts";
import { answer } from "./answers.ts";
import { HeadTable } from "./head-table.ts";
import { verdictOn } from "./killed.ts";
import { Outcomes } from "./outcomes.ts";
import { OwnPages } from "./own-pages.ts";
import type { WritePorts } from "./ports.ts";
import { type WriteItem, WriteQueue } from "./queue.ts";
import { sameRecording } from "./recording.ts";
import { EndedSessions, OpenSession } from "./session.ts";

export class Writes {
  readonly #ports: WritePorts;
  readonly #ended = new EndedSessions();
  readonly #queue = new WriteQueue((session) => this.#ended.why(session));
  readonly outcomes: Outcomes;
  readonly ownPages = new OwnPages();
  #state: "off" | "preparing" | "ready" = "off";
  /** The term in which this node leads; set while state is not off. */
  #term: Term = 0 as Term;
  #writer: WriterProcess | undefined;
  /** Why the writer was not ready the last time; told once. */
  #unprepared: string | undefined;
  /** Loaded and waiting, so that a promotion does not wait for a process to start. */
  #spare: WriterProcess | undefined;
  #head: HeadTable | undefined;
  #session: OpenSession | undefined;
  /** The open transaction is to be rolled back at the next turn. */
  #rollbackSession = false;
  /** What the writer records. */
  #recording: Recording | undefined;
  /** A new writer is wanted as soon as no transaction is open. */
  #renewSoon = false;
  /** A turn is running. */
  #turning = false;
  /** How many have asked for nothing new to be started: a switchover and a node that leaves may overlap. */
  #holders = 0;
  /** Fate of the newest entry proposed; what was read in the writer is true once it is committed. */
  #tail: Promise<void> = Promise.resolve();
  /** Position of what the writer sees: the newest entry proposed from it, or what it began with. */
  #seen: EntryId = zeroEntryId;
  /** Work that must not fall between giving out an LSN and proposing it. */
  #between: (() => void)[] = [];
  /** Counters, for metrics. */
  readonly counters = { batches: 0, units: 0, entries: 0, writerKills: 0 };

  constructor(ports: WritePorts) {
    this.#ports = ports;
    this.outcomes = new Outcomes(ports.clock, limits.requestWaitMs);
  }

  get ready(): boolean {
    return this.#state === "ready";
  }

  get queued(): number {
    return this.#queue.length;
  }

  get writerPid(): number | undefined {
    return this.#writer?.pid;
  }

  /** Loads a writer ahead of need. */
  warmUp(): void {
    this.#spare ??= this.#ports.spawnWriter();
  }

  /** This node leads. What is asked of it waits until everything in its log is committed and applied. */
  lead(term: Term): void {
    if (this.#state !== "off" && this.#term === term) return;
    this.stepDown();
    this.#term = term;
    this.#prepare();
  }

  /** This node does not lead any more. What waits is refused; what is proposed keeps waiting for its fate. */
  stepDown(): void {
    if (this.#state === "off") return;
    this.#state = "off";
    this.#dropWriter();
    this.#queue.clear(notLeader());
    this.#head = undefined;
  }

  /**
   * Runs a unit in the next batch. Throws ClientError: NOT_LEADER, OVERLOADED, TRANSACTION_LOST, TRANSACTION_TIMEOUT
   * (nothing was done), UNKNOWN_OUTCOME, STATEMENT_TIMEOUT, TRANSACTION_TOO_LARGE.
   */
  run(
    unit: Unit,
    options: Pick<WriteItem, "session" | "bytes" | "signal" | "origin" | "ack"> & {
      readonly patienceMs?: number | undefined;
    },
  ): Promise<RunAnswer> {
    const { session } = options;
    if (this.#state === "off" || (session !== undefined && session !== this.#session?.id)) {
      return Promise.reject(this.#refusal({ session }));
    }
    const waitMs = Math.min(options.patienceMs ?? limits.requestWaitMs, limits.requestWaitMs);
    return new Promise((resolve, reject) => {
      this.#queue.push({
        unit,
        session,
        bytes: options.bytes,
        origin: options.origin,
        ack: options.ack,
        startByMs: this.#ports.clock.nowMs() + waitMs,
        signal: options.signal,
        attempts: 0,
        alone: false,
        resolve,
        reject,
      });
      this.#turnSoon();
    });
  }

  /** Rolls the open transaction back. */
  closeSession(id: string): void {
    if (this.#session?.id !== id) return;
    this.#rollbackSession = true;
    this.#turnSoon();
  }

  /** The link to a node is lost: nobody can continue a transaction that came through it. */
  originLost(node: NodeId): void {
    if (this.#session?.origin === node) this.closeSession(this.#session.id);
  }

  /** Runs `work` at a moment when no LSN is given out and not proposed. */
  between(work: () => void): void {
    this.#between.push(work);
    if (!this.#turning) this.#runBetween();
  }

  /** Starts nothing new until `release`; resolves when all that was proposed has met its fate. */
  async hold(): Promise<void> {
    this.#holders++;
    while (this.#turning) await this.#pause(1);
    await this.#tail.catch(() => {});
  }

  release(): void {
    assert(this.#holders > 0, "released more often than held");
    this.#holders--;
    this.#turnSoon();
  }

  /** What is to be recorded is another: the next batch is run by a writer that knows. */
  recordingChanged(): void {
    const wanted = this.#ports.recording();
    if (this.#state !== "ready" || sameRecording(this.#recording, wanted)) return;
    if (this.#turning || this.#session !== undefined) this.#renewSoon = true;
    else this.#renew();
  }

  /** An entry was applied here. */
  applied(id: EntryId): void {
    this.#head?.settle(id.lsn);
    this.ownPages.settle(id.lsn);
    this.outcomes.applied(id);
  }

  tick(nowMs: number): void {
    this.#queue.sweep(nowMs);
  }

  close(): void {
    this.stepDown();
    this.#spare?.kill();
    this.outcomes.close();
  }

  #prepare(): void {
    this.#state = "preparing";
    const term = this.#term;
    const current = () => this.#state === "preparing" && this.#term === term;
    const run = async () => {
      const seen = this.#ports.last();
      await this.#ports.drained();
      if (!current()) return;
      const scratch = await this.#ports.makeScratch();
      if (!current()) return;
      const writer = this.#spare ?? this.#ports.spawnWriter();
      this.#spare = undefined;
      this.#writer = writer;
      this.#recording = this.#ports.recording();
      await writer.open(scratch.path, this.#recording);
      if (!current() || this.#writer !== writer) return writer.kill();
      this.#head = new HeadTable(this.#ports.hashes());
      this.#tail = Promise.resolve();
      this.#seen = seen;
      this.#state = "ready";
      this.#unprepared = undefined;
      this.recordingChanged();
      this.#turnSoon();
      this.#ports.clock.after(1_000, () => {
        if (this.#state !== "off") this.warmUp();
      });
    };
    run().catch((error: unknown) => {
      if (!current()) return;
      const why = messageOf(error);
      if (why !== this.#unprepared) {
        this.#ports.onEvent(`the writer could not be prepared: ${why}; trying again`);
      }
      this.#unprepared = why;
      this.#dropWriter();
      this.#ports.clock.after(200, () => {
        if (current()) this.#prepare();
      });
    });
  }

  #turnSoon(): void {
    if (this.#turning || this.#state !== "ready" || this.#holders > 0) return;
    this.#turning = true;
    // Whatever else arrives in this turn of the event loop joins the batch.
    this.#ports.clock.turn(() => void this.#turns());
  }

  async #turns(): Promise<void> {
    try {
      while (this.#state === "ready" && this.#holders === 0) {
        this.#runBetween();
        if (this.outcomes.bytes > limits.uncommittedBytesMax) {
          await this.outcomes.atMost(limits.uncommittedBytesMax);
          continue;
        }
        if (!(await this.#turn())) break;
      }
    } catch (error) {
      this.#ports.failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#turning = false;
      this.#runBetween();
    }
  }

  /** One run of the writer. False when there is nothing to do. */
  async #turn(): Promise<boolean> {
    const session = this.#session;
    if (session !== undefined && this.#rollbackSession) return this.#rollback();
    let items: WriteItem[];
    if (session === undefined) items = this.#queue.takeBatch();
    else {
      const item = this.#queue.takeOf(session.id);
      items = item === undefined ? [] : [item];
    }
    if (items.length === 0) return false;
    session?.busy();
    const lsn = (this.#ports.last().lsn + 1) as Lsn;
    const writer = this.#writer!;
    const reply = await writer.run({
      lsn,
      term: this.#term,
      units: items.map((item) => item.unit),
      committedAtMs: this.#ports.clock.wallMs(),
      session: session === undefined ? "none" : "continue",
    });
    this.counters.batches++;
    if (this.#writer !== writer) {
      for (const item of items) item.reject(this.#refusal(item));
      return false;
    }
    if (reply.type === "killed") this.#onKilled(items, reply);
    else await this.#onDone(items, lsn, reply);
    return true;
  }

  async #onDone(
    items: WriteItem[],
    lsn: Lsn,
    reply: Extract<WriterRun, { type: "done" }>,
  ): Promise<void> {
    const executed = items.slice(0, reply.outcomes.length);
    this.counters.units += executed.length;
    const { body } = reply;
    for (const warning of reply.warnings ?? []) this.#ports.onEvent(`replication: ${warning}`);
    this.#queue.putBack(items.slice(executed.length));
    let position = this.#seen;
    let fate = this.#tail;
    if (body !== undefined) {
      const proposed = await this.#propose(lsn, body, reply.pages);
      if (proposed === undefined) {
        for (const item of executed) item.reject(this.#refusal(item));
        return;
      }
      position = proposed;
      this.#seen = proposed;
      const bytes = body.byteLength + (reply.pages?.byteLength ?? 0);
      const patienceMs = this.#ports.patienceMs() + bytes / limits.slowBytesPerMs;
      fate = this.outcomes.of(proposed, bytes, patienceMs);
      fate.catch(() => {});
      this.#tail = fate;
    }
    this.#followSession(reply.open, executed.at(-1));
    this.#answer(executed, reply, { position, fate, entered: body !== undefined });
    const isLong = reply.frames > limits.scratchFramesMax;
    if ((isLong || this.#renewSoon) && this.#session === undefined) this.#renew();
  }

  /** Stamps and proposes the pages of a batch. Undefined when this node may not propose any more. */
  async #propose(
    lsn: Lsn,
    body: Uint8Array,
    ownPages: Uint8Array | undefined,
  ): Promise<EntryId | undefined> {
    const writer = this.#writer;
    const pages = ownPages ?? pagesSection(body)!;
    const checksum: Hash64 = this.#head!.push(lsn, pagesHeader(pages));
    stampChecksum(pages, checksum);
    if (body.byteLength >= largeBodyBytes) {
      await summed(body);
      // The lead was lost meanwhile, and perhaps won again.
      if (this.#writer !== writer) return undefined;
    }
    const proposal = this.#ports.propose(body);
    if (!proposal.accepted) {
      // The scratch holds a batch that no entry will ever carry: it is worth nothing now.
      this.#dropWriter();
      this.#prepare();
      return undefined;
    }
    assert(proposal.entry.lsn === lsn, `proposed at ${proposal.entry.lsn}, written for ${lsn}`);
    this.counters.entries++;
    if (ownPages !== undefined) this.ownPages.keep(proposal.entry, ownPages);
    return { lsn: proposal.entry.lsn, term: proposal.entry.term };
  }

  #answer(
    items: readonly WriteItem[],
    reply: Extract<WriterRun, { type: "done" }>,
    state: { position: EntryId; fate: Promise<void>; entered: boolean },
  ): void {
    const session = reply.open ? this.#session?.id : undefined;
    const term = this.#term;
    const { entered, position } = state;
    const sinceMs = this.#ports.clock.nowMs();
    const seen = entered ? state.fate : state.fate.then(() => this.#ports.confirmLead(term));
    seen.then(
      () => {
        answer(items, {
          ...{ outcomes: reply.outcomes, position, session },
          acked: entered ? this.#ports.rule() : undefined,
          reached: (ack) => this.#ports.reached(position, ack, sinceMs),
        });
      },
      (error: Error) => {
        for (const [i, item] of items.entries()) {
          // What committed nothing itself had only seen what is not safe.
          const isUnknown = reply.outcomes[i]!.wrote && !isRefusal(error);
          item.reject(isUnknown ? error : this.#refusal(item));
        }
        if (session !== undefined) this.closeSession(session);
      },
    );
  }

  #followSession(open: boolean, last: WriteItem | undefined): void {
    if (!open) {
      this.#endSession();
    } else if (this.#session === undefined) {
      const id = `w.${this.#ports.self}.${this.#ports.randomHex(12)}`;
      this.#session = new OpenSession({ id, origin: last?.origin }, this.#ports.clock, (error) => {
        this.#ended.expired(id, error);
        this.closeSession(id);
      });
      this.#session.idle();
    } else {
      this.#session.idle();
    }
  }

  async #rollback(): Promise<boolean> {
    const writer = this.#writer!;
    const reply = await writer.run({
      lsn: (this.#ports.last().lsn + 1) as Lsn,
      term: this.#term,
      units: [],
      committedAtMs: this.#ports.clock.wallMs(),
      session: "rollback",
    });
    this.#endSession();
    if (this.#writer === writer && reply.type === "killed") this.#onKilled([], reply);
    return true;
  }

  #onKilled(items: WriteItem[], reply: Extract<WriterRun, { type: "killed" }>): void {
    const { reason, message } = reply;
    if (reason === undefined) this.counters.writerKills++;
    this.#ports.onEvent(`the writer process ended: ${message}`);
    const inSession = this.#session !== undefined;
    this.#dropWriter();
    const again: WriteItem[] = [];
    for (const [i, item] of items.entries()) {
      const verdict = verdictOn(item, i, { ...reply, units: items.length, inSession });
      if (verdict === "again") again.push(item);
      else if (verdict === "lead-lost") item.reject(this.#refusal(item, message));
      else if (verdict === "session-lost") item.reject(this.#refusal(item));
      else {
        // What its client asks of it from now on has the same answer.
        if (item.session !== undefined) this.#ended.expired(item.session, verdict);
        item.reject(verdict);
      }
    }
    this.#queue.putBack(again);
    // Another node may have a better disk.
    if (reason === "disk") this.#ports.diskFailed();
    this.#prepare();
  }

  /** The scratch WAL has grown long: a new one, copied from the served WAL, once all is applied [D2 rule 2]. */
  #renew(): void {
    this.#renewSoon = false;
    this.#dropWriter();
    this.#prepare();
  }

  #dropWriter(): void {
    this.#writer?.kill();
    this.#writer = undefined;
    this.#endSession();
  }

  #endSession(): void {
    this.#session?.end();
    this.#session = undefined;
    this.#rollbackSession = false;
  }

  /** Nothing of the unit was done, nor will be. */
  #refusal({ session }: Pick<WriteItem, "session">, message?: string): ClientError {
    return session === undefined ? notLeader(message) : this.#ended.why(session);
  }

  #runBetween(): void {
    for (const work of this.#between.splice(0)) work();
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#ports.clock.after(ms, resolve));
  }
}

function isRefusal(error: Error): boolean {
  return error instanceof ClientError && error.code === "NOT_LEADER";
}

function notLeader(
  message = "this node does not lead; nothing was done, repeat it there",
): ClientError {
  return new ClientError("NOT_LEADER", message);
}
