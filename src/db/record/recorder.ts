/**
 * Records what a writer's statements do, besides the pages they change: as rows, as statements, or both. It is told of
 * every statement, savepoint and transaction by those who run them (client-transaction.ts, group-commit.ts), and keeps
 * only what took effect.
 *
 * How a statement travels is decided before it runs, by what it was compiled to touch (triggers and foreign key
 * actions included):
 *
 *   changes     rows, unless rows cannot carry it: the schema, no primary key, a virtual table, a trigger that deletes;
 *               then it travels as a statement, in its place among the rows
 *   statements  the statement, unless it cannot be repeated to the same end; then its rows
 *
 * Where neither is possible and followers depend on it, the statement is refused before it runs.
 */

import type { DatabaseSync, Session, StatementSync } from "node:sqlite";
import { encodeChangeset } from "../../changes/encode-changeset.ts";
import type { RecordedStatement } from "../../changes/steps.ts";
import type { SqlValue } from "../../changes/values.ts";
import { positionTable } from "../position-table.ts";
import { inputValue } from "../sql/arguments.ts";
import type { Authorizer } from "../sql/authorizer.ts";
import { quoted } from "../sql/quoted.ts";
import type { Stmt } from "../sql/request.ts";
import { SqlError } from "../sql/sql-error.ts";
import type { Compiled } from "../sql/statement-cache.ts";
import { Outside } from "./outside.ts";
import type { Recorded, Recording } from "./recording.ts";
import { limitsWithoutOrder, mayReplace, SchemaFacts, type TableFacts } from "./schema-facts.ts";
import { SessionRows, type TableFilter } from "./session-rows.ts";
import { type RowCollector, Track } from "./track.ts";
import { TriggerLog } from "./trigger-rows.ts";

/** A statement that may write, about to run. */
export type WriteCall = { readonly compiled: Compiled; readonly stmt: Stmt };

/** Where the record stood. */
export type RecordMark = { readonly changes: number; readonly statements: number };

/** Functions whose answer depends on the connection, not on the data. */
const unrepeatable: ReadonlySet<string> = new Set([
  ...["changes", "total_changes", "sqlite_source_id", "sqlite_version", "sqlite_offset"],
]);

export class Recorder {
  readonly #recording: Recording;
  readonly #authorizer: Authorizer;
  readonly #facts: SchemaFacts;
  readonly #changes: Track | undefined;
  readonly #statements: Track | undefined;
  /** Set where statements may have to run again on followers. */
  readonly #outside: Outside | undefined;
  readonly #witness: Session;
  readonly #foreignKeys: StatementSync;
  readonly #lastRowid: StatementSync;
  readonly #db: DatabaseSync;
  /** Set where triggers, not sessions, see rows for followers. */
  readonly #triggerLog: TriggerLog | undefined;
  readonly #tables: ReadonlySet<string> | undefined;
  /** The open client transaction has changed the schema. */
  #schemaChanged = false;
  /** Tables of AUTOINCREMENT that were touched in the open client transaction. */
  readonly #counted = new Set<string>();
  /** Tables without a row that changesets would leave out, as far as is known. */
  readonly #nullFree = new Set<string>();
  readonly #warnings = new Set<string>();
  #newWarnings: string[] = [];
  // Of the statement that runs:
  /** Why it does not travel as rows; undefined if it does. */
  #whyStatement: string | undefined;
  /** Why it does not travel as a statement; undefined if it does. */
  #whyRows: string | undefined;
  #rowidBefore: bigint | undefined;
  #touched: readonly TableFacts[] = [];
  /** Tables that it may have given a row with NULL in the key. */
  #guarded: readonly TableFacts[] = [];
  /** Likewise, where only the record of changes would lack it. */
  #looked: readonly TableFacts[] = [];
  /** Statements of our own, by text. */
  readonly #own = new Map<string, StatementSync>();

