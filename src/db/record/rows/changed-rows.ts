/**
 * Rows that changed on a connection, whoever can see them: SQLite's sessions see tables that have a primary key, in all
 * their changes; triggers of ours see tables without one, too, but no row that is replaced. Nothing is watched before
 * it is needed, since both cost time.
 */

import type { DatabaseSync } from "node:sqlite";
import type { TableFacts } from "../schema-facts.ts";
import type { RowCollector, Watcher } from "../track.ts";
import { SessionRows, type TableFilter } from "./session-rows.ts";
import type { TriggerLog } from "./trigger-rows.ts";

export class ChangedRows implements RowCollector {
  readonly #db: DatabaseSync;
  readonly #log: TriggerLog;
  readonly #filter: () => TableFilter;
  #session: SessionRows | undefined;
  /** Names of tables that triggers watch. */
  readonly #byTriggers = new Set<string>();

  /** `filter`: tables whose rows are wanted of a session, which sees them all. */
  constructor(db: DatabaseSync, log: TriggerLog, filter: () => TableFilter) {
    this.#db = db;
    this.#log = log;
    this.#filter = filter;
  }

  watch(facts: TableFacts, by: Watcher): void {
    if (by === "session") {
      this.#session ??= new SessionRows(this.#db, () => this.#wanted());
      return;
    }
    if (this.#byTriggers.size === 0) this.#log.clear();
    this.#byTriggers.add(facts.name);
    this.#log.watch(facts);
  }

  collect(): Uint8Array {
    const bySession = this.#session?.collect();
    if (this.#byTriggers.size === 0) return bySession ?? new Uint8Array(0);
    const byTriggers = this.#log.collect(this.#byTriggers);
    return bySession === undefined ? byTriggers : Buffer.concat([bySession, byTriggers]);
  }

  close(): void {
    this.#session?.close();
  }

  #wanted(): TableFilter {
    const filter = this.#filter();
    if (this.#byTriggers.size === 0) return filter;
    return (table) => !this.#byTriggers.has(table) && (filter === undefined || filter(table));
  }
}
