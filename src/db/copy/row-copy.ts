/**
 * A SQLite file that is kept equal to a cluster's tables by its change stream: `paceline changes --into`. Not a copy of
 * pages: the same rows, in a database of somebody else's own.
 *
 * The position of the last entry that is in it stands in the file itself (table `paceline_copied`), written in the same
 * transaction: so an entry that comes twice is noticed, and a crash at any point loses and doubles nothing.
 *
 * Triggers and foreign keys do nothing here; the changes have what they did.
 */

import { constants, DatabaseSync, type SQLInputValue } from "node:sqlite";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import type { SqlValue } from "../../changes/values.ts";
import type { EntryId } from "../../vocabulary.ts";
import { Outside } from "../record/outside.ts";

export type CopyRow = Readonly<Record<string, SqlValue>>;

export type CopyStep =
  | {
      readonly op: "insert" | "update" | "delete";
      readonly table: string;
      readonly key: readonly string[];
      readonly before: CopyRow | undefined;
      readonly after: CopyRow | undefined;
    }
  | {
      readonly op: "statement";
      readonly sql: string;
      readonly args: readonly SqlValue[];
      readonly namedArgs: CopyRow;
      readonly captured: readonly SqlValue[];
    }
  | { readonly op: "sequence"; readonly table: string; readonly value: SqlValue };

export class RowCopy {
  readonly #db: DatabaseSync;
  readonly #outside: Outside;

  /** Opens or makes the file. */
  constructor(path: string) {
    this.#db = new DatabaseSync(path, { enableForeignKeyConstraints: false, readBigInts: true });
    this.#db.exec("PRAGMA journal_mode = WAL");
    this.#db.exec(
      "CREATE TABLE IF NOT EXISTS paceline_copied(lsn INTEGER NOT NULL, term INTEGER NOT NULL)",
    );
    this.#outside = new Outside(this.#db);
    this.#db.setAuthorizer((...[, , , , trigger]) =>
      trigger === null ? constants.SQLITE_OK : constants.SQLITE_IGNORE,
    );
  }

  /** The last entry that is in the file; undefined when there is none. */
  get position(): EntryId | undefined {
    const row = this.#db.prepare("SELECT lsn, term FROM paceline_copied").get();
    if (row === undefined) return undefined;
    return { lsn: Number(row["lsn"]), term: Number(row["term"]) } as EntryId;
  }

  /**
   * Applies an entry as one transaction. False when it is in the file already. Throws CorruptionError when the file
   * does not have the rows that the entry changed; the file is as before then.
   */
  apply(position: EntryId, steps: readonly CopyStep[]): boolean {
    const before = this.position;
    if (before !== undefined && position.lsn <= before.lsn) return false;
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      for (const step of steps) this.#step(step);
      this.#db.exec("DELETE FROM paceline_copied");
      this.#db
        .prepare("INSERT INTO paceline_copied VALUES (?, ?)")
        .run(position.lsn, position.term);
      this.#db.exec("COMMIT");
      return true;
    } catch (error) {
      this.#db.exec("ROLLBACK");
      throw new CorruptionError(
        `the copy does not follow at ${position.lsn}@${position.term}: ${messageOf(error)}; make it anew`,
        { cause: error },
      );
    }
  }

  close(): void {
    this.#db.close();
  }

  #step(step: CopyStep): void {
    if (step.op === "statement") return this.#statement(step);
    if (step.op === "sequence") {
      this.#run("DELETE FROM sqlite_sequence WHERE name = ?", [step.table]);
      this.#run("INSERT INTO sqlite_sequence VALUES (?, ?)", [step.table, step.value]);
      return;
    }
    const { op, before = {}, after = {} } = step;
    const table = quoted(step.table);
    if (op === "insert") {
      const names = Object.keys(after);
      const marks = names.map(() => "?").join();
      const sql = `INSERT INTO ${table}(${names.map(quoted).join()}) VALUES (${marks})`;
      this.#run(sql, Object.values(after), 1);
      return;
    }
    const where = step.key.map((name) => `${quoted(name)} IS ?`).join(" AND ");
    const key = step.key.map((name) => before[name] ?? null);
    if (op === "delete") {
      this.#run(`DELETE FROM ${table} WHERE ${where}`, key, 1);
      return;
    }
    const sets = Object.keys(after).map((name) => `${quoted(name)} = ?`);
    this.#run(
      `UPDATE ${table} SET ${sets.join()} WHERE ${where}`,
      [...Object.values(after), ...key],
      1,
    );
  }

  #statement({ sql, args, namedArgs, captured }: Extract<CopyStep, { op: "statement" }>): void {
    this.#outside.repeat(captured);
    const statement = this.#db.prepare(sql);
    const named = namedArgs as Record<string, SQLInputValue>;
    const values = args as SQLInputValue[];
    // Rows that it returns are of no interest, but a statement ends only when they are taken.
    if (Object.keys(named).length > 0) statement.all(named, ...values);
    else statement.all(...values);
    this.#outside.settle();
  }

  #run(sql: string, values: readonly SqlValue[], rows?: number): void {
    const { changes } = this.#db.prepare(sql).run(...(values as SQLInputValue[]));
    if (rows !== undefined && Number(changes) !== rows) {
      throw new CorruptionError(`${changes} rows where ${rows} was changed: ${sql}`);
    }
  }
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
