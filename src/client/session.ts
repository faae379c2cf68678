/**
 * A session: what a program does for one user of its own. It remembers the position of the newest thing that it has
 * seen, and no read of the session goes back behind it, on whichever node it is answered.
 *
 * The position can be taken out as a token and given to another session, in another process: in a cookie, for example.
 */

import type { SqlRequest, Stmt, Unit } from "../db/sql/request.ts";
import { accessOf } from "../db/stream/access.ts";
import { type EntryId, formatPosition, parsePosition, zeroEntryId } from "../vocabulary.ts";
import type { Ack } from "./ack.ts";
import type { Courier, Delivered, Parcel } from "./courier.ts";
import { PacelineError, publicError, statementError } from "./errors.ts";
import { Broken } from "./node-link.ts";
import { rowsOf } from "./rows.ts";
import { Transaction } from "./transaction.ts";
import { type Result, type Row, resultOf, type Statement, stmtOf } from "./values.ts";
import { type Packed, packCursor, packUnit, responsesOf } from "./wire.ts";

/** How fresh a read must be. `session`: at or after everything that this session has seen. */
export type Consistency =
  | "stale"
  | "session"
  | "leader"
  | "linearizable"
  | { readonly maxLagMs: number };

export type CallOptions = {
  /** Of reads. Default: session. */
  readonly consistency?: Consistency;
  /** Of writes. Default: what the cluster's rule says. */
  readonly ack?: Ack;
  /** Within this time the copies of `ack` must be there, else UnknownOutcomeError: 1 to 30000. */
  readonly ackTimeoutMs?: number;
  /** Gives up waiting. What was sent may happen all the same: a write is then of unknown outcome. */
  readonly signal?: AbortSignal;
};

export type BeginOptions = CallOptions & {
  /** It will not write. */
  readonly readonly?: boolean;
  /** It becomes a write transaction with its first write, not at once. */
  readonly deferred?: boolean;
};

export class Session {
  readonly #courier: Courier;
  readonly #defaults: CallOptions;
  #position: EntryId;

  /** `token` is that of another session. Throws PacelineError BAD_REQUEST when it is none. */
  constructor(courier: Courier, defaults: CallOptions, token?: string) {
    this.#courier = courier;
    this.#defaults = defaults;
    const position = token === undefined || token === "" ? zeroEntryId : parsePosition(token);
    if (position === undefined) {
      throw new PacelineError("BAD_REQUEST", "never", `"${token}" is not the token of a session`);
    }
    this.#position = position;
  }

