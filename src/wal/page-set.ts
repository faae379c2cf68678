/**
 * A change of the database as whole pages: what one or more SQLite transactions leave behind. It is what the leader
 * reads back from its scratch WAL, what `pages` payloads carry, and what every node appends to its served WAL.
 *
 * Not here: how it is captured, encoded or applied.
 */

/**
 * The last image of every changed page. Every page between the old and the new end of the database is present, so
 * that applying the same sets in the same order gives the same bytes everywhere.
 */
export type PageSet = {
  /** Bytes of one page. */
  readonly pageSize: number;
  /** Pages of the database after the change. */
  readonly pageCount: number;
  /** Numbers of the changed pages, ascending, unique, none above `pageCount`. */
  readonly pgnos: Uint32Array;
  /** Their images, one after the other. */
  readonly pages: Uint8Array;
  /** Two halves (high, low) of base/hash `pageHash` for each of them. */
  readonly hashes: Uint32Array;
};
