/** Values of every type and at every edge, written into the SQL or bound to parameters of every style. */

import type { Prng } from "../../../../src/base/prng.ts";
import type { SqlValue } from "../../../../src/changes/values.ts";
import { pick } from "../../mutate.ts";
import type { Argument, Statement } from "../list.ts";

const literals = [
  ...["NULL", "0", "1", "-1", "2", "3", "7", "x''", "x'00ff'", "zeroblob(3)", "''", "'a'", "'b'"],
  ...["'it''s'", "'1'", "'1.0'", "' 2'", "1.0", "-0.0", "0.5", "1e3", "9e999", "-9e999", "1e-300"],
  ...["9223372036854775807", "-9223372036854775808", "9223372036854775808", "0x7f", "'é日💥'"],
  ...["'a' || char(0) || 'b'", "CURRENT_DATE IS NULL", '"dq"', "TRUE", "1_000", "CAST('7' AS INT)"],
  ...["json('[1, 2]')", "json_object('k', 1)", "abs(-5)", "'a;b'", "'-- no'", "'/*'", "+1", "~0"],
];

const bound: readonly SqlValue[] = [
  ...[null, 0n, 1n, 2n, 3n, -1n, 2n ** 63n - 1n, -(2n ** 63n), 2n ** 53n + 1n, 0.5, 1.0, -0.0],
  ...["", "a", "b", "é日💥", "a\0b", "it's", "1", "{", "{", "[1,2]"],
  ...[new Uint8Array(), new Uint8Array([0, 255]), new Uint8Array(5_000).fill(7)],
];

export function literal(prng: Prng): string {
  return prng.chance(0.4) ? String(prng.integer(0, 9)) : pick(literals, prng);
}

export function boundValue(prng: Prng): SqlValue {
  return prng.chance(0.4) ? BigInt(prng.integer(0, 9)) : pick(bound, prng);
}

/**
 * The values of one statement, its parameters all of one style. While it is made, a value is a mark in the text; only
 * what stands in the text in the end becomes a parameter.
 */
export class Values {
  readonly #prng: Prng;
  readonly #style: string;
  readonly #byName: boolean;
  readonly #values: SqlValue[] = [];

  constructor(prng: Prng) {
    this.#prng = prng;
    this.#style = pick(["?", "?", "?", "?N", ":", "@", "$"], prng);
    this.#byName = !this.#style.startsWith("?") && prng.chance(0.6);
  }

  /** A literal, or a parameter. */
  next(): string {
    return this.#prng.chance(0.6) ? literal(this.#prng) : this.#mark(boundValue(this.#prng));
  }

  parameter(): string {
    return this.#mark(boundValue(this.#prng));
  }

  /** A small whole number. */
  small(): string {
    const n = this.#prng.integer(0, 12);
    return this.#prng.chance(0.7) ? String(n) : this.#mark(BigInt(n));
  }

  /** The text with its parameters written as such. */
  finish(marked: string): Pick<Statement, "args" | "byName"> & { readonly sql: string } {
    const args: Argument[] = [];
    const sql = marked.replace(/⟦(\d+)⟧/g, (_, at: string) => {
      const value = this.#values[Number(at)]!;
      const index = args.length + 1;
      if (this.#style.startsWith("?")) {
        args.push({ value });
        return this.#style === "?" ? "?" : `?${index}`;
      }
      const name = `${this.#style}p${index}`;
      args.push({ name, value });
      return name;
    });
    return { sql, args, byName: this.#byName };
  }

  #mark(value: SqlValue): string {
    this.#values.push(value);
    return `⟦${this.#values.length - 1}⟧`;
  }
}