  /** The position of the newest thing this session has seen, such as `42@3`. */
  get token(): string {
    return formatPosition(this.#position);
  }

  /** One statement. Reads go to a follower, writes to the leader. Throws PacelineError. */
  async execute(statement: Statement, options: CallOptions = {}): Promise<Result> {
    const unit = { requests: [{ type: "execute" as const, stmt: stmtOf(statement) }] };
    const delivered = await this.#run(unit, options);
    return resultOf(responsesOf(delivered.text)[0]?.result, delivered.acked);
  }

  /**
   * The rows of one read as they are read, for answers of any size: `for await (const row of db.iterate(sql))`. All of
   * them are of one moment. Whoever leaves the loop early ends the read. Throws PacelineError.
   */
  async *iterate(statement: Statement, options: CallOptions = {}): AsyncGenerator<Row, void, void> {
    const steps = [{ stmt: stmtOf(statement), condition: undefined }];
    const unit: Unit = { requests: [{ type: "batch", steps }] };
    if (accessOf(unit) !== "read") {
      throw new PacelineError("BAD_REQUEST", "never", "iterate only reads; write with execute");
    }
    const abort = new AbortController();
    const signals = options.signal === undefined ? [] : [options.signal];
    const signal = AbortSignal.any([abort.signal, ...signals]);
    try {
      const { rest } = await this.#deliver(packCursor(unit), { ...options, signal });
      if (rest !== undefined) yield* rowsOf(rest);
    } catch (error) {
      throw error instanceof Broken
        ? new PacelineError("NOT_READY", "elsewhere", `${error.message}; repeat it`)
        : error;
    } finally {
      abort.abort();
    }
  }

  /** All or nothing, as one transaction. Throws what the first failed statement said. */
  async batch(
    statements: readonly Statement[],
    options: CallOptions = {},
  ): Promise<readonly Result[]> {
    const request = atomically(statements.map(stmtOf));
    const delivered = await this.#run({ requests: [request] }, options);
    const wire = responsesOf(delivered.text)[0]?.result;
    return batchResults(wire, statements.length).map((each) => resultOf(each, delivered.acked));
  }

  /**
   * Begins an interactive transaction; it lives on one node, for seconds, and a write transaction keeps all other
   * writers waiting. A deferred one reads on any node and becomes one with its first write; that write throws SqlError
   * SQLITE_BUSY (retry: later) if something was committed since its first read. Roll back then, and begin again.
   */
  async begin(options: BeginOptions = {}): Promise<Transaction> {
    const plain = options.deferred === true ? "BEGIN" : "BEGIN IMMEDIATE";
    const sql = options.readonly === true ? "BEGIN READONLY" : plain;
    const request: SqlRequest = { type: "execute", stmt: stmtOf(sql) };
    const { node, baton, text } = await this.#run({ requests: [request] }, options);
    responsesOf(text);
    if (baton === undefined) {
      throw new PacelineError("INTERNAL", "later", "the node did not keep the transaction open");
    }
    return new Transaction({
      ...{ courier: this.#courier, node, baton },
      reads: options.readonly === true,
      headers: ackHeaders({ ...this.#defaults, ...options }),
      signal: options.signal ?? new AbortController().signal,
      saw: (position) => this.#saw(position),
    });
  }

  /** Runs `work` in a write transaction and commits it; rolls back when it throws. Never runs it twice. */
  async transaction<T>(
    work: (transaction: Transaction) => Promise<T>,
    options: BeginOptions = {},
  ): Promise<T> {
    const transaction = await this.begin(options);
    try {
      const result = await work(transaction);
      await transaction.commit();
      return result;
    } catch (error) {
      transaction.rollback();
      throw error;
    }
  }

  #run(unit: Unit, options: CallOptions): Promise<Delivered> {
    return this.#deliver(packUnit(unit, false), options);
  }

  async #deliver(packed: Packed, options: CallOptions): Promise<Delivered> {
    try {
      const delivered = await this.#courier.deliver(this.#parcel(packed, options));
      this.#saw(delivered.position);
      return delivered;
    } catch (error) {
      throw publicError(error);
    }
  }

  #parcel(packed: Packed, options: CallOptions): Parcel {
    const asked = { ...this.#defaults, ...options };
    const { consistency = "session", signal } = asked;
    const isFromLeader = consistency === "leader" || consistency === "linearizable";
    const minLsn = consistency === "session" ? this.#position.lsn : 0;
    const headers: Record<string, string> = { ...packed.headers };
    if (packed.where === "leader") Object.assign(headers, ackHeaders(asked));
    else headers["paceline-consistency"] = consistencyHeader(consistency);
    if (minLsn > 0) headers["paceline-min-position"] = this.token;
    return {
      ...packed,
      ...{ headers, minLsn, signal: signal ?? new AbortController().signal },
      where: isFromLeader ? "leader" : packed.where,
      maxLagMs: typeof consistency === "object" ? consistency.maxLagMs : undefined,
    };
  }

  #saw(position: EntryId): void {
    if (position.lsn > this.#position.lsn) this.#position = position;
  }
}

/** The node itself must not add what it has acknowledged to others: the position says what this session needs. */
function consistencyHeader(consistency: Consistency): string {
  if (consistency === "session") return "stale";
  if (typeof consistency === "string") return consistency;
  return `bounded;maxLagMs=${Math.ceil(consistency.maxLagMs)}`;
}

function ackHeaders({ ack, ackTimeoutMs }: CallOptions): Record<string, string> {
  if (ack === undefined) return {};
  const timeout = ackTimeoutMs === undefined ? "" : `;timeoutMs=${ackTimeoutMs}`;
  return { "paceline-ack": ack + timeout };
}

/** BEGIN IMMEDIATE, the statements, COMMIT; ROLLBACK when it did not come to that. */
function atomically(stmts: readonly Stmt[]): SqlRequest {
  const quiet = (sql: string): Stmt => ({ ...stmtOf(sql), wantRows: false });
  const ok = (step: number) => ({ type: "ok" as const, step });
  const commit = stmts.length + 1;
  return {
    type: "batch",
    steps: [
      { stmt: quiet("BEGIN IMMEDIATE"), condition: undefined },
      ...stmts.map((stmt, i) => ({ stmt, condition: ok(i) })),
      { stmt: quiet("COMMIT"), condition: ok(stmts.length) },
      { stmt: quiet("ROLLBACK"), condition: { type: "not", cond: ok(commit) } },
    ],
  };
}

function batchResults(wire: unknown, count: number): readonly unknown[] {
  const { step_results, step_errors } = wire as {
    readonly step_results: readonly unknown[];
    readonly step_errors: readonly (object | null)[];
  };
  // The ROLLBACK at the end fails when there is nothing to roll back; that says nothing.
  const failed = step_errors.slice(0, count + 2).find((error) => error !== null);
  if (failed !== undefined && failed !== null) throw statementError(failed);
  return step_results.slice(1, count + 1);
}
