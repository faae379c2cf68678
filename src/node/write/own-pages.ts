/**
 * Pages of entries that went into the log without them: the leader made them when it ran the statements, and applies
 * them itself once the entry is committed. Only in memory: after a restart this node applies such entries as any other
 * does. [D5]
 *
 * An entry is known by LSN and term. Of equal term it is the one this node proposed, and so is every entry before it
 * since the scratch was made; so the pages fit.
 */

import type { EntryId, Lsn, Term } from "../../vocabulary.ts";

export class OwnPages {
  readonly #byLsn = new Map<Lsn, { readonly term: Term; readonly pages: Uint8Array }>();

  keep(id: EntryId, pages: Uint8Array): void {
    this.#byLsn.set(id.lsn, { term: id.term, pages });
  }

  /** Encoded pages of this very entry. */
  of(id: EntryId): Uint8Array | undefined {
    const kept = this.#byLsn.get(id.lsn);
    return kept?.term === id.term ? kept.pages : undefined;
  }

  /** The entry at `lsn` is applied, or another one in its place. */
  settle(lsn: Lsn): void {
    this.#byLsn.delete(lsn);
  }

  /** The database has come to another state in another way. */
  clear(): void {
    this.#byLsn.clear();
  }
}
