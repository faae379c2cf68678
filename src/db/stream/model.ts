/**
 * PRAGMAs that do not reach the real connection (pragmas.ts), answered as stock SQLite answers them: by stock SQLite,
 * on an empty database of its own. What a client says there is read back as SQLite understood it, and kept by its
 * stream.
 */

import { DatabaseSync } from "node:sqlite";
import { quoted } from "../sql/quoted.ts";
import { SqlError, sqlErrorFrom } from "../sql/sql-error.ts";

/** Rows as `node:sqlite` gives them, by column. */
export type PragmaAnswer = {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (bigint | string)[])[];
};

const nothing: PragmaAnswer = { columns: [], rows: [] };

/** What is not asked of SQLite. */
const fixedAnswers: Readonly<Record<string, PragmaAnswer>> = {
  auto_vacuum: nothing,
  case_sensitive_like: nothing,
  database_list: { columns: ["seq", "name", "file"], rows: [[0n, "main", ""]] },
  encoding: nothing,
  hard_heap_limit: { columns: ["hard_heap_limit"], rows: [[0n]] },
  incremental_vacuum: nothing,
  locking_mode: { columns: ["locking_mode"], rows: [["normal"]] },
  page_size: nothing,
  soft_heap_limit: { columns: ["soft_heap_limit"], rows: [[0n]] },
  wal_checkpoint: { columns: ["busy", "log", "checkpointed"], rows: [[0n, 0n, 0n]] },
};

/** SQLite maps no more than this [SQLITE_MAX_MMAP_SIZE]. */
const mappedMax = 0x7fff0000n;

export class ModelConnection {
  readonly #db = new DatabaseSync("", { returnArrays: true, readBigInts: true });
  readonly #defaults = new Map<string, string>();

  /** The answer of a PRAGMA that is the same for everybody. */
  fixed(name: string, value: string | undefined): PragmaAnswer {
    return fixedAnswers[name.toLowerCase()] ?? this.#ask(name, value);
  }

  /**
   * The answer of a PRAGMA that is kept, and the value that the stream has afterwards; undefined if that is the usual.
   * `own` is what the stream had. Throws SqlError.
   */
  kept(
    call: { readonly name: string; readonly value: string | undefined },
    own: string | undefined,
    inTransaction: boolean,
  ): { readonly answer: PragmaAnswer; readonly own: string | undefined } {
    const { name, value } = call;
    if (name === "mmap_size") return mapped(value, own);
    const usual = this.#defaultOf(name);
    this.#set(name, own ?? usual);
    if (inTransaction) this.#db.exec("BEGIN");
    try {
      const answer = this.#ask(name, value);
      const now = this.#read(name);
      return { answer, own: now === usual ? undefined : now };
    } catch (error) {
      throw sqlErrorFrom(error) ?? error;
    } finally {
      if (inTransaction) this.#db.exec("ROLLBACK");
      this.#set(name, usual);
    }
  }

  #defaultOf(name: string): string {
    const known = this.#defaults.get(name) ?? this.#read(name);
    this.#defaults.set(name, known);
    return known;
  }

  #set(name: string, value: string): void {
    // Of all values only this one reads back as something else than what sets it.
    const said = name === "secure_delete" && value === "2" ? "fast" : value;
    this.#db.exec(`PRAGMA ${quoted(name)} = ${quoted(said)}`);
  }

  #read(name: string): string {
    return String(this.#db.prepare(`PRAGMA ${quoted(name)}`).get());
  }

  #ask(name: string, value: string | undefined): PragmaAnswer {
    const set = value === undefined ? "" : ` = ${quoted(value)}`;
    const statement = this.#db.prepare(`PRAGMA ${quoted(name)}${set}`);
    const columns = statement.columns().map((column) => column.name);
    return { columns, rows: statement.all() as unknown as PragmaAnswer["rows"] };
  }
}

/** An empty database without a file has nothing to map, and says so. */
function mapped(
  value: string | undefined,
  own: string | undefined,
): { readonly answer: PragmaAnswer; readonly own: string | undefined } {
  if (value !== undefined && !/^-?\d{1,18}$/.test(value)) {
    throw new SqlError("BLOCKED", "PRAGMA mmap_size: the value is not a number of bytes");
  }
  let bytes = BigInt(value ?? own ?? "0");
  if (bytes < 0n) bytes = 0n;
  if (bytes > mappedMax) bytes = mappedMax;
  const answer = { columns: ["mmap_size"], rows: [[bytes]] };
  return { answer, own: bytes === 0n ? undefined : String(bytes) };
}