  constructor(db: DatabaseSync, authorizer: Authorizer, recording: Recording) {
    const { logKind, changes, statements, tables } = recording;
    this.#db = db;
    this.#recording = recording;
    this.#authorizer = authorizer;
    this.#facts = new SchemaFacts(db);
    const session = (): RowCollector => new SessionRows(db, () => this.#filter());
    this.#triggerLog = logKind === "triggers" ? new TriggerLog(db) : undefined;
    const collector = () => this.#triggerLog?.open() ?? session();
    const wantsChanges = changes || logKind === "rows" || logKind === "triggers";
    this.#changes = wantsChanges ? new Track(collector) : undefined;
    this.#statements = statements || logKind === "statements" ? new Track(session) : undefined;
    this.#tables = tables === undefined ? undefined : new Set(tables.map((t) => t.toLowerCase()));
    this.#foreignKeys = db.prepare("PRAGMA foreign_keys");
    this.#lastRowid = db.prepare("SELECT last_insert_rowid()");
    // Also where only the change stream wants them: a consumer runs again what does not travel as rows.
    this.#outside = logKind === "pages" && !wantsChanges ? undefined : new Outside(db);
    // While no session is open, SQLite compiles a DELETE of all rows so that no session will ever see them go
    // [delete.c, truncate optimization]. This one watches nothing and stays.
    this.#witness = db.createSession({ table: positionTable });
  }

  /** Whether every row that goes is seen to go. */
  get isWatching(): boolean {
    return this.#witness.changeset().byteLength === 0;
  }

  /** The statement about to run may be refused after it ran: what it did must be undoable. */
  get mayRefuse(): boolean {
    return this.#guarded.length > 0;
  }

  /** A statement that may write is about to run. Throws SqlError when it can travel in no way. */
  start({ compiled }: WriteCall): void {
    this.#authorizer.asOurselves(() => {
      this.#touched = compiled.touched
        .map((name) => this.#facts.of(name))
        .filter((facts) => facts !== undefined);
      this.#whyStatement = this.#whyNotRows(compiled);
      this.#whyRows = this.#whyNotStatement(compiled);
      this.#refuseWhatCannotTravel();
      const nullable = this.#whyStatement === undefined ? this.#withNullableKey() : [];
      this.#guarded = this.#travelsAsRows ? this.#withNullableKey() : [];
      this.#looked = this.#guarded.length === 0 && this.#changes !== undefined ? nullable : [];
      if (this.#changes !== undefined) this.#watch(this.#changes, this.#whyStatement === undefined);
      if (this.#statements !== undefined)
        this.#watch(this.#statements, this.#whyRows !== undefined);
      if (compiled.shape.kind !== "change") this.#triggerLog?.forget();
      this.#outside?.begin();
      this.#rowidBefore = compiled.functions.has("last_insert_rowid")
        ? (this.#lastRowid.get() as unknown as [bigint])[0]
        : undefined;
    });
  }

  /** It has run. Throws SqlError when what it did cannot travel: it must be undone then. */
  check(): void {
    for (const facts of this.#guarded) {
      if (!this.#hasNullKey(facts)) continue;
      throw new SqlError(
        "BLOCKED",
        `a row of table ${facts.name} would have NULL in its primary key; such rows are not replicated by log kind ` +
          `${this.#recording.logKind}: declare ${facts.nullableKey.join(", ")} NOT NULL, or use log kind pages`,
      );
    }
  }

  /** It has changed something that stays, so far. `failed`: and yet it failed. */
  ran({ compiled, stmt }: WriteCall, failed: boolean): void {
    const step = (why: string) =>
      ({ type: "statement", why, statement: this.#recorded(compiled, stmt, failed) }) as const;
    this.#authorizer.asOurselves(() => {
      for (const facts of this.#touched) {
        if (facts.isAutoincrement) this.#counted.add(facts.name);
        if (this.#whyStatement !== undefined) this.#nullFree.delete(facts.name);
      }
      const why = this.#whyStatement;
      if (why !== undefined && why !== "") this.#changes?.add(step(why));
      for (const facts of this.#looked) this.#addNullKeys(facts);
      if (this.#whyRows === undefined) this.#statements?.add(step(""));
    });
    if (compiled.shape.kind === "change") return;
    this.#schemaChanged = true;
    this.forgetSchema();
  }

  /** A statement of the schema is about to be compiled: SQLite would drop or rename our triggers with a table. */
  beforeSchema(): void {
    if (this.#triggerLog !== undefined) this.pause();
  }

  /** VACUUM copies every row: nothing may be watching. */
  pause(): void {
    this.#both((track) => track.cut());
    this.#authorizer.asOurselves(() => this.#triggerLog?.forget());
  }

  savepoint(): void {
    this.#both((track) => track.savepoint());
  }

  rollbackTo(at: number): void {
    this.#both((track) => track.rollbackTo(at));
    if (this.#schemaChanged) this.forgetSchema();
  }

  release(at: number): void {
    this.#both((track) => track.release(at));
  }

  /** The client transaction has taken effect. */
  seal(): void {
    this.#both((track) => {
      for (const table of this.#counted) {
        const value = this.#sequenceOf(table);
        if (value !== undefined && track.hasRows) track.add({ type: "sequence", table, value });
      }
      track.seal();
    });
    this.#counted.clear();
    this.#schemaChanged = false;
  }

  /** The client transaction has not taken effect. */
  drop(): void {
    this.#both((track) => track.drop());
    this.#counted.clear();
    if (this.#schemaChanged) this.forgetSchema();
    this.#schemaChanged = false;
  }

  mark(): RecordMark {
    return { changes: this.#changes?.length ?? 0, statements: this.#statements?.length ?? 0 };
  }

  /** Everything since the mark has not taken effect. */
  rewind(mark: RecordMark): void {
    this.#changes?.rewind(mark.changes);
    this.#statements?.rewind(mark.statements);
    this.forgetSchema();
  }

  forgetSchema(): void {
    this.#facts.forget();
    this.#nullFree.clear();
  }

  /** What took effect since the last call. */
  take(): Recorded {
    const changes = this.#changes?.take();
    return { logKind: this.#recording.logKind, changes, statements: this.#statements?.take() };
  }

  /** Reasons, told once each, for which something travelled otherwise than by the log kind. */
  takeWarnings(): string[] {
    const warnings = this.#newWarnings;
    if (warnings.length > 0) this.#newWarnings = [];
    return warnings;
  }

  get #travelsAsRows(): boolean {
    const { logKind } = this.#recording;
    if (logKind === "statements") return this.#whyRows !== undefined;
    return logKind !== "pages" && this.#whyStatement === undefined;
  }

  #watch(track: Track, asRows: boolean): void {
    const sees = (facts: TableFacts) => facts.hasKey || this.#triggerLog !== undefined;
    if (asRows) track.watch(this.#touched.filter((facts) => sees(facts) && this.#isChosen(facts)));
    else track.cut();
  }

  /** Undefined: the rows can. Empty: nobody wants them. */
  #whyNotRows({ shape, touched, statement }: Compiled): string | undefined {
    if (shape.kind !== "change") return `it is of the schema: ${shape.kind}`;
    const chosen = this.#touched.filter((facts) => this.#isChosen(facts));
    if (chosen.length === 0 && touched.length > 0 && this.#tables !== undefined) return "";
    for (const facts of chosen) {
      if (facts.isVirtual) return `table ${facts.name} is virtual`;
      const isSystem = facts.name.toLowerCase().startsWith("sqlite_");
      if (!facts.hasKey && (isSystem || this.#triggerLog === undefined)) {
        return `table ${facts.name} has no primary key`;
      }
      if (this.#triggerLog !== undefined && (facts.replaces || mayReplace(statement.text))) {
        return `it may replace rows of table ${facts.name}, which triggers do not see`;
      }
      if (this.#recording.logKind !== "pages" && facts.deletingTrigger !== undefined) {
        return `trigger ${facts.deletingTrigger} of table ${facts.name} deletes rows`;
      }
      if (this.#hadNullKey(facts)) {
        return `table ${facts.name} has rows with NULL in their primary key`;
      }
    }
    return undefined;
  }

  /** Undefined: the statement can be repeated to the same end. */
  #whyNotStatement({ shape, functions, readsPhysical, statement }: Compiled): string | undefined {
    if (this.#recording.logKind === "pages" || shape.kind !== "change") return undefined;
    for (const name of functions) {
      if (unrepeatable.has(name)) return `it uses ${name}()`;
    }
    if (readsPhysical !== undefined) return `it reads ${readsPhysical}`;
    if (limitsWithoutOrder(statement.text)) return "it has LIMIT without ORDER BY";
    if (this.#authorizer.changedRules) return "it follows a PRAGMA that changes how it runs";
    return undefined;
  }

  #refuseWhatCannotTravel(): void {
    const { logKind } = this.#recording;
    const [asRows, asStatement] = [this.#whyStatement, this.#whyRows];
    if (logKind === "pages" || asRows === "") return;
    if (asRows !== undefined && asStatement !== undefined) {
      throw new SqlError(
        "BLOCKED",
        `the statement cannot be replicated by log kind ${logKind}: ${asRows}, and ${asStatement}; ` +
          "change it, or use log kind pages",
      );
    }
    if (logKind === "statements" && asStatement !== undefined) {
      this.#warn(`a statement travels as rows: ${asStatement}`);
    }
    const isMixed = asRows !== undefined && !asRows.startsWith("it is of the schema");
    if (logKind !== "statements" && isMixed) this.#warn(`a statement travels as it is: ${asRows}`);
  }

  #warn(text: string): void {
    if (this.#warnings.has(text) || this.#warnings.size >= warningsMax) return;
    this.#warnings.add(text);
    this.#newWarnings.push(text);
  }

  #withNullableKey(): TableFacts[] {
    return this.#touched.filter((facts) => facts.nullableKey.length > 0);
  }

  #hadNullKey(facts: TableFacts): boolean {
    if (facts.nullableKey.length === 0 || this.#nullFree.has(facts.name)) return false;
    if (this.#hasNullKey(facts)) return true;
    this.#nullFree.add(facts.name);
    return false;
  }

  #hasNullKey({ name, nullableKey }: TableFacts): boolean {
    const sql = `SELECT 1 FROM main.${quoted(name)} WHERE ${anyIsNull(nullableKey)} LIMIT 1`;
    return this.#authorizer.asOurselves(() => this.#prepared(sql).get()) !== undefined;
  }

  /** Sessions leave rows with NULL in their key out. Here all such rows are new: before, the table had none. */
  #addNullKeys(facts: TableFacts): void {
    if (!this.#hasNullKey(facts)) return;
    this.#nullFree.delete(facts.name);
    const { name, columns, nullableKey } = facts;
    const sql = `SELECT ${columns.map(quoted).join()} FROM main.${quoted(name)} WHERE ${anyIsNull(nullableKey)}`;
    const rows = this.#prepared(sql).all() as unknown as SqlValue[][];
    const changes = rows.map(
      (after) => ({ operation: "insert", indirect: false, before: undefined, after }) as const,
    );
    const primaryKey = Uint8Array.from(facts.primaryKey);
    const bytes = encodeChangeset([{ format: "changeset", table: name, primaryKey, changes }]);
    this.#changes?.addRows(facts, bytes);
  }

  #recorded(compiled: Compiled, stmt: Stmt, failed: boolean): RecordedStatement {
    return {
      sql: compiled.statement.text,
      args: stmt.args.map(inputValue),
      namedArgs: stmt.namedArgs.map(({ name, value }) => ({ name, value: inputValue(value) })),
      foreignKeys: (this.#foreignKeys.get() as unknown as [bigint])[0] === 1n,
      failed,
      captured: this.#outside?.answers ?? [],
      lastRowid: this.#rowidBefore,
    };
  }

  #sequenceOf(table: string): bigint | undefined {
    const sql = "SELECT seq FROM main.sqlite_sequence WHERE name = ?";
    return (this.#prepared(sql).get(table) as unknown as [bigint] | undefined)?.[0];
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#own.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#own.set(sql, statement);
    }
    return statement;
  }

  /** Rows that virtual tables keep for themselves, and those of tables that are not replicated, do not travel. */
  #filter(): TableFilter {
    const { shadows } = this.#facts;
    if (shadows.size === 0 && this.#tables === undefined) return undefined;
    return (table) => !shadows.has(table) && this.#tables?.has(table.toLowerCase()) !== false;
  }

  #isChosen(facts: TableFacts): boolean {
    return this.#tables === undefined || this.#tables.has(facts.name.toLowerCase());
  }

  #both(change: (track: Track) => void): void {
    this.#authorizer.asOurselves(() => {
      if (this.#changes !== undefined) change(this.#changes);
      if (this.#statements !== undefined) change(this.#statements);
    });
  }
}

/** Different reasons told by one writer: names of tables are part of them. */
const warningsMax = 100;

function anyIsNull(columns: readonly string[]): string {
  return columns.map((column) => `${quoted(column)} IS NULL`).join(" OR ");
}
