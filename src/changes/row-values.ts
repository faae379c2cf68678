/**
 * Values in rows of tables. Beside those of values.ts they may be text that is no UTF-8: SQLite takes text as it comes,
 * from CAST, or from a BLOB with `||`.
 */

import type { SqlValue } from "./values.ts";

export type RowValue = SqlValue | TextBytes;

/** Text that is no UTF-8. */
export class TextBytes {
  readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  /** What is wrong with it becomes U+FFFD. */
  toString(): string {
    return decoder.decode(this.bytes);
  }
}

/** TextBytes are a view of the bytes. */
export function textOf(bytes: Uint8Array): string | TextBytes {
  const text = decoder.decode(bytes);
  const isWhole = !text.includes("\ufffd") || Buffer.compare(Buffer.from(text), bytes) === 0;
  return isWhole ? text : new TextBytes(bytes);
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Equal as SQLite's IS is, except that 1 and 1.0 differ. */
export function sameValue(a: RowValue | undefined, b: RowValue | undefined): boolean {
  if (a instanceof TextBytes && b instanceof TextBytes)
    return Buffer.compare(a.bytes, b.bytes) === 0;
  if (a instanceof Uint8Array && b instanceof Uint8Array) return Buffer.compare(a, b) === 0;
  return Object.is(a, b);
}
