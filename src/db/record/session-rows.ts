/** Rows as SQLite's session extension sees them. */

import type { DatabaseSync, Session } from "node:sqlite";
import { decodeChangeset } from "../../changes/changeset.ts";
import { encodeChangeset } from "../../changes/encode-changeset.ts";
import type { RowCollector } from "./track.ts";

/** Which tables' rows are wanted; undefined is all. */
export type TableFilter = ((table: string) => boolean) | undefined;

/**
 * Of all tables that have a primary key. What a virtual table keeps in ordinary tables may be written late, while
 * other statements run; so it is filtered out of what was collected, not kept from being collected.
 */
export class SessionRows implements RowCollector {
  readonly #session: Session;
  readonly #filter: () => TableFilter;

  constructor(db: DatabaseSync, filter: () => TableFilter) {
    this.#session = db.createSession();
    this.#filter = filter;
  }

  watch(): void {}

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
