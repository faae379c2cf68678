/**
 * Why a statement failed, as Hrana tells it: a code that programs compare and SQLite's own words for people.
 * `code` is SQLite's primary code (`SQLITE_CONSTRAINT`), `extendedCode` the precise one (`SQLITE_CONSTRAINT_UNIQUE`).
 */

import { limits } from "../../limits.ts";

/** A statement failed. An answer to the client, never a fault of ours. */
export class SqlError extends Error {
  override readonly name = "SqlError";
  readonly code: string;
  readonly extendedCode: string | undefined;

  constructor(code: string, message: string, extendedCode?: string) {
    super(message);
    this.code = code;
    this.extendedCode = extendedCode;
  }
}

/** What `node:sqlite` threw, as a SqlError. Undefined when it was thrown by ourselves: our own fault. */
export function sqlErrorFrom(error: unknown): SqlError | undefined {
  if (error instanceof SqlError) return error;
  if (!(error instanceof Error)) return undefined;
  const { code, errcode } = error as { code?: unknown; errcode?: unknown };
  if (code === "ERR_SQLITE_ERROR" && typeof errcode === "number") {
    const extended = extendedCodes.get(errcode);
    return new SqlError(primaryCodeName(errcode), withLimit(error.message), extended);
  }
  if (code === "ERR_INVALID_ARG_VALUE" || code === "ERR_INVALID_ARG_TYPE") {
    return new SqlError("ARGS_INVALID", error.message);
  }
  // A value or an answer that does not fit into a string of JavaScript.
  if (code === "ERR_STRING_TOO_LONG" || error instanceof RangeError) {
    return new SqlError("RESPONSE_TOO_LARGE", error.message);
  }
  // Whatever else node:sqlite refuses is refused because of the statement: no reason to end a process.
  if (typeof code === "string" && code.startsWith("ERR_")) {
    return new SqlError("SQLITE_ERROR", error.message);
  }
  return undefined;
}

/** The text of a statement is longer than SQLite was told to take. */
export function isTooLong(error: unknown): boolean {
  return (error as { errcode?: unknown }).errcode === 18;
}

/** SQLite's word for a limit, with the limit and what to do. */
function withLimit(message: string): string {
  const found = sqliteLimits.find(([words]) => message.startsWith(words));
  return found === undefined ? message : `${message}: ${found[1]}`;
}

const sqliteLimits: readonly (readonly [words: string, limit: string])[] = [
  [
    "string or blob too big",
    `a text, blob or row has at most ${limits.valueBytesMax} bytes; cut it into several rows`,
  ],
  ["too many terms in compound SELECT", "at most 500; send several statements"],
  ["too many arguments on function", "at most 1000"],
  ["too many columns", "at most 2000"],
  ["LIKE or GLOB pattern too complex", "at most 50000 bytes"],
  ["too many levels of trigger recursion", "at most 1000"],
  ["too many SQL variables", "at most 32766 in a statement; send several statements"],
];

/** `SQLITE_BUSY` for 5 and for every extended code of it. */
export function primaryCodeName(code: number): string {
  return primaryCodes[code & 0xff] ?? "SQLITE_UNKNOWN";
}

const primaryCodes: Readonly<Record<number, string>> = {
  1: "SQLITE_ERROR",
  2: "SQLITE_INTERNAL",
  3: "SQLITE_PERM",
  4: "SQLITE_ABORT",
  5: "SQLITE_BUSY",
  6: "SQLITE_LOCKED",
  7: "SQLITE_NOMEM",
  8: "SQLITE_READONLY",
  9: "SQLITE_INTERRUPT",
  10: "SQLITE_IOERR",
  11: "SQLITE_CORRUPT",
  12: "SQLITE_NOTFOUND",
  13: "SQLITE_FULL",
  14: "SQLITE_CANTOPEN",
  15: "SQLITE_PROTOCOL",
  16: "SQLITE_EMPTY",
  17: "SQLITE_SCHEMA",
  18: "SQLITE_TOOBIG",
  19: "SQLITE_CONSTRAINT",
  20: "SQLITE_MISMATCH",
  21: "SQLITE_MISUSE",
  22: "SQLITE_NOLFS",
  23: "SQLITE_AUTH",
  24: "SQLITE_FORMAT",
  25: "SQLITE_RANGE",
  26: "SQLITE_NOTADB",
};

/** Only those that tell a client something it can act on. */
const extendedCodes: ReadonlyMap<number, string> = new Map([
  [261, "SQLITE_BUSY_RECOVERY"],
  [517, "SQLITE_BUSY_SNAPSHOT"],
  [275, "SQLITE_CONSTRAINT_CHECK"],
  [531, "SQLITE_CONSTRAINT_COMMITHOOK"],
  [787, "SQLITE_CONSTRAINT_FOREIGNKEY"],
  [1043, "SQLITE_CONSTRAINT_FUNCTION"],
  [1299, "SQLITE_CONSTRAINT_NOTNULL"],
  [1555, "SQLITE_CONSTRAINT_PRIMARYKEY"],
  [1811, "SQLITE_CONSTRAINT_TRIGGER"],
  [2067, "SQLITE_CONSTRAINT_UNIQUE"],
  [2323, "SQLITE_CONSTRAINT_VTAB"],
  [2579, "SQLITE_CONSTRAINT_ROWID"],
  [2835, "SQLITE_CONSTRAINT_PINNED"],
  [3091, "SQLITE_CONSTRAINT_DATATYPE"],
  [267, "SQLITE_CORRUPT_VTAB"],
  [262, "SQLITE_LOCKED_SHAREDCACHE"],
]);
