/**
 * Interactive transactions that have written nothing: begun READONLY, or by a plain BEGIN or SAVEPOINT, which takes the
 * writer at its first write and no sooner, as SQLite does in WAL mode.
 *
 *   opened    only BEGIN was said. No process is taken; whatever comes next begins as if it had come with it
 *   reading   a reader process holds the view of its first read
 *   writing   its first write takes it to the leader, where it is a transaction of the writer (write/session.ts)
 *
 * On the way to the leader goes the position of the view. The writer goes on with it if nothing was committed since;
 * else the write fails as in SQLite (SQLITE_BUSY_SNAPSHOT), and the transaction goes on reading what it has read.
 *
 * Invariants
 *   - a unit runs in one place as a whole, so its results are those of one connection
 *   - a unit that a reader refuses, because it writes after all, has had no effect there
 *   - the view is kept until the leader has taken the transaction over
 *
 * Not here: which node a unit runs on (routing.ts), views (db/process/reader-child.ts), the check (group-commit.ts).
 */

import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import { executeAnswer, plainAnswer } from "../../db/sql/answer-text.ts";
import { quoted } from "../../db/sql/quoted.ts";
import type { SqlRequest, Unit, UnitOutcome } from "../../db/sql/request.ts";
import { accessOf, controlOf, mayWrite } from "../../db/stream/access.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { type EntryId, zeroEntryId } from "../../vocabulary.ts";
import { EndedSessions } from "../write/session.ts";
import { idleTooLong } from "../write/transaction-errors.ts";
import { inPieces, ReadCursor, type ReadSession } from "./read-cursor.ts";
import { answerOf, type Reads } from "./reads.ts";
import type { RunAnswer, RunOptions } from "./run.ts";

export type ReadTransactionPorts = {
  readonly self: string;
  readonly clock: Pick<Clock, "after">;
  readonly reads: Pick<Reads, "begin">;
  randomHex(bytes: number): string;
  /** Runs a unit as if it had just come from its client. */
  route(unit: Unit, options: RunOptions): Promise<RunAnswer>;
  /** Runs a unit as a write, on the leader, wherever that is. */
  write(unit: Unit, options: RunOptions): Promise<RunAnswer>;
};

type OpenTransaction = NonNullable<UnitOutcome["transaction"]>;

type Held = {
  /** Opens the same again elsewhere: BEGIN, and the savepoints. */
  opening: readonly SqlRequest[];
  /** It was asked for with this freshness. */
  readonly asked: Pick<RunOptions, "consistency" | "minPosition">;
  /** Undefined while it is only opened. */
  readonly reader: ReadSession | undefined;
  /** Position of its view; undefined until it has read. */
  snapshot: EntryId | undefined;
  /** It will never write. */
  readonly: boolean;
  cancelIdle: () => void;
};

export class ReadTransactions {
  readonly #ports: ReadTransactionPorts;
  readonly #heldById = new Map<string, Held>();
  readonly #ended = new EndedSessions();

  constructor(ports: ReadTransactionPorts) {
    this.#ports = ports;
  }

  /** Opens a transaction without running anything; undefined when the unit says more than that. */
  open(unit: Unit, options: RunOptions): RunAnswer | undefined {
    const [request] = unit.requests;
    const control = controlOf(request);
    const opens =
      control?.kind === "savepoint" || (control?.kind === "begin" && !control.immediate);
    if (unit.requests.length !== 1 || !opens) return undefined;
    const { consistency, minPosition } = options;
    const asked = { consistency, minPosition };
    const readonly = control.readonly;
    const held = {
      opening: unit.requests,
      asked,
      reader: undefined,
      snapshot: undefined,
      readonly,
    };
    const session = this.#keep({ ...held, cancelIdle: () => {} });
    return { results: [controlAnswer(request!)], position: zeroEntryId, session };
  }

  /** Begins with a unit that reads. Throws ClientError. */
  async begin(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { reader, outcome } = await this.#ports.reads.begin(unit, options);
    const held: Held = {
      ...{ opening: [], asked: options, reader, snapshot: undefined, readonly: false },
      cancelIdle: () => {},
    };
    if (outcome.refusedWrite === true) {
      reader.close();
      return this.#ports.write(unit, { ...options, begin: "immediate" });
    }
    return this.#answer(undefined, held, outcome);
  }

  /** Throws ClientError: the transaction is over then. */
  async continue(id: string, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const held = this.#heldById.get(id);
    if (held === undefined) throw this.#ended.why(id);
    held.cancelIdle();
    try {
      return await this.#goOn(id, held, unit, options);
    } catch (error) {
      this.close(id);
      throw error;
    }
  }

