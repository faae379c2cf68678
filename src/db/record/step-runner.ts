/**
 * Runs what was recorded elsewhere (recorder.ts) on a database, step by step. The result is the same content, not the
 * same pages.
 *
 *   changeset   applied by SQLite; triggers do nothing (what they did on the leader is among the rows), foreign keys
 *               and CHECKs were satisfied there; any conflict means that this copy differs
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
import type { RecordedStatement, Step } from "../../changes/steps.ts";
import { vacuum } from "../position-table.ts";
import { bindArguments, bindingPlan } from "../sql/arguments.ts";
import { toValue } from "../sql/request.ts";
import { parametersOf } from "../sql/tokenizer.ts";
import { Outside } from "./outside.ts";
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

  /** Set where only the rows of some tables are kept. */
  readonly #selection: Selection | undefined;

  constructor(db: DatabaseSync, beforeCommit: () => void, selection?: Selection | undefined) {
    this.#db = db;
    this.#selection = selection;
    this.#beforeCommit = beforeCommit;
    this.#outside = new Outside(db);
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
    let conflict = 0;
    this.#mute = true;
    try {
      const onConflict = (type: number) => {
        conflict = type;
        return constants.SQLITE_CHANGESET_ABORT;
      };
      const selection = this.#selection;
      const filter = selection && { filter: (table: string) => selection.has(table) };
      if (this.#db.applyChangeset(bytes, { onConflict, ...filter })) return;
    } catch (cause) {
      throw new CorruptionError(`rows cannot be applied: ${messageOf(cause)}`, { cause });
    } finally {
      this.#mute = false;
    }
    throw new CorruptionError(`rows cannot be applied: ${conflictNames[conflict] ?? conflict}`);
  }

  #repeat(statement: RecordedStatement): void {
    const { sql, failed } = statement;
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
