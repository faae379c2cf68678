/**
 * What SQLite counts for a connection, kept for each stream while many share one: the rowid inserted last, the rows
 * changed by the last statement and by all. Our own statements never show.
 *
 *   last_insert_rowid()  the connection has the stream's before each statement that may set it or use it: an INSERT
 *                        into a table of ours puts it there
 *   changes()            where a statement calls it itself, the call is renamed to a function of ours; inside a view, a
 *                        trigger, a DEFAULT or a CHECK it is SQLite's, and an UPDATE of as many rows of ours puts it
 *                        there
 *   total_changes()      likewise renamed; elsewhere it cannot be right, and is refused
 *
 * Not here: which statements call what (sql/statement-cache.ts).
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { limits } from "../../limits.ts";
import { hideTemporary, makeTemporary } from "../position-table.ts";
import type { Authorizer } from "../sql/authorizer.ts";
import { SqlError } from "../sql/sql-error.ts";
import { type ConnectionState, newConnection } from "./connection-state.ts";

type Counts = Pick<ConnectionState, "lastInsertRowid" | "changes" | "totalChanges">;

/** Functions of ours by those of SQLite whose place they take. */
export const ownCounters: Readonly<Record<string, string>> = {
  changes: "paceline_changes",
  total_changes: "paceline_total_changes",
};

const databaseList = `
  CREATE TEMP VIEW IF NOT EXISTS pragma_database_list AS SELECT 0 AS seq, 'main' AS name, '' AS file;
`;
const fill = `
  WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)
  INSERT OR IGNORE INTO temp.sqlite_paceline_changed(rowid) SELECT x FROM n
`;

export class Counters {
  readonly #authorizer: Authorizer;
  readonly #read: StatementSync;
  readonly #setRowid: StatementSync;
  readonly #fill: StatementSync;
  readonly #touch: StatementSync;
  /** Rows of the table of ours. */
  #filled = 0;
  /** Rows of ours that were changed. */
  #ours = 0n;
  // Of the stream:
  #before: Counts = newConnection;
  #lastInsertRowid = 0n;
  #changes = 0n;
  #totalChanges = 0n;
  /** The statement that ran last has counted something. */
  #counted = false;

  /** Before the authorizer is set. */
  constructor(db: DatabaseSync, authorizer: Authorizer) {
    this.#authorizer = authorizer;
    db.exec(databaseList);
    for (const name of ["sqlite_paceline_rowid", "sqlite_paceline_changed"]) {
      makeTemporary(db, name);
    }
    hideTemporary(db);
    this.#read = db.prepare("SELECT last_insert_rowid(), changes(), total_changes()");
    this.#setRowid = db.prepare(
      "INSERT OR REPLACE INTO temp.sqlite_paceline_rowid(rowid) VALUES (?)",
    );
    this.#fill = db.prepare(fill);
    this.#touch = db.prepare("UPDATE temp.sqlite_paceline_changed SET x = 1 WHERE rowid <= ?");
    const options = { directOnly: true };
    db.function(ownCounters["changes"]!, options, () => this.#changes);
    db.function(ownCounters["total_changes"]!, options, () => this.#totalChanges);
  }

  /** A stream uses the connection. */
  enter(state: Counts): void {
    this.#before = state;
    this.#lastInsertRowid = BigInt(state.lastInsertRowid);
    this.#changes = BigInt(state.changes);
    this.#totalChanges = BigInt(state.totalChanges);
  }

  /** What the stream has now. What it had, if that is the same. */
  get state(): Counts {
    const state = {
      lastInsertRowid: String(this.#lastInsertRowid),
      changes: String(this.#changes),
      totalChanges: String(this.#totalChanges),
    };
    const { lastInsertRowid, changes, totalChanges } = this.#before;
    const isSame =
      lastInsertRowid === state.lastInsertRowid &&
      changes === state.changes &&
      totalChanges === state.totalChanges;
    return isSame ? this.#before : state;
  }

  get lastInsertRowid(): bigint {
    return this.#lastInsertRowid;
  }

  get changes(): bigint {
    return this.#changes;
  }

  /** Whether the statement that `run` ran last has counted something, also if that was rolled back then. */
  get counted(): boolean {
    return this.#counted;
  }

  /** Rows changed on the connection, by whomever, those of the tables here left out. */
  total(): bigint {
    return this.#now()[2] - this.#ours;
  }

  /** Where the stream's counters stand, for `undo`. */
  mark(): Now {
    return [this.#lastInsertRowid, this.#changes, this.#totalChanges];
  }

  /**
   * Runs a statement that counts what it changes, also where it fails. One of the schema counts only where it makes a
   * virtual table, which writes rows.
   */
  run<T>(statement: () => T, when: "always" | "if-counted" = "always"): T {
    const [rowid, , total] = this.#now();
    const isOwn = rowid === this.#lastInsertRowid;
    if (!isOwn) this.#giveRowid();
    const before = isOwn ? total : total + 1n;
    try {
      return statement();
    } finally {
      const [newRowid, changes, newTotal] = this.#now();
      this.#counted = newTotal !== before;
      if (when === "always" || this.#counted) {
        this.#lastInsertRowid = newRowid;
        this.#changes = changes;
        this.#totalChanges += newTotal - before;
      }
    }
  }

  /** A statement that counts has changed nothing. */
  nothing(): void {
    this.#changes = 0n;
  }

  /** A statement is about to run that calls last_insert_rowid(). */
  giveRowid(): void {
    if (this.#now()[0] !== this.#lastInsertRowid) this.#giveRowid();
  }

  /** A statement is about to run that calls changes() where the call cannot be renamed. Throws SqlError. */
  giveChanges(): void {
    const wanted = this.#changes;
    const [rowid, changes, total] = this.#now();
    // To set the rowid later would change what is right now.
    if (changes === wanted && rowid === this.#lastInsertRowid) return;
    if (wanted > BigInt(limits.restoredChangesMax)) {
      throw new SqlError(
        "BLOCKED",
        "changes() inside a view, trigger, DEFAULT or CHECK is available up to " +
          `${limits.restoredChangesMax} rows, and ${wanted} were changed; ` +
          "call it outside, or in the request that made the change",
      );
    }
    this.#authorizer.asOurselves(() => {
      if (this.#filled < Number(wanted)) this.#fill.run(wanted);
      this.#filled = Math.max(this.#filled, Number(wanted));
      // In this order: each changes what the one before has set.
      this.#setRowid.run(this.#lastInsertRowid);
      this.#touch.run(wanted);
    });
    this.#ours += this.#now()[2] - total;
  }

  /** A statement that had run well was undone: by us, as if never sent, or by what waited for the commit. */
  undo([rowid, changes, total]: Now, byUs: boolean): void {
    if (byUs) this.#lastInsertRowid = rowid;
    this.#changes = byUs ? changes : 0n;
    this.#totalChanges = total;
  }

  /** What has failed must not have set the rowid. */
  keepRowid([rowid]: Now): void {
    this.#lastInsertRowid = rowid;
  }

  #giveRowid(): void {
    this.#authorizer.asOurselves(() => this.#setRowid.run(this.#lastInsertRowid));
    this.#ours++;
  }

  #now(): Now {
    return this.#read.get() as unknown as Now;
  }
}

/** last_insert_rowid(), changes() and total_changes(). */
type Now = readonly [rowid: bigint, changes: bigint, total: bigint];