  async #goOn(id: string, held: Held, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { reader } = held;
    if (reader === undefined) return this.#start(id, held, unit, options);
    const [first, ...rest] = unit.requests;
    if (rest.length > 0 && ends(first)) return this.#endAndGoOn(id, unit, options);
    if (!held.readonly && mayWrite(unit)) return this.#upgrade(id, held, unit, options);
    if (options.inPieces === true && accessOf(unit) === "read") {
      const { clock } = this.#ports;
      const session = { run: reader.run.bind(reader), close: () => this.close(id) };
      const cursor = await ReadCursor.open(session, unit, { clock, signal: options.signal });
      return this.#answer(id, held, cursor.first, cursor);
    }
    const outcome = await reader.run(unit);
    return outcome.refusedWrite === true && !held.readonly
      ? this.#upgrade(id, held, unit, options)
      : this.#answer(id, held, outcome);
  }

  /** Rolls back. */
  close(id: string): void {
    const held = this.#heldById.get(id);
    this.#heldById.delete(id);
    held?.cancelIdle();
    held?.reader?.close();
  }

  /** Nothing was run yet: the unit begins together with what opened its transaction. */
  async #start(id: string, held: Held, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    this.close(id);
    const [first, ...rest] = unit.requests;
    if (rest.length === 0 && ends(first)) {
      return { results: [controlAnswer(first!)], position: zeroEntryId, session: undefined };
    }
    const { opening, asked } = held;
    const isLater = (options.minPosition?.lsn ?? 0) > (asked.minPosition?.lsn ?? 0);
    const minPosition = isLater ? options.minPosition : asked.minPosition;
    const wanted = { ...options, consistency: asked.consistency, minPosition };
    const whole = { ...unit, requests: [...opening, ...unit.requests] };
    const plain = { session: undefined, begin: "deferred", inPieces: undefined } as const;
    return without(opening, await this.#ports.route(whole, { ...wanted, ...plain }));
  }

  /** What comes after COMMIT or ROLLBACK does not belong to the view any more. */
  async #endAndGoOn(id: string, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    this.close(id);
    const [first, ...rest] = unit.requests;
    const next = { ...unit, requests: rest };
    const answer = await this.#ports.route(next, { ...options, session: undefined });
    return { ...answer, results: [controlAnswer(first!), ...answer.results] };
  }

  async #upgrade(id: string, held: Held, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    const { opening } = held;
    // What comes after the end of the transaction may be as new as it likes.
    const snapshot = beginsWithEnd(unit) ? undefined : held.snapshot;
    const whole = { ...unit, requests: [...opening, ...unit.requests], snapshot };
    const plain = { session: undefined, begin: "immediate", inPieces: undefined } as const;
    const answer = await this.#ports.write(whole, { ...options, ...plain });
    if (answer.overtaken === true) {
      const late = this.#answer(id, held, await held.reader!.run({ ...unit, snapshot }));
      // The client's next try is to read here what was committed meanwhile.
      return { ...late, position: answer.position };
    }
    this.close(id);
    return without(opening, answer);
  }

  #answer(
    id: string | undefined,
    held: Held,
    outcome: ReadOutcome,
    cursor?: ReadCursor,
  ): RunAnswer {
    const { refusedWrite: _, leftOpen: __, ...answer } = answerOf(outcome);
    if (cursor === undefined) return { ...answer, session: this.#left(id, held, outcome) };
    const pieces = inPieces(cursor, (last) => this.#left(id, held, last));
    return { ...answer, session: id, pieces };
  }

  /** What is left of the transaction after a unit: its handle, if it is open. */
  #left(id: string | undefined, held: Held, outcome: ReadOutcome): string | undefined {
    const { transaction, lsn, term } = outcome;
    if (transaction === undefined) {
      if (id === undefined) held.reader?.close();
      else this.close(id);
      return undefined;
    }
    held.opening = openingOf(transaction);
    held.readonly = transaction.readonly;
    if (outcome.hasRead) held.snapshot = { lsn, term };
    return this.#keep(held, id);
  }

  /** Waits for the next request, for so long. The id is drawn by lot: a node that restarts must not give it again. */
  #keep(held: Held, id = `r.${this.#ports.self}.${this.#ports.randomHex(12)}`): string {
    held.cancelIdle = this.#ports.clock.after(limits.transactionIdleMs, () => {
      this.#ended.expired(id, idleTooLong());
      this.close(id);
    });
    this.#heldById.set(id, held);
    return id;
  }
}

function openingOf({ begun, readonly, savepoints }: OpenTransaction): SqlRequest[] {
  const begin = begun ? [readonly ? "BEGIN READONLY" : "BEGIN"] : [];
  return [...begin, ...savepoints.map((name) => `SAVEPOINT ${quoted(name)}`)].map((sql) => ({
    type: "execute",
    stmt: { sql, args: [], namedArgs: [], wantRows: false },
  }));
}

/** The answer without the results of requests that the client sent before, or never. */
function without(opening: readonly SqlRequest[], answer: RunAnswer): RunAnswer {
  return { ...answer, results: answer.results.slice(opening.length) };
}

/** COMMIT or ROLLBACK. */
function ends(request: SqlRequest | undefined): boolean {
  const kind = controlOf(request)?.kind;
  return kind === "commit" || kind === "rollback";
}

/** A batch whose first step ends the transaction in any case. */
function beginsWithEnd({ requests: [request] }: Unit): boolean {
  const [step] = request?.type === "batch" ? request.steps : [];
  return step?.condition === undefined && step !== undefined && ends({ ...step, type: "execute" });
}

/** What a statement about a transaction is answered that went well. */
function controlAnswer({ type }: SqlRequest): string {
  const nothing = { cols: "[]", rows: "[]", affected: 0, rowid: undefined };
  const pieces = type === "execute" ? executeAnswer(nothing) : plainAnswer('{"type":"sequence"}');
  return pieces.join("null");
}
