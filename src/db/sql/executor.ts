/**
 * Runs requests on one connection with Hrana's meaning: one statement per `execute`, batches with conditions, scripts,
 * descriptions. Errors are answers; whatever else is thrown is our own fault, or NeedsSolo.
 *
 * Meaning that is easy to get wrong [hrana.md §6]:
 *   - a batch goes on after a failing step, a script stops
 *   - `affected_row_count` is 0 for everything but INSERT, UPDATE, DELETE, REPLACE
 *   - without wanted rows a statement still runs to its end
 *
 * Not here: which units share a transaction (group-commit.ts).
 */

import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import { limits } from "../../limits.ts";
import { vacuum } from "../position-table.ts";
import { Recorder } from "../record/recorder.ts";
import type { Recording } from "../record/recording.ts";
import { isMet } from "../stream/conditions.ts";
import type { ConnectionState } from "../stream/connection-state.ts";
import { type Begun, cursorEntries } from "../stream/cursor-entries.ts";
import { mustRunAlone } from "../stream/settings.ts";
import { StreamConnection } from "../stream/stream-connection.ts";
import {
  type AnswerPieces,
  batchAnswer,
  errorAnswer,
  executeAnswer,
  plainAnswer,
  rowJson,
  type StatementAnswer,
} from "./answer-text.ts";
import { bindArguments } from "./arguments.ts";
import { Authorizer } from "./authorizer.ts";
import { leavesOpen } from "./classify.ts";
import {
  type Changed,
  ClientTransaction,
  NeedsSolo,
  type Realm,
  TransactionEnded,
  type WriteTraits,
} from "./client-transaction.ts";
import type { BatchStep, SqlRequest, Stmt, Unit } from "./request.ts";
import { isUpkeep, type Shape } from "./shape.ts";
import { SqlError } from "./sql-error.ts";
import { type Compiled, refusedOr, rowsOf, StatementCache } from "./statement-cache.ts";

export type ExecutorPorts = {
  /** Called before each statement is compiled and run: the deadline counts from here. */
  onStatement(): void;
  /** The statement works on whole tables: its bound is another. */
  onUpkeep?(): void;
  /** SQLite refused a statement, with this extended code. */
  onError?(code: number): void;
  /** Writes the position row inside the open transaction. Never called by a reader. */
  stampPosition(): void;
  /** What to record of statements that take effect; undefined for nothing. */
  readonly recording?: Recording | undefined;
};

/** What a unit left behind, before it is known whether its changes stay. */
export type UnitRun = {
  readonly answers: AnswerPieces[];
  /** Characters in the answers' rows. */
  readonly size: number;
  readonly refusedWrite: boolean;
  /** What its stream keeps now, if that has changed. */
  readonly connection: ConnectionState | undefined;
};

const plainWrite: WriteTraits = { undoable: false, keepsPart: false };
const nothing: StatementAnswer = { cols: "[]", rows: "[]", affected: 0, rowid: undefined };

export class Executor {
  readonly authorizer = new Authorizer();
  readonly transaction: ClientTransaction;
  readonly recorder: Recorder | undefined;
  readonly #db: DatabaseSync;
  readonly #ports: ExecutorPorts;
  readonly #cache: StatementCache;
  readonly #stream: StreamConnection;
  readonly #schemaVersion: StatementSync;
  /** The schema was changed by a transaction that may still be rolled back. */
  #schemaTouched = false;
  #knownSchemaVersion: unknown;
  /** Rows changed on this connection when nothing was expected to change any more. */
  #expectedTotal: bigint | undefined;
  // Of the unit that runs now:
  #size = 0;
  #sizeMax: number = limits.responseBytesMax;
  #refusedWrite = false;
  #isCursor = false;

