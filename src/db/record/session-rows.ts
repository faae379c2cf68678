/** Rows as SQLite's session extension sees them. */

import type { DatabaseSync, Session } from "node:sqlite";
import type { RowCollector } from "./track.ts";

/** Of all tables that have a primary key. */
export class SessionRows implements RowCollector {
  readonly #session: Session;

  constructor(db: DatabaseSync) {
    this.#session = db.createSession();
  }

  watch(): void {}

  collect(): Uint8Array {
    return this.#session.changeset();
  }

  close(): void {
    this.#session.close();
  }
}
