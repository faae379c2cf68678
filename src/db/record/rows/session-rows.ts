/** Rows as SQLite's session extension sees them: of tables that have a primary key. */

import type { DatabaseSync, Session } from "node:sqlite";
import { decodeChangeset } from "../../../changes/changeset.ts";
import { encodeChangeset } from "../../../changes/encode-changeset.ts";
/** Which tables' rows are wanted; undefined is all. */
export type TableFilter = ((table: string) => boolean) | undefined;

/** What virtual tables still hold back is written out when the rows are collected: SQLite sets a savepoint then. */
export class SessionRows {
  readonly #session: Session;
  readonly #filter: () => TableFilter;

  constructor(db: DatabaseSync, filter: () => TableFilter) {
    this.#session = db.createSession();
    this.#filter = filter;
  }

  collect(): Uint8Array {
    const bytes = this.#session.changeset();
    const filter = this.#filter();
    if (filter === undefined || bytes.byteLength === 0) return bytes;
    return encodeChangeset(decodeChangeset(bytes).filter(({ table }) => filter(table)));
  }

  close(): void {
    this.#session.close();
  }
}
