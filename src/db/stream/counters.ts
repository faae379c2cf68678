/**
 * What SQLite counts for a connection, kept for each stream while many share one: the rowid inserted last, the rows
 * changed by the last statement and by all. Our own statements never show.
 *
 *   last_insert_rowid()  the connection has the stream's before each statement that may set it or use it: an INSERT
 *                        into a table of ours puts it there
 *   changes()            where a statement calls it itself, the call is renamed to a function of ours; inside a view or
 *                        trigger it is SQLite's, and an UPDATE of as many rows of ours puts it there
 *   total_changes()      likewise renamed; inside a view or trigger it cannot be right, and is refused
 *
 * Not here: which statements call what (sql/statement-cache.ts).
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { limits } from "../../limits.ts";
import type { Authorizer } from "../sql/authorizer.ts";
import { SqlError } from "../sql/sql-error.ts";
import { type ConnectionState, newConnection } from "./connection-state.ts";

type Counts = Pick<ConnectionState, "lastInsertRowid" | "changes" | "totalChanges">;

/** Functions of ours by those of SQLite whose place they take. */
export const ownCounters: Readonly<Record<string, string>> = {
  changes: "paceline_changes",
  total_changes: "paceline_total_changes",
};

const tables = `
  CREATE TEMP TABLE IF NOT EXISTS paceline_rowid(x);
  CREATE TEMP TABLE IF NOT EXISTS paceline_changed(x);
  CREATE TEMP VIEW IF NOT EXISTS pragma_database_list AS SELECT 0 AS seq, 'main' AS name, '' AS file;
`;
const fill = `
  WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?)
  INSERT OR IGNORE INTO temp.paceline_changed(rowid) SELECT x FROM n
`;

export class Counters {
  readonly #authorizer: Authorizer;
  readonly #counters: StatementSync;
  readonly #total: StatementSync;
  readonly #setRowid: StatementSync;
  readonly #fill: StatementSync;
  readonly #touch: StatementSync;
  /** Rows of the table of ours. */
  #filled = 0;
  /** Rows of ours that were changed. */
  #ours = 0n;
  // Of the stream:
  #lastInsertRowid = 0n;
  #changes = 0n;
  #totalChanges = 0n;

  /** Before the authorizer is set. */
  constructor(db: DatabaseSync, authorizer: Authorizer) {
    this.#authorizer = authorizer;
    db.exec(tables);
    // Run, it changes nothing, and gives the counters of the statement before.
    this.#counters = db.prepare("SELECT 1");
    this.#total = db.prepare("SELECT total_changes()");
    this.#setRowid = db.prepare("INSERT OR REPLACE INTO temp.paceline_rowid(rowid) VALUES (?)");
    this.#fill = db.prepare(fill);
    this.#touch = db.prepare("UPDATE temp.paceline_changed SET x = 1 WHERE rowid <= ?");
    const options = { directOnly: true };
    db.function(ownCounters["changes"]!, options, () => this.#changes);
    db.function(ownCounters["total_changes"]!, options, () => this.#totalChanges);
  }

  /** A stream uses the connection. */
  enter(state: Counts = newConnection): void {
    this.#lastInsertRowid = BigInt(state.lastInsertRowid);
    this.#changes = BigInt(state.changes);
    this.#totalChanges = BigInt(state.totalChanges);
  }

  /** What the stream has now. */
  get state(): Counts {
    return {
      lastInsertRowid: String(this.#lastInsertRowid),
      changes: String(this.#changes),
      totalChanges: String(this.#totalChanges),
    };
  }

  get lastInsertRowid(): bigint {
    return this.#lastInsertRowid;
  }

  /** Rows changed on the connection, by whomever, those of the tables here left out. */
  total(): bigint {
    return this.#all() - this.#ours;
  }

  /** A statement is about to run that may set or use last_insert_rowid(). */
  giveRowid(): void {
    if (this.#counters.run().lastInsertRowid === this.#lastInsertRowid) return;
    this.#authorizer.asOurselves(() => this.#setRowid.run(this.#lastInsertRowid));
    this.#ours++;
  }

  /** A statement is about to run that uses changes() inside a view or trigger. Throws SqlError. */
  giveChanges(): void {
    const wanted = this.#changes;
    if (this.#counters.run().changes === wanted) return;
    if (wanted > BigInt(limits.restoredChangesMax)) {
      throw new SqlError(
        "BLOCKED",
        `changes() inside a view or trigger is available up to ${limits.restoredChangesMax} rows, and ${wanted} were ` +
          "changed; call it outside, or in the request that made the change",
      );
    }
    const before = this.#all();
    this.#authorizer.asOurselves(() => {
      if (this.#filled < Number(wanted)) this.#fill.run(wanted);
      this.#filled = Math.max(this.#filled, Number(wanted));
      this.#setRowid.run(this.#lastInsertRowid);
      this.#touch.run(wanted);
    });
    this.#ours += this.#all() - before;
  }

  /**
   * Runs a statement that counts what it changes, also where it fails. One of the schema counts only where it makes a
   * virtual table, which writes rows.
   */
  noting<T>(run: () => T, when: "always" | "if-counted" = "always"): T {
    const before = this.total();
    try {
      return run();
    } finally {
      if (when === "always" || this.total() !== before) this.#note(before);
    }
  }

  /** A statement that had run well was undone: by us, as if never sent, or by what waited for the commit. */
  undo(start: Counts, byUs: boolean): void {
    const lastInsertRowid = String(this.#lastInsertRowid);
    this.enter(byUs ? start : { ...start, lastInsertRowid, changes: "0" });
  }

  /** Before it, the connection's total was `before`. */
  #note(before: bigint): void {
    const { changes, lastInsertRowid } = this.#counters.run();
    this.#lastInsertRowid = BigInt(lastInsertRowid);
    this.#changes = BigInt(changes);
    this.#totalChanges += this.total() - before;
  }

  get changes(): bigint {
    return this.#changes;
  }

  #all(): bigint {
    return (this.#total.get() as unknown as [bigint])[0];
  }
}
