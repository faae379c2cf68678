/** Answers in one form for both sides, so that they can be compared as texts. */

import type { SQLOutputValue } from "node:sqlite";

export type Answer =
  | {
      readonly type: "rows";
      /** Name and declared type of each column. */
      readonly cols: readonly string[];
      readonly rows: readonly string[];
      /** Undefined where it is not to be compared. */
      readonly affected?: number | undefined;
      readonly rowid?: string | undefined;
    }
  | {
      readonly type: "error";
      readonly code: string;
      readonly extended?: string | undefined;
      readonly message: string;
    }
  /** A step whose condition was not met; a request of a transaction's end; a script. */
  | { readonly type: "skipped" | "done" }
  | { readonly type: "describe"; readonly cols: readonly string[] }
  | { readonly type: "autocommit"; readonly is: boolean };

/** A value with its type. JSON has no word for an infinity: the nodes answer with the text that SQLite has for it. */
export function valueText(value: SQLOutputValue): string {
  if (value === null) return "NULL";
  if (typeof value === "bigint") return `${value}`;
  if (typeof value === "number") return floatText(value);
  if (typeof value === "string") return JSON.stringify(value);
  return `x'${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("hex")}'`;
}

export function floatText(value: number): string {
  if (!Number.isFinite(value)) return value < 0 ? '"-Inf"' : '"Inf"';
  return Object.is(value, -0) ? "-0.0" : `${value}r`;
}

/** In what the two answers to one statement differ; undefined: in nothing. */
export function difference(ours: Answer, stock: Answer): string | undefined {
  if (ours.type !== stock.type) return "kind of answer";
  if (ours.type === "rows" && stock.type === "rows") {
    if (ours.cols.join() !== stock.cols.join()) return "columns";
    if (!isProgram(stock.cols) && ours.rows.join("\n") !== stock.rows.join("\n")) return "rows";
    if (stock.affected !== undefined && ours.affected !== stock.affected) {
      return "affected_row_count";
    }
    if (stock.rowid !== undefined && ours.rowid !== stock.rowid) return "last_insert_rowid";
  }
  if (ours.type === "error" && stock.type === "error") {
    if (ours.code !== stock.code) return "code";
    if (ours.message !== stock.message && !isOwn(stock.code)) return "message";
    if ((ours.extended ?? stock.extended) !== stock.extended) return "extended_code";
  }
  if (ours.type === "autocommit" && stock.type === "autocommit") {
    if (ours.is !== stock.is) return "is_autocommit";
  }
  if (ours.type === "describe" && stock.type === "describe") {
    if (ours.cols.join() !== stock.cols.join()) return "columns";
  }
  return undefined;
}

/** EXPLAIN: its rows name pages of the file. */
function isProgram(cols: readonly string[]): boolean {
  return cols[0]?.startsWith("addr:") === true && cols[1]?.startsWith("opcode:") === true;
}

/** Codes of Hrana, whose words are the nodes' own. */
function isOwn(code: string): boolean {
  return !code.startsWith("SQLITE_");
}
