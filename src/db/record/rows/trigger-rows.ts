/**
 * Rows as triggers see them: for each table that a statement may write, generated triggers note which rows are touched
 * in a changelog table of their own. All of it is TEMP: on this connection only, in no page of the database.
 *
 *   BEFORE UPDATE, BEFORE DELETE   the row as it was                                    "was"
 *   AFTER INSERT                   its key; also where an UPDATE gave a row a new key    "came"
 *   AFTER DELETE                   its key; also where an UPDATE took a key away         "went"
 *
 * In what order triggers of one event fire is not defined, so what a row was before and is after is not taken from the
 * order of notes: after is what the table has when it is asked; whether the row was there before follows from how often
 * it came and went; and what it was then is the first "was" of it.
 *
 * The triggers are made when a table is first written and removed before the schema changes, so they follow it. A
 * rollback takes changelog and triggers back with everything else.
 *
 * Not seen by triggers: rows deleted by REPLACE (unless triggers are recursive). The recorder leaves such statements to
 * a session.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { RowChange, TableChanges } from "../../../changes/changeset.ts";
import { encodeChangeset } from "../../../changes/encode-changeset.ts";
import { type RowValue, sameValue, TextBytes } from "../../../changes/row-values.ts";
import { hideTemporary } from "../../position-table.ts";
import { ownTriggerPrefix } from "../../sql/authorizer.ts";
import { quoted } from "../../sql/quoted.ts";
import { type TableFacts, travellingColumns, travellingKey } from "../schema-facts.ts";
import { ExactRows, placeOf } from "./exact-rows.ts";

const notes = { was: 0n, came: 1n, went: 2n } as const;

/** A table that is being watched. */
type Watched = {
  readonly facts: TableFacts;
  readonly log: string;
  /** In changeset order, as SQL has them. */
  readonly columns: readonly string[];
  readonly primaryKey: Uint8Array;
};

type Noted = { came: number; went: number; was: RowValue[] | undefined; key: RowValue[] };

/** The changelog of one connection. */
export class TriggerLog {
  readonly #db: DatabaseSync;
  readonly #watchedByName = new Map<string, Watched>();
  readonly #exists: StatementSync;
  readonly #made: StatementSync;
  readonly #prefix: string;
  #count = 0;

