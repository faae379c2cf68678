/**
 * The file that is to be imported: opened read-only, and doubted until it has been checked.
 *
 * Anyone may have made it, so nothing in its schema is trusted to run (trusted_schema off, no extensions), and it is
 * read through SQLite's own `quick_check` before a row of it goes anywhere. Everything is read in one transaction:
 * whoever writes to the file meanwhile does not disturb us.
 */

import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { messageOf } from "../../base/errors.ts";
import { Failure } from "../terminal.ts";

/** What the check says of rows that were written while a constraint was off, or not there. */
const isConstraint = /^(?:CHECK constraint failed|NULL value) in /;

const magic = "SQLite format 3\0";

/** A check of less takes no time worth a word. */
const longCheckBytes = 100_000_000;

/** Opens and checks a database file. The caller closes it. Throws Failure. `tell` hears of what takes long. */
export function openSource(path: string, tell: (text: string) => void): DatabaseSync {
  checkHeader(path);
  const db = open(path);
  const bytes = statSync(path).size;
  if (bytes > longCheckBytes) {
    tell(`checking ${path}, ${Math.round(bytes / 1e6).toLocaleString("en-US")} MB`);
  }
  try {
    db.exec("PRAGMA query_only = on; PRAGMA cell_size_check = on; PRAGMA mmap_size = 0; BEGIN");
    const found = db.prepare("PRAGMA quick_check(5)").all() as { quick_check: string }[];
    const problems = found.map((row) => Object.values(row)[0]).filter((text) => text !== "ok");
    if (problems.length > 0 && problems.every((text) => isConstraint.test(String(text)))) {
      throw new Failure(
        `${path} has rows that its own constraints refuse: ${problems.join("; ")}`,
        "A cluster would refuse them as well. Put them right in the file, then import again.",
      );
    }
    if (problems.length > 0) {
      throw new Failure(
        `${path} is damaged: ${problems.join("; ")}`,
        `Save what can be saved with: sqlite3 '${path}' .recover | sqlite3 repaired.sqlite`,
      );
    }
    return db;
  } catch (error) {
    db.close();
    if (error instanceof Failure) throw error;
    throw new Failure(`${path} cannot be read: ${messageOf(error)}`, openHint(error), 1, {
      cause: error,
    });
  }
}

function open(path: string): DatabaseSync {
  const options = { readOnly: true, allowExtension: false, enableForeignKeyConstraints: false };
  const db = new DatabaseSync(path, options);
  try {
    db.exec("PRAGMA trusted_schema = off");
    db.prepare("SELECT count(*) FROM sqlite_schema").get();
    return db;
  } catch (error) {
    db.close();
    // A file in WAL mode wants a -shm file beside it even to be read. Where none can be made, and nothing is in a
    // WAL, the file is all there is.
    const url = pathToFileURL(path);
    url.search = "immutable=1";
    if ((error as { errcode?: number }).errcode !== 14 || existsSync(`${path}-wal`)) throw error;
    return new DatabaseSync(url, options);
  }
}

function openHint(error: unknown): string | undefined {
  switch ((error as { errcode?: number }).errcode) {
    case 5:
      return "Another program holds it. Wait until that is done, or stop it.";
    case 14:
      return "Is the directory writable? A database in WAL mode needs that even to be read.";
    default:
      return undefined;
  }
}

/** What can be told from the first bytes and the size alone. */
function checkHeader(path: string): void {
  let size: number;
  const head = Buffer.alloc(100);
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new Failure(`${path} is not a file`);
    size = stat.size;
    const fd = openSync(path, "r");
    readSync(fd, head, 0, head.length, 0);
    closeSync(fd);
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`cannot open ${path}: ${messageOf(error)}`);
  }
  if (size === 0) throw new Failure(`${path} is empty: there is nothing to import`);
  if (head.toString("latin1", 0, 16) !== magic) {
    const start = head.subarray(0, Math.min(16, size));
    throw new Failure(
      `${path} is not a SQLite database: it starts with ${show(start)}, not with "SQLite format 3"`,
      notSqliteHint(path, head.toString("latin1", 0, Math.min(head.length, size))),
    );
  }
  const stored = head.readUInt16BE(16);
  const pageSize = stored === 1 ? 65_536 : stored;
  const pages = head.readUInt32BE(28);
  // The size in the header counts only when it was written together with the last change [fileformat2 §1.3.7].
  const known = head.readUInt32BE(24) === head.readUInt32BE(92);
  if (known && size < pages * pageSize && !existsSync(`${path}-wal`)) {
    throw new Failure(
      `${path} is cut short: its header says ${pages} pages of ${pageSize} bytes, the file has ${size} bytes`,
      "Copy it again from where it came from.",
    );
  }
}

function show(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  if (/^[\x20-\x7e\s]+$/.test(text)) return JSON.stringify(text);
  return `bytes ${bytes.toString("hex").replace(/(..)(?=.)/g, "$1 ")}`;
}

function notSqliteHint(path: string, start: string): string {
  if (path.endsWith(".sql") || /^\s*(?:--|\/\*|PRAGMA|BEGIN|CREATE|INSERT|DROP|SET)/i.test(start)) {
    return (
      "It looks like SQL text. Build a database from it, and import that:\n" +
      `  sqlite3 new.sqlite < '${path}' && paceline import new.sqlite`
    );
  }
  if (start.startsWith("\x1f\x8b")) return "It is compressed; unpack it with gunzip first.";
  return "If it is encrypted (SQLCipher, SEE), decrypt it with the tool that made it first.";
}