  /** Takes over the connection: from now on its authorizer watches everything that is compiled. */
  constructor(db: DatabaseSync, ports: ExecutorPorts) {
    this.#db = db;
    this.#ports = ports;
    this.#cache = new StatementCache(db, this.authorizer);
    this.#schemaVersion = db.prepare("PRAGMA schema_version");
    const { recording } = ports;
    this.recorder =
      recording === undefined ? undefined : new Recorder(db, this.authorizer, recording);
    // A recorder may move TEMP tables into memory, which drops those that there are.
    this.#stream = new StreamConnection(db, this.authorizer);
    this.#cache.beforeSchema = () => this.recorder?.beforeSchema();
    this.transaction = new ClientTransaction(db, {
      authorizer: this.authorizer,
      recorder: this.recorder,
      stampPosition: () => this.#stampPosition(),
      hasCounted: () => this.#stream.counters.counted,
      onRollback: () => this.#onRollback(),
    });
    db.setAuthorizer(this.authorizer.decide);
  }

  /** Runs a unit. Throws NeedsSolo when it cannot be run in the shared realm. */
  run(unit: Unit, realm: Realm, answerBytesMax: number = limits.responseBytesMax): UnitRun {
    this.transaction.enter(realm, unit.snapshot !== undefined);
    this.#stream.enter(unit);
    this.#size = 0;
    this.#sizeMax = answerBytesMax;
    this.#isCursor = false;
    this.#refusedWrite = false;
    const answers = unit.requests.map((request) => this.#answer(request));
    const connection = this.#stream.leave(this.transaction.isOpen);
    return { answers, size: this.#size, refusedWrite: this.#refusedWrite, connection };
  }

  /**
   * Runs a batch of reads step by step and row by row, as the entries of a cursor are asked for; whoever stops asking
   * must say `return`. Nothing else may run on the connection meanwhile.
   */
  cursor(unit: Unit, steps: readonly BatchStep[]): Generator<string, void> {
    this.transaction.enter("reading");
    this.#stream.enter(unit);
    this.#size = 0;
    this.#sizeMax = limits.responseBytesMax;
    this.#isCursor = true;
    this.#refusedWrite = false;
    return cursorEntries(steps, {
      begin: (stmt) => this.#begin(stmt),
      isMet: (condition, results) => isMet(condition, results, !this.transaction.isOpen),
      failure: (error) => this.#failure(error),
    });
  }

  /** Of what ran last: a statement turned out to write, where nothing can be written. */
  get refusedWrite(): boolean {
    return this.#refusedWrite;
  }

  /** Whether the unit is better not tried beside others. A guess that saves work; NeedsSolo is the last word. */
  wantsSolo(unit: Unit): boolean {
    try {
      const shapes = unit.requests.flatMap((request) => this.#shapes(request));
      const isSolo = (shape: Shape) =>
        isSoloKind(shape) || (shape.writes && this.#cache.defersKeys);
      return mustRunAlone(unit) || leavesOpen(shapes) || shapes.some(isSolo);
    } catch (error) {
      if (error instanceof SqlError) return true;
      throw error;
    }
  }

  /** From here on nothing changes but by statements that are known to change something. */
  expectNoChange(): void {
    this.#expectedTotal = this.#stream.counters.total();
  }

  /** Rows were changed, and no statement ran that is known to change any. */
  get changedUnnoticed(): boolean {
    const expected = this.#expectedTotal;
    return expected !== undefined && expected !== this.#stream.counters.total();
  }

  /** Makes the connection's settings those of the units that come next. Only outside of transactions. */
  use(unit: Unit): void {
    // What was noted of a statement, the tables that it touches for instance, depends on them.
    if (this.#stream.use(unit)) this.#cache.forgetCompiled();
  }

  /** For readers, whose schema changes without them: to be called when a read view was opened. */
  noticeSchema(): boolean {
    const version = this.authorizer.asOurselves(() => this.#schemaVersion.get());
    const known = String(version);
    if (known === this.#knownSchemaVersion) return false;
    this.#cache.forgetCompiled();
    this.#knownSchemaVersion = known;
    return true;
  }

  /** Undoes what is open. */
  abandon(): void {
    this.transaction.abandon();
  }

  #answer(request: SqlRequest): AnswerPieces {
    try {
      switch (request.type) {
        case "execute":
          return executeAnswer(this.#execute(request.stmt));
        case "batch":
          return batchAnswer(this.#batch(request.steps));
        case "sequence":
          this.#sequence(request.sql);
          return plainAnswer('{"type":"sequence"}');
        case "describe":
          return plainAnswer(this.#describe(request.sql));
        case "get_autocommit":
          return plainAnswer(
            `{"type":"get_autocommit","is_autocommit":${!this.transaction.isOpen}}`,
          );
      }
    } catch (error) {
      if (error instanceof SqlError) return errorAnswer(error);
      throw error;
    }
  }

  #batch(steps: readonly BatchStep[]): (StatementAnswer | SqlError | undefined)[] {
    const results: (StatementAnswer | SqlError | undefined)[] = [];
    for (const { stmt, condition } of steps) {
      if (condition !== undefined && !isMet(condition, results, !this.transaction.isOpen)) {
        results.push(undefined);
        continue;
      }
      try {
        results.push(this.#execute(stmt));
      } catch (error) {
        if (!(error instanceof SqlError)) throw error;
        results.push(error);
      }
    }
    return results;
  }

  /** As `#execute`, but the rows of a query are left to be read. */
  #begin(stmt: Stmt): Begun {
    const compiled = this.#cache.compiled(stmt.sql);
    if (compiled.shape.kind !== "select" || !compiled.hasColumns || !stmt.wantRows) {
      return this.#execute(stmt);
    }
    this.#ports.onStatement();
    if (compiled.checksTables) this.#cache.lookAtIndexes();
    const values = bindArguments(compiled.plan, stmt, compiled.statement.explain);
    this.#stream.ready(compiled);
    return { ...nothing, cols: compiled.cols, unread: rowsOf(compiled.call, values) };
  }

  #sequence(sql: string): void {
    for (const statement of this.#cache.statements(sql)) {
      this.#ports.onStatement();
      const stmt = { sql: statement.statement.text, args: [], namedArgs: [], wantRows: false };
      this.#guarded(() => this.#perform(this.#cache.compile(statement), stmt, true));
    }
  }

  #describe(sql: string): string {
    this.#ports.onStatement();
    const compiled = this.#cache.compiled(sql);
    const { statement, plan, explained: shape } = compiled;
    const cols = shape.kind === "kept" ? this.#keep(compiled).cols : compiled.cols;
    const params = plan.parameters.map(({ name }) => ({ name: name ?? null }));
    const isReadonly = !shape.writes && !shape.immediate;
    return (
      `{"type":"describe","result":{"params":${JSON.stringify(params)},"cols":${cols},` +
      `"is_explain":${statement.explain},"is_readonly":${isReadonly}}}`
    );
  }

  #execute(stmt: Stmt): StatementAnswer {
    this.#ports.onStatement();
    const compiled = this.#cache.compiled(stmt.sql);
    return this.#guarded(() => this.#perform(compiled, stmt, compiled.statement.explain));
  }

  /** Turns what SQLite throws into an answer, after looking at what is left of the transaction. */
  #guarded<T>(run: () => T): T {
    try {
      const answer = run();
      this.transaction.afterSuccess();
      return answer;
    } catch (error) {
      if (error instanceof NeedsSolo || error instanceof TransactionEnded) throw error;
      throw this.#failure(error);
    }
  }

  #failure(error: unknown): SqlError {
    const { errcode } = error as { errcode?: unknown };
    if (typeof errcode === "number") this.#ports.onError?.(errcode);
    const sqlError = refusedOr(error, this.authorizer);
    this.transaction.afterFailure();
    const { realm, isReadonly } = this.transaction;
    const isOwnWish = isReadonly || this.#stream.isReadonly;
    if (sqlError.code === "SQLITE_READONLY" && realm === "reading" && !isOwnWish) {
      this.#refusedWrite = true;
    }
    return sqlError;
  }

  #perform(compiled: Compiled, stmt: Stmt, lenient: boolean): StatementAnswer {
    const { shape } = compiled;
    const { transaction } = this;
    const values = bindArguments(compiled.plan, stmt, lenient);
    this.#refuseToWrite(compiled);
    // FTS5 writes what it has kept back when a savepoint or a transaction begins or ends.
    if (shape.kind !== "select") this.#expectedTotal = undefined;
    if (shape.writes && isUpkeep(compiled.statement, shape)) this.#ports.onUpkeep?.();
    if (shape.kind !== "setting" && shape.kind !== "kept") this.#stream.ready(compiled);
    switch (shape.kind) {
      case "begin":
        transaction.begin(shape.readonly);
        return nothing;
      case "commit":
        transaction.commit();
        return nothing;
      case "rollback":
        transaction.rollback();
        return nothing;
      case "savepoint":
        transaction.savepoint(shape.name ?? "");
        return nothing;
      case "release":
        transaction.release(shape.name ?? "");
        return nothing;
      case "rollback-to":
        transaction.rollbackTo(shape.name ?? "");
        return nothing;
      case "select":
        if (compiled.checksTables && transaction.realm === "reading") this.#cache.lookAtIndexes();
        return { ...nothing, cols: compiled.cols, rows: this.#rows(compiled, stmt, values) };
      case "change":
        // Deferred keys are looked at by COMMIT, and beside others a later unit could mend what this one broke.
        if (transaction.realm === "shared" && this.#cache.defersKeys) {
          throw new NeedsSolo("a foreign key of the schema is deferred");
        }
        return this.#change(compiled, stmt, values);
      case "setting":
        if (transaction.realm === "shared") throw new NeedsSolo("a setting of the connection");
        this.#stream.set(compiled.pragma!);
        this.#cache.forgetCompiled();
        return nothing;
      case "kept":
        return this.#keep(compiled);
      case "vacuum":
        return this.#vacuum(compiled, stmt);
      case "schema":
      case "upkeep":
        return this.#alter(compiled, stmt, values);
    }
  }

  /** Throws SqlError for what changes something where nothing may change. */
  #refuseToWrite({ shape, pragma }: Compiled): void {
    const { isOpen, isReadonly, realm } = this.transaction;
    const isWriting = shape.writes || (shape.immediate && !isOpen);
    if (!isWriting) return;
    const isSetting = shape.kind === "setting";
    // Outside of transactions a reader cannot set what SQLite ignores inside.
    const isElsewhere = (realm === "reading" || isReadonly) && !(isSetting && isOpen);
    const isUnwanted = this.#stream.isReadonly && !isSetting && pragma?.name !== "optimize";
    if (!isElsewhere && !isUnwanted) return;
    throw this.transaction.writeRefusal;
  }

  #keep({ pragma }: Compiled): StatementAnswer {
    if (this.#isCursor && pragma!.value !== undefined) {
      throw new SqlError("BLOCKED", `PRAGMA ${pragma!.name} cannot be set within a cursor`);
    }
    const { columns, rows } = this.#stream.ask(pragma!, this.transaction.isOpen);
    const cols = columns.map((name) => ({ name, decltype: null }));
    const texts = rows.map((row) => rowJson(row));
    return { ...nothing, cols: JSON.stringify(cols), rows: `[${texts.join()}]` };
  }

  #change(compiled: Compiled, stmt: Stmt, values: SQLInputValue[]): StatementAnswer {
    const { hasColumns, shape, cols } = compiled;
    const { counters } = this.#stream;
    const [call, mark] = [{ compiled, stmt }, counters.mark()];
    let hasRun = false;
    const change = (): Changed<StatementAnswer> => {
      // Recording has counted changes of its own since.
      if (compiled.usesChanges && this.recorder !== undefined) counters.giveChanges();
      const rows = counters.run(() => this.#rows(compiled, stmt, values));
      hasRun = true;
      const rowid = shape.inserts ? counters.lastInsertRowid : undefined;
      const changed = counters.counted || compiled.counts;
      return { changed, answer: { cols, rows, affected: counters.changes, rowid } };
    };
    try {
      const { mayFail } = this.#cache;
      const traits = { undoable: hasColumns, keepsPart: true, mayFail: mayFail(compiled) };
      return this.transaction.write(change, traits, call);
    } catch (error) {
      if (this.recorder?.hasMovedRowid(call, error)) counters.keepRowid(mark);
      const isOurs = error instanceof SqlError;
      if (hasRun || isOurs) counters.undo(mark, isOurs);
      throw error;
    }
  }

  /** CREATE, DROP, ALTER, ANALYZE, REINDEX and PRAGMAs that change the database. */
  #alter(compiled: Compiled, stmt: Stmt, values: SQLInputValue[]): StatementAnswer {
    const isSchema = compiled.shape.kind === "schema";
    return this.transaction.write(
      (): Changed<StatementAnswer> => {
        const { counters } = this.#stream;
        const before = isSchema ? this.#readSchemaVersion() : undefined;
        const rows = counters.run(() => this.#rows(compiled, stmt, values), "if-counted");
        const changed = !isSchema || this.#readSchemaVersion() !== before;
        if (changed) {
          this.#schemaTouched = true;
          this.#cache.forgetCompiled();
        }
        return { changed, answer: { ...nothing, cols: compiled.cols, rows } };
      },
      plainWrite,
      { compiled, stmt },
    );
  }

  #vacuum(compiled: Compiled, stmt: Stmt): StatementAnswer {
    const { transaction, authorizer } = this;
    if (transaction.realm === "shared") throw new NeedsSolo("VACUUM runs outside of transactions");
    this.recorder?.pause();
    authorizer.vacuuming = true;
    try {
      vacuum(this.#db, () => compiled.call.run());
    } finally {
      authorizer.vacuuming = false;
    }
    this.#cache.forgetCompiled();
    const changed = { changed: true, answer: nothing };
    return transaction.write(() => changed, plainWrite, { compiled, stmt });
  }

  /** Runs to the end and gives the rows as a JSON array, empty when they are not wanted. */
  #rows(compiled: Compiled, stmt: Stmt, values: SQLInputValue[]): string {
    if (!compiled.hasColumns) {
      compiled.call.run(...values);
      return "[]";
    }
    let text = "";
    const isList = compiled.pragma?.name.toLowerCase() === "table_list";
    for (const row of rowsOf(compiled.call, values)) {
      if (!stmt.wantRows || (isList && isOurs(row as unknown as SQLOutputValue[]))) continue;
      const json = rowJson(row as unknown as SQLOutputValue[]);
      this.#size += json.length;
      if (this.#size > this.#sizeMax) throw tooLarge();
      text += text === "" ? json : `,${json}`;
    }
    return `[${text}]`;
  }

  #shapes(request: SqlRequest): Shape[] {
    const of = (sql: string) => this.#cache.statements(sql).map(({ shape }) => shape);
    switch (request.type) {
      case "execute":
        return of(request.stmt.sql);
      case "batch":
        return request.steps.flatMap(({ stmt }) => of(stmt.sql));
      case "sequence":
        return of(request.sql);
      default:
        return [];
    }
  }

  #stampPosition(): void {
    this.#ports.stampPosition();
    this.#expectedTotal = undefined;
  }

  #onRollback(): void {
    if (this.#schemaTouched) this.#cache.forgetCompiled();
    if (!this.#db.isTransaction) this.#schemaTouched = false;
  }

  #readSchemaVersion(): string {
    return this.authorizer.asOurselves(() => String(this.#schemaVersion.get()));
  }
}

/** A TEMP object in a list of tables. No client has any. */
function isOurs([schema, name]: readonly SQLOutputValue[]): boolean {
  return schema === "temp" && name !== "sqlite_temp_schema";
}

function isSoloKind({ kind }: Shape): boolean {
  return kind === "setting" || kind === "vacuum";
}

function tooLarge(): SqlError {
  return new SqlError(
    "RESPONSE_TOO_LARGE",
    `the answer is over the limit of ${limits.responseBytesMax} bytes; ` +
      "ask for fewer rows or columns, or read with a cursor",
  );
}