  /** `name` tells several logs of one connection apart. */
  constructor(db: DatabaseSync, name: string) {
    this.#db = db;
    this.#prefix = `${ownTriggerPrefix}${name}`;
    db.exec("PRAGMA temp_store = MEMORY");
    this.#exists = db.prepare("SELECT 1 FROM sqlite_temp_schema WHERE name = ?");
    this.#made = db.prepare(
      "SELECT type, name FROM sqlite_temp_schema WHERE name GLOB ? || '*' ORDER BY type DESC",
    );
  }

  /** Asks SQLite: a rollback brings back what was removed in its transaction. */
  get isWatching(): boolean {
    return this.#made.get(this.#prefix) !== undefined;
  }

  /** What was noted before is forgotten. */
  clear(): void {
    for (const { log } of this.#watchedByName.values()) {
      if (this.#has(log)) this.#db.exec(`DELETE FROM temp.${log}`);
    }
  }

  /** The schema is about to change. */
  forget(): void {
    const made = this.#made.all(this.#prefix) as unknown as [string, string][];
    for (const [type, name] of made) this.#db.exec(`DROP ${type} temp.${name}`);
    this.#watchedByName.clear();
  }

  /** Rows of this table are noted from now on. */
  watch(facts: TableFacts): void {
    const known = this.#watchedByName.get(facts.name);
    if (known?.facts === facts && this.#has(known.log)) return;
    if (known !== undefined) this.#remove(known);
    const watched = watchedOf(facts, `${this.#prefix}${++this.#count}`);
    this.#db.exec(triggersOf(watched));
    hideTemporary(this.#db);
    this.#watchedByName.set(facts.name, watched);
  }

  #remove({ log }: Watched): void {
    for (const when of ["was", "gone", "came", "went", "moved"]) {
      this.#db.exec(`DROP TRIGGER IF EXISTS temp.${log}_${when}`);
    }
    this.#db.exec(`DROP TABLE IF EXISTS temp.${log}`);
  }

  /** A rollback may have taken it away. */
  #has(log: string): boolean {
    return this.#exists.get(log) !== undefined;
  }

  /** Rows of these tables that changed since `clear`, as a changeset. */
  collect(names: ReadonlySet<string>): Uint8Array {
    const tables: TableChanges[] = [];
    for (const watched of this.#watchedByName.values()) {
      const table = watched.facts.name;
      if (!names.has(table) || !this.#has(watched.log)) continue;
      const changes = this.#changesOf(watched);
      const { primaryKey } = watched;
      if (changes.length > 0) tables.push({ format: "changeset", table, primaryKey, changes });
    }
    return encodeChangeset(tables);
  }

  #changesOf(watched: Watched): RowChange[] {
    const { log, facts, columns, primaryKey } = watched;
    const cells = columns.map((_, i) => `c${i}`);
    const rows = new ExactRows(this.#db, ["note", ...cells], `temp.${log} ORDER BY seq`).all();
    if (rows.length === 0) return [];
    const notedByKey = new Map<string, Noted>();
    for (const [note, ...values] of rows) {
      const key = values.filter((_, i) => primaryKey[i]! > 0);
      const name = nameOf(key);
      const noted = notedByKey.get(name) ?? { came: 0, went: 0, was: undefined, key };
      notedByKey.set(name, noted);
      if (note === notes.came) noted.came++;
      else if (note === notes.went) noted.went++;
      else noted.was ??= values;
    }
    const keyColumns = columns.filter((_, i) => primaryKey[i]! > 0);
    const rowsBy = (places: readonly string[]) => {
      const isRow = keyColumns.map((name, i) => `${name} IS ${places[i]}`).join(" AND ");
      return new ExactRows(this.#db, columns, `main.${quoted(facts.name)} WHERE ${isRow}`);
    };
    const plain = rowsBy(keyColumns.map(() => "?"));
    return [...notedByKey.values()].flatMap((noted) => {
      const { key } = noted;
      const now = key.some((value) => value instanceof TextBytes)
        ? rowsBy(key.map(placeOf))
        : plain;
      return changeOf(noted, now.get(...key), primaryKey);
    });
  }
}

function changeOf(
  { came, went, was }: Noted,
  now: RowValue[] | undefined,
  primaryKey: Uint8Array,
): RowChange[] {
  const wasThere = (now === undefined ? 0 : 1) - came + went > 0;
  const indirect = false;
  if (!wasThere) {
    if (now === undefined) return [];
    return [{ operation: "insert", indirect, before: undefined, after: now }];
  }
  if (was === undefined) return [];
  if (now === undefined) return [{ operation: "delete", indirect, before: was, after: undefined }];
  const differs = now.map((value, i) => !sameValue(value, was[i]));
  if (!differs.includes(true)) return [];
  const before = was.map((value, i) => (differs[i] || primaryKey[i]! > 0 ? value : undefined));
  const after = now.map((value, i) => (differs[i] ? value : undefined));
  return [{ operation: "update", indirect, before, after }];
}

function watchedOf(facts: TableFacts, log: string): Watched {
  const isRowid = (at: number) => at === 0 && facts.rowid !== undefined;
  // Quoted, the rowid might be taken for a column.
  const columns = travellingColumns(facts).map((name, at) => (isRowid(at) ? name : quoted(name)));
  return { facts, log, columns, primaryKey: travellingKey(facts) };
}

function triggersOf({ facts, log, columns, primaryKey }: Watched): string {
  const cells = columns.map((_, i) => `c${i}`).join();
  const all = (row: "old" | "new") => columns.map((name) => `${row}.${name}`).join();
  const keyOnly = (row: "old" | "new") =>
    columns.map((name, i) => (primaryKey[i]! > 0 ? `${row}.${name}` : "NULL")).join();
  const moved = columns
    .filter((_, i) => primaryKey[i]! > 0)
    .map((name) => `old.${name} IS NOT new.${name}`)
    .join(" OR ");
  const note = (what: keyof typeof notes, values: string) =>
    `INSERT INTO ${log}(note, ${cells}) VALUES (${notes[what]}, ${values});`;
  const trigger = (name: string, when: string, body: string) =>
    `CREATE TEMP TRIGGER ${log}_${name} ${when.replace("?", `ON main.${quoted(facts.name)}`)} BEGIN ${body} END;`;
  return [
    `CREATE TEMP TABLE ${log}(seq INTEGER PRIMARY KEY, note, ${cells});`,
    trigger("was", "BEFORE UPDATE ?", note("was", all("old"))),
    trigger("gone", "BEFORE DELETE ?", note("was", all("old"))),
    trigger("came", "AFTER INSERT ?", note("came", keyOnly("new"))),
    trigger("went", "AFTER DELETE ?", note("went", keyOnly("old"))),
    trigger(
      "moved",
      `AFTER UPDATE ? WHEN ${moved}`,
      note("went", keyOnly("old")) + note("came", keyOnly("new")),
    ),
  ].join("\n");
}

/** Equal for equal keys. */
function nameOf(key: readonly RowValue[]): string {
  return JSON.stringify(key, (_, value) => {
    if (typeof value === "bigint") return `i${value}`;
    if (value instanceof TextBytes) return `x${Buffer.from(value.bytes).toString("hex")}`;
    if (value instanceof Uint8Array) return `b${Buffer.from(value).toString("hex")}`;
    return typeof value === "string" ? `t${value}` : value;
  });
}
