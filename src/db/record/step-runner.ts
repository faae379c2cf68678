/**
 * Runs what was recorded elsewhere (recorder.ts) on a database, step by step. The result is the same content, not the
 * same pages.
 *
 *   changeset   applied by SQLite; triggers do nothing (what they did on the leader is among the rows), foreign keys
 *               and CHECKs were satisfied there; any conflict means that this copy differs. Rows of tables in which
 *               virtual tables keep what they have are among them
 *   statement   run again, with the answers of clock and chance that it had; its triggers fire
 *   sequence    the counter of AUTOINCREMENT
 *
 * Steps that need another setting of foreign keys, and VACUUM, need a transaction of their own: what ran before is
 * committed then, and `beforeCommit` may add to that.
 *
 * Throws CorruptionError when the copy turns out to differ. Not here: what surrounds the steps (replayer.ts, copy/).
 */

import { constants, type DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import { decodeChangeset } from "../../changes/changeset.ts";
import type { RecordedStatement, Step } from "../../changes/steps.ts";
import { vacuum } from "../position-table.ts";
import { bindArguments, bindingPlan } from "../sql/arguments.ts";
import { quoted } from "../sql/quoted.ts";
import { toValue } from "../sql/request.ts";
import { parametersOf } from "../sql/tokenizer.ts";
import { Outside } from "./outside.ts";
import { applyByRowid } from "./rows/rowid-rows.ts";
import { rowidNames, SchemaFacts } from "./schema-facts.ts";
import type { Selection } from "./selection.ts";

/** By the numbers of sqlite3changeset_apply; `node:sqlite` does not name all of them. */
const conflictNames: Readonly<Record<number, string>> = {
  1: "a row is not what it was on the leader",
  2: "a row is missing",
  3: "a row is there already",
  4: "a constraint is violated",
  5: "a foreign key is violated",
};

/** Compiled statements kept. */
const preparedMax = 512;

/** What applying rows must know of a table. */
type Target = {
  /** SQL of all its triggers, if one of them deletes: deleting cannot be suppressed, so they must be away. */
  readonly triggers: readonly { readonly name: string; readonly sql: string }[];
  /** Set where SQLite would take a column for the rowid. */
  readonly rowid: string | undefined;
  readonly columns: readonly string[];
  /** A virtual table keeps what it has there. */
  readonly isShadow: boolean;
};

type Prepared = { readonly call: StatementSync; readonly plan: ReturnType<typeof bindingPlan> };

/** Of one connection, whose authorizer it takes. */
export class StepRunner {
  readonly #db: DatabaseSync;
  readonly #outside: Outside;
  readonly #preparedBySql = new Map<string, Prepared>();
  readonly #beforeCommit: () => void;
  readonly #setRowid: StatementSync;
  /** A changeset is being applied: programs of triggers do nothing. */
  #mute = false;
  #foreignKeys = false;
  #ignoreChecks = false;
  readonly #facts: SchemaFacts;
  /** Until the schema changes. */
  readonly #targets = new Map<string, Target>();
  /** Rows came in under virtual tables, which may remember what was there before. */
  #isStale = false;

  /** Set where only the rows of some tables are kept. */
  readonly #selection: Selection | undefined;

  constructor(db: DatabaseSync, beforeCommit: () => void, selection?: Selection | undefined) {
    this.#db = db;
    this.#selection = selection;
    this.#beforeCommit = beforeCommit;
    this.#outside = new Outside(db);
    this.#facts = new SchemaFacts(db);
    db.exec("PRAGMA temp_store = MEMORY; CREATE TEMP TABLE paceline_rowid(x)");
    this.#setRowid = db.prepare("INSERT OR REPLACE INTO temp.paceline_rowid(rowid) VALUES (?)");
    db.setAuthorizer((...[action, first, , , origin]) => {
      selection?.note(action, first);
      return this.#mute && origin !== null ? constants.SQLITE_IGNORE : constants.SQLITE_OK;
    });
  }

  /** Opens a transaction in which rows can be put in. */
  beginRows(): void {
    this.begin(false);
  }

  /** Opens a transaction with this setting of foreign keys, unless one is open that has it. */
  begin(foreignKeys: boolean): void {
    if (foreignKeys !== this.#foreignKeys) {
      if (this.#db.isTransaction) this.#commit();
      this.#db.exec(`PRAGMA foreign_keys = ${foreignKeys ? "on" : "off"}`);
      this.#foreignKeys = foreignKeys;
    }
    if (!this.#db.isTransaction) this.#db.exec("BEGIN IMMEDIATE");
  }

  /** Leaves a transaction open. */
  run(step: Step): void {
    if (step.type === "changeset") this.#apply(step.bytes);
    else if (step.type === "statement") this.#repeat(step.statement);
    else if (step.type === "sequence") this.#count(step);
  }

  /** Commits what ran, `beforeCommit` included. */
  commit(): void {
    this.begin(this.#foreignKeys);
    this.#commit();
  }

  #apply(bytes: Uint8Array): void {
    this.begin(false);
    this.#setIgnoreChecks(true);
    const tables = this.#tablesIn(bytes).map((name) => ({ name, ...this.#targetOf(name) }));
    const triggers = tables.flatMap((table) => table.triggers);
    for (const { name } of triggers) this.#db.exec(`DROP TRIGGER main.${quoted(name)}`);
    this.#isStale ||= tables.some((table) => table.isShadow);
    const shadowed = tables.filter((table) => table.rowid !== undefined);
    const left = new Set(shadowed.map(({ name }) => name));
    this.#mute = true;
    // Tables in which virtual ones keep what they have are closed to SQL otherwise.
    this.#db.enableDefensive(false);
    try {
      this.#applyBySqlite(bytes, (table) => !left.has(table) && this.#wants(table));
      const changes = left.size === 0 ? [] : decodeChangeset(bytes);
      for (const each of changes) {
        const target = shadowed.find(({ name }) => name === each.table);
        if (target !== undefined) applyByRowid(this.#db, target, each.changes);
      }
    } finally {
      this.#mute = false;
      this.#db.enableDefensive(true);
    }
    for (const { sql } of triggers) this.#db.exec(sql);
  }

  #applyBySqlite(bytes: Uint8Array, filter: (table: string) => boolean): void {
    let conflict = 0;
    try {
      const onConflict = (type: number) => {
        conflict = type;
        return constants.SQLITE_CHANGESET_ABORT;
      };
      if (this.#db.applyChangeset(bytes, { onConflict, filter })) return;
    } catch (cause) {
      throw new CorruptionError(`rows cannot be applied: ${messageOf(cause)}`, { cause });
    }
    throw new CorruptionError(`rows cannot be applied: ${conflictNames[conflict] ?? conflict}`);
  }

  #wants(table: string): boolean {
    return this.#selection?.has(table) ?? true;
  }

  /** Names of the tables that rows are of, by a look that applies none of them. */
  #tablesIn(bytes: Uint8Array): string[] {
    const names = new Set<string>();
    this.#applyBySqlite(bytes, (table) => {
      if (this.#wants(table)) names.add(table);
      return false;
    });
    return [...names];
  }

  #targetOf(table: string): Target {
    const known = this.#targets.get(table);
    if (known !== undefined) return known;
    const facts = this.#facts.of(table);
    if (facts === undefined)
      throw new CorruptionError(`rows are of table ${table}, which is not here`);
    const triggers = this.#facts.triggersOf(table);
    const target = {
      triggers: triggers.some(({ sql }) => /\bDELETE\b/i.test(sql)) ? triggers : [],
      rowid: facts.rowid === rowidNames[0] ? undefined : facts.rowid,
      columns: facts.columns,
      isShadow: this.#facts.shadows.has(table),
    };
    this.#targets.set(table, target);
    return target;
  }

  /** A statement is about to run, which may change the schema. */
  #forgetTables(): void {
    this.#targets.clear();
    this.#facts.forget();
    if (!this.#isStale) return;
    this.#isStale = false;
    this.#db.enableDefensive(false);
    this.#db.exec("PRAGMA writable_schema = RESET");
    this.#db.enableDefensive(true);
  }

  #repeat(statement: RecordedStatement): void {
    const { sql, failed } = statement;
    if (statement.isUnsure) {
      throw new CorruptionError(`a statement may do something else here: ${sql.slice(0, 200)}`);
    }
    this.#forgetTables();
    if (/^\s*VACUUM\b/i.test(sql)) return this.#vacuum(sql);
    this.begin(statement.foreignKeys);
    this.#setIgnoreChecks(false);
    if (statement.lastRowid !== undefined) this.#setRowid.run(statement.lastRowid);
    this.#outside.repeat(statement.captured);
    let failure: unknown;
    try {
      const { call, plan } = this.#prepared(sql);
      call.run(...bound(plan, statement));
    } catch (error) {
      failure = error;
    }
    this.#outside.settle();
    if ((failure !== undefined) === failed) return;
    const outcome = failed ? "did not fail as it did there" : `failed: ${messageOf(failure)}`;
    throw new CorruptionError(`a statement of the leader ${outcome}: ${sql.slice(0, 200)}`);
  }

  #count({ table, value }: Extract<Step, { type: "sequence" }>): void {
    this.begin(this.#foreignKeys);
    const { call } = this.#prepared("UPDATE main.sqlite_sequence SET seq = ? WHERE name = ?");
    if (Number(call.run(value, table).changes) > 0) return;
    const insert = this.#prepared("INSERT INTO main.sqlite_sequence(seq, name) VALUES (?, ?)");
    insert.call.run(value, table);
  }

  /** It runs outside of transactions. */
  #vacuum(sql: string): void {
    if (this.#db.isTransaction) this.#commit();
    vacuum(this.#db, () => this.#db.exec(sql));
  }

  #commit(): void {
    this.#beforeCommit();
    try {
      this.#db.exec("COMMIT");
    } catch (cause) {
      throw new CorruptionError(`rows cannot be committed: ${messageOf(cause)}`, { cause });
    }
  }

  #setIgnoreChecks(on: boolean): void {
    if (on === this.#ignoreChecks) return;
    this.#db.exec(`PRAGMA ignore_check_constraints = ${on ? "on" : "off"}`);
    this.#ignoreChecks = on;
  }

  #prepared(sql: string): Prepared {
    let prepared = this.#preparedBySql.get(sql);
    if (prepared === undefined) {
      prepared = {
        call: this.#db.prepare(sql),
        plan: bindingPlan(parametersOf(sql)),
      };
      if (this.#preparedBySql.size >= preparedMax) this.#preparedBySql.clear();
      this.#preparedBySql.set(sql, prepared);
    }
    return prepared;
  }
}

function bound(
  plan: Prepared["plan"],
  { sql, args, namedArgs }: RecordedStatement,
): SQLInputValue[] {
  const named = namedArgs.map(({ name, value }) => ({ name, value: toValue(value) }));
  const stmt = { sql, args: args.map(toValue), namedArgs: named, wantRows: false };
  return bindArguments(plan, stmt, true);
}
