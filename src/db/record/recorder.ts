/**
 * Records what a writer's statements do, besides the pages they change: as rows, as statements, or both. It is told of
 * every statement, savepoint and transaction by those who run them (client-transaction.ts, group-commit.ts), and keeps
 * only what took effect.
 *
 * How a statement travels is decided before it runs, by what it was compiled to touch (triggers and foreign key
 * actions included):
 *
 *   changes     rows, unless rows cannot carry it: the schema, and a few others (#whyNotRows); then it travels as a
 *               statement, in its place among the rows
 *   statements  the statement, if it can be shown to do the same on every copy (repeatable.ts); otherwise its rows
 *
 * Where neither is possible and followers depend on it, the statement is refused before it runs. What depends on the
 * order in which a copy finds its rows, or on rowids that may differ between copies, never travels as a statement.
 */

import type { DatabaseSync, Session, StatementSync } from "node:sqlite";
import { encodeChangeset } from "../../changes/encode-changeset.ts";
import type { RecordedStatement } from "../../changes/steps.ts";
import { positionTable } from "../position-table.ts";
import { inputValue } from "../sql/arguments.ts";
import type { Authorizer } from "../sql/authorizer.ts";
import { quoted } from "../sql/quoted.ts";
import type { Stmt } from "../sql/request.ts";
import { SqlError } from "../sql/sql-error.ts";
import type { Compiled } from "../sql/statement-cache.ts";
import { Outside } from "./outside.ts";
import { type Recorded, type Recording, recordedText } from "./recording.ts";
import { whyNotRepeatable } from "./repeatable.ts";
import { ChangedRows } from "./rows/changed-rows.ts";
import { ChosenRowids, chosenOf } from "./rows/chosen-rowids.ts";
import { ExactRows } from "./rows/exact-rows.ts";
import { wasInsertedFirst } from "./rows/inserted-first.ts";
import { NewTable } from "./rows/new-table.ts";
import { sequenceStep } from "./rows/sequence-step.ts";
import type { TableFilter } from "./rows/session-rows.ts";
import { TriggerLog } from "./rows/trigger-rows.ts";
import { SchemaFacts, type TableFacts, travellingKey } from "./schema-facts.ts";
import { Track, type Watcher } from "./track.ts";

/** A statement that may write, about to run. */
export type WriteCall = { readonly compiled: Compiled; readonly stmt: Stmt };

/** Where the record stood. */
export type RecordMark = { readonly changes: number; readonly statements: number };

export class Recorder {
  readonly #recording: Recording;
  readonly #authorizer: Authorizer;
  readonly #facts: SchemaFacts;
  readonly #rowids: ChosenRowids;
  readonly #changes: Track | undefined;
  readonly #statements: Track | undefined;
  /** Set where statements may have to run again on followers. */
  readonly #outside: Outside | undefined;
  readonly #witness: Session;
  readonly #foreignKeys: StatementSync;
  readonly #lastRowid: StatementSync;
  readonly #db: DatabaseSync;
  /** Of each record, what triggers of ours noted. */
  readonly #triggerLogs: readonly TriggerLog[];
  readonly #tables: ReadonlySet<string> | undefined;
  /** The open client transaction has changed the schema. */
  #schemaChanged = false;
  /** Tables of AUTOINCREMENT that were changed in the open client transaction. */
  readonly #counted = new Set<string>();
  /** Those on which a statement ran that changed nothing: SQLite may have noted a number all the same. */
  readonly #countedInVain = new Set<string>();
  /** Tables without a row that changesets would leave out, as far as is known. */
  readonly #nullFree = new Set<string>();
  readonly #warnings = new Set<string>();
  #newWarnings: string[] = [];
  // Of the statement that runs:
  /** Why it does not travel as rows; undefined if it does. */
  #whyStatement: string | undefined;
  /** Why it cannot be shown to do the same elsewhere; undefined if it can. */
  #whyUnsure: string | undefined;
  /** Why the record of statements has its rows; undefined if it has the statement. */
  #whyRows: string | undefined;
  #rowidBefore: bigint | undefined;
  #touched: readonly TableFacts[] = [];
  /** It may replace rows, itself or by a trigger: no trigger of ours sees those go. */
  #replaces = false;
  /** Tables that it may have given a row with NULL in the key. */
  #guarded: readonly TableFacts[] = [];
  /** Likewise, where only the record of changes would lack it. */
  #looked: readonly TableFacts[] = [];
  /** Tables of which it may have chosen rowids by chance, although it travels as it is. */
  #chosen: readonly TableFacts[] = [];
  /** Statements of our own, by text. */
  readonly #own = new Map<string, StatementSync>();

  constructor(db: DatabaseSync, authorizer: Authorizer, recording: Recording) {
    const { logKind, changes, statements, tables } = recording;
    this.#db = db;
    this.#recording = recording;
    this.#authorizer = authorizer;
    this.#facts = new SchemaFacts(db);
    this.#rowids = new ChosenRowids(db);
    const [log, logOfStatements] = [new TriggerLog(db, "c"), new TriggerLog(db, "s")];
    this.#triggerLogs = [log, logOfStatements];
    const track = (of: TriggerLog) =>
      new Track(() => new ChangedRows(db, of, () => this.#filter()));
    const wantsChanges = changes || logKind === "rows" || logKind === "triggers";
    this.#changes = wantsChanges ? track(log) : undefined;
    this.#statements = statements || logKind === "statements" ? track(logOfStatements) : undefined;
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
    return this.#guarded.length > 0 || (this.#chosen.length > 0 && this.#refuses);
  }

  /** A statement that may write is about to run. Throws SqlError when it can travel in no way. */
  start({ compiled }: WriteCall): void {
    this.#authorizer.asOurselves(() => {
      this.#touched = compiled.touched.flatMap((name) => this.#tablesOf(name));
      for (const { name, isAutoincrement } of this.#touched)
        if (isAutoincrement) this.#countedInVain.add(name);
      this.#replaces = this.#facts.mayReplace(compiled.touched, compiled.statement.text);
      this.#whyStatement = this.#whyNotRows(compiled);
      this.#whyUnsure = this.#whyNotStatement(compiled);
      this.#whyRows = this.#recording.logKind === "statements" ? this.#whyUnsure : undefined;
      this.#refuseWhatCannotTravel();
      if (this.#refuses && this.#replaces && this.#hasForeignKeys())
        this.#rowids.refuseDamage(compiled, this.#touched);
      this.#chosen = this.#travelsAsIs ? chosenOf(compiled, this.#touched) : [];
      const nullable = this.#whyStatement === undefined ? this.#withNullableKey() : [];
      this.#guarded = this.#travelsAsRows ? this.#withNullableKey() : [];
      this.#looked = this.#guarded.length === 0 && this.#changes !== undefined ? nullable : [];
      this.#watch(this.#changes, this.#whyStatement === undefined);
      this.#watch(this.#statements, this.#whyRows !== undefined);
      if (compiled.shape.kind !== "change") this.#forgetTriggers();
      this.#outside?.begin();
      this.#rowidBefore = compiled.functions.has("last_insert_rowid")
        ? (this.#lastRowid.get() as unknown as [bigint])[0]
        : undefined;
    });
  }

  /** It has run. Throws SqlError when what it did cannot travel: it must be undone then. */
  check(): void {
    if (this.#refuses) this.#authorizer.asOurselves(() => this.#rowids.check(this.#chosen));
    for (const facts of this.#guarded) {
      if (!this.#hasNullKey(facts)) continue;
      throw new SqlError(
        "BLOCKED",
        `a row of table ${facts.name} would have NULL in its primary key; such rows are not replicated by log kind ` +
          `${this.#recording.logKind}: declare ${facts.nullableKey.join(", ")} NOT NULL, or use log kind pages`,
      );
    }
  }

  /** It failed, after it moved last_insert_rowid() for no other reason than that it is recorded. */
  hasMovedRowid({ compiled }: WriteCall, error: unknown): boolean {
    return wasInsertedFirst(compiled, this.#touched, error) && !this.#authorizer.changedRules.size;
  }

  /** It has changed something that stays, so far. `failed`: and yet it failed. */
  ran({ compiled, stmt }: WriteCall, failed: boolean): void {
    if (compiled.reads.creates !== undefined && compiled.reads.selects)
      return this.#ranCopying(compiled);
    const step = (why: string, isUnsure = false) =>
      ({
        type: "statement",
        why,
        statement: this.#recorded(compiled, stmt, { failed, isUnsure }),
      }) as const;
    this.#authorizer.asOurselves(() => {
      for (const facts of this.#touched) {
        if (facts.isAutoincrement) this.#counted.add(facts.name);
        this.#countedInVain.delete(facts.name);
        const isChecked = this.#guarded.includes(facts) || this.#looked.includes(facts);
        if (!isChecked) this.#nullFree.delete(facts.name);
      }
      const why = this.#whyStatement;
      if (why !== undefined && why !== "") this.#changes?.add(step(why, this.#isUnsure));
      for (const facts of this.#looked) this.#addNullKeys(facts);
      if (this.#whyRows === undefined) this.#statements?.add(step(""));
    });
    if (compiled.shape.kind === "change") return;
    this.#schemaChanged = true;
    this.forgetSchema();
  }

  /** CREATE TABLE … AS SELECT has run: what travels is the table as SQLite wrote it down, and its rows. */
  #ranCopying({ shape, reads }: Compiled): void {
    this.#schemaChanged = true;
    this.forgetSchema();
    this.#authorizer.asOurselves(() => {
      const facts = this.#facts.of(reads.creates!)!;
      const why = `it is of the schema: ${shape.kind}`;
      const steps = new NewTable(this.#db, facts).steps(why, this.#hasForeignKeys());
      this.#both((track) => {
        for (const step of steps) {
          if (step.type === "statement") track.add(step);
          else if (this.#isChosen(facts)) track.addRows(facts, step.bytes);
        }
      });
    });
  }

  /** A statement of the schema is about to be compiled: SQLite would drop or rename our triggers with a table. */
  beforeSchema(): void {
    if (this.#triggerLogs.some((log) => log.isWatching)) this.pause();
  }

  /** VACUUM copies every row: nothing may be watching. */
  pause(): void {
    this.#both((track) => track.cut());
    this.#authorizer.asOurselves(() => this.#forgetTriggers());
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
      const { hasRows } = track;
      for (const table of new Set([...this.#countedInVain, ...this.#counted])) {
        if (!hasRows && !this.#countedInVain.has(table)) continue;
        const value = this.#sequenceOf(table);
        const travels = value !== undefined || (hasRows && this.#counted.has(table));
        if (travels) track.add(sequenceStep(table, value));
      }
      track.seal();
    });
    this.#counted.clear();
    this.#countedInVain.clear();
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

  /** Followers depend on the record. */
  get #refuses(): boolean {
    return this.#recording.logKind !== "pages";
  }

  get #travelsAsRows(): boolean {
    if (this.#recording.logKind === "statements") return this.#whyRows !== undefined;
    return this.#refuses && this.#whyStatement === undefined;
  }

  #forgetTriggers(): void {
    for (const log of this.#triggerLogs) log.forget();
  }

  /** What virtual tables write are the rows of ordinary ones, in which they keep what they have. */
  #tablesOf(name: string): TableFacts[] {
    const facts = this.#facts.of(name);
    if (facts?.isVirtual !== true) return facts === undefined ? [] : [facts];
    const shadows = [...this.#facts.shadows].filter(([, owner]) => owner === facts.name);
    return shadows.flatMap(([shadow]) => this.#facts.of(shadow) ?? []);
  }

  #watch(track: Track | undefined, asRows: boolean): void {
    if (!asRows) return track?.cut();
    const isSeen = (facts: TableFacts) => facts.hasKey || facts.rowid !== undefined;
    const tables = this.#touched.filter((facts) => isSeen(facts) && this.#isChosen(facts));
    track?.watch(tables, (facts) => this.#watcherOf(facts));
  }

  #watcherOf(facts: TableFacts): Watcher {
    if (!facts.hasKey) return "triggers";
    if (this.#recording.logKind !== "triggers" || this.#facts.shadows.has(facts.name))
      return "session";
    return this.#replaces ? "session" : "triggers";
  }

  /** Undefined: the rows can. Empty: nobody wants them. */
  #whyNotRows({ shape, touched }: Compiled): string | undefined {
    if (shape.kind !== "change") return `it is of the schema: ${shape.kind}`;
    for (const name of touched) {
      const of = this.#facts.of(name)?.indexOf;
      if (of !== undefined)
        return `index ${name} goes by the rowid of ${of}, which copies do not share: give it an INTEGER PRIMARY KEY`;
    }
    const chosen = this.#touched.filter((facts) => this.#isChosen(facts));
    if (chosen.length === 0 && touched.length > 0 && this.#tables !== undefined) return "";
    for (const facts of chosen) {
      const { name } = facts;
      if (!facts.hasKey && name.toLowerCase().startsWith("sqlite_"))
        return `table ${name} is SQLite's own`;
      if (!facts.hasKey && facts.rowid === undefined)
        return `table ${name} has no primary key, and its columns take all names of the rowid`;
      if (!facts.hasKey && this.#replaces)
        return `it may replace rows of table ${name}, which has no primary key`;
      if (this.#isMismatched(facts))
        return `foreign keys refer to columns of table ${name} that are no key of it`;
      if (this.#hadNullKey(facts)) return `table ${name} has rows with NULL in their primary key`;
    }
    return undefined;
  }

  /** A trigger of ours on it would have the statement refused. */
  #isMismatched(facts: TableFacts): boolean {
    if (this.#watcherOf(facts) !== "triggers") return false;
    return this.#hasForeignKeys() && this.#facts.isMismatched(facts);
  }

  /** Undefined: the statement can be repeated to the same end. */
  #whyNotStatement(compiled: Compiled): string | undefined {
    const rules = this.#authorizer.changedRules;
    if (compiled.shape.kind !== "change") {
      const rule = rulesOfSchema.find((name) => rules.has(name));
      return rule === undefined ? undefined : `it follows PRAGMA ${rule}, which copies do not have`;
    }
    if (rules.size > 0) return "it follows a PRAGMA that changes how it runs";
    return whyNotRepeatable(compiled, this.#facts) ?? this.#rowids.why(compiled, this.#touched);
  }

  get #isUnsure(): boolean {
    return this.#whyUnsure !== undefined || this.#rowids.full(this.#chosen) !== undefined;
  }

  get #travelsAsIs(): boolean {
    const isAsked = this.#recording.logKind === "statements" && this.#whyRows === undefined;
    return isAsked || (this.#whyStatement !== undefined && this.#whyStatement !== "");
  }

  #refuseWhatCannotTravel(): void {
    const { logKind } = this.#recording;
    const [asRows, asStatement] = [this.#whyStatement, this.#whyUnsure];
    if (!this.#refuses || asRows === "") return;
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
    const from = `main.${quoted(name)} WHERE ${anyIsNull(nullableKey)}`;
    const rows = new ExactRows(this.#db, columns.map(quoted), from).all();
    const changes = rows.map(
      (after) => ({ operation: "insert", indirect: false, before: undefined, after }) as const,
    );
    const primaryKey = travellingKey(facts);
    const bytes = encodeChangeset([{ format: "changeset", table: name, primaryKey, changes }]);
    this.#changes?.addRows(facts, bytes);
  }

  #recorded(
    compiled: Compiled,
    stmt: Stmt,
    { failed, isUnsure }: Pick<RecordedStatement, "failed" | "isUnsure">,
  ): RecordedStatement {
    return {
      sql: recordedText(compiled),
      args: stmt.args.map(inputValue),
      namedArgs: stmt.namedArgs.map(({ name, value }) => ({ name, value: inputValue(value) })),
      foreignKeys: this.#hasForeignKeys(),
      ...{ failed, isUnsure },
      captured: this.#outside?.answers ?? [],
      lastRowid: this.#rowidBefore,
    };
  }

  #hasForeignKeys(): boolean {
    return (this.#foreignKeys.get() as unknown as [bigint])[0] === 1n;
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

  /** Rows of tables that are not replicated do not travel. */
  #filter(): TableFilter {
    return this.#tables && ((table) => this.#isChosenName(table));
  }

  #isChosen({ name }: TableFacts): boolean {
    return this.#isChosenName(name);
  }

  #isChosenName(table: string): boolean {
    const owner = this.#facts.shadows.get(table) ?? table;
    return this.#tables === undefined || this.#tables.has(owner.toLowerCase());
  }

  #both(change: (track: Track) => void): void {
    this.#authorizer.asOurselves(() => {
      if (this.#changes !== undefined) change(this.#changes);
      if (this.#statements !== undefined) change(this.#statements);
    });
  }
}

/** Settings on which depends what a change of the schema does. */
const rulesOfSchema = ["legacy_alter_table", "ignore_check_constraints"];

/** Different reasons told by one writer: names of tables are part of them. */
const warningsMax = 100;

function anyIsNull(columns: readonly string[]): string {
  return columns.map((column) => `${quoted(column)} IS NULL`).join(" OR ");
}
