/**
 * A SQLite file that is kept equal to a cluster's tables by its change stream: `paceline changes --into`. Not a copy of
 * pages: the same rows, in a database of somebody else's own.
 *
 * How far it is stands in the file itself, written in the same transaction as the rows: so what comes twice is noticed,
 * and a crash at any point loses and doubles nothing.
 *
 *   paceline_copied   lsn, term   the last entry that is in the file as a whole
 *                     steps       so many steps of the next one are in the file too: an entry whose steps need other
 *                                 settings of foreign keys, or that has a VACUUM, takes several transactions
 *
 * Triggers and foreign keys do nothing to rows; the rows have what they did. Where a statement travels because rows
 * cannot say what it did, its triggers and foreign keys act, as they did on the leader.
 *
 * Not here: how steps run (record/step-runner.ts), where they come from (cli/changes/).
 */

import type { DatabaseSync } from "node:sqlite";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import type { RowChange, SparseRow } from "../../changes/changeset.ts";
import { encodeChangeset } from "../../changes/encode-changeset.ts";
import { type RowValue, TextBytes } from "../../changes/row-values.ts";
import type { Step } from "../../changes/steps.ts";
import type { EntryId } from "../../vocabulary.ts";
import { openCopy } from "../process/connection.ts";
import { rowidNames } from "../record/schema-facts.ts";
import { StepRunner } from "../record/step-runner.ts";

/** By the names of the columns. */
export type CopyRow = ReadonlyMap<string, RowValue>;

/** A row, before and after; of an update, the key and what changed. */
export type CopyChange = {
  readonly type: "row";
  readonly op: "insert" | "update" | "delete";
  readonly table: string;
  readonly key: readonly string[];
  readonly before: CopyRow | undefined;
  readonly after: CopyRow | undefined;
};

export type CopyStep = CopyChange | Extract<Step, { type: "statement" | "sequence" }>;

type Place = { readonly lsn: number; readonly term: number; readonly steps: number };

export class RowCopy {
  readonly #db: DatabaseSync;
  readonly #runner: StepRunner;
  /** Of a table, until the schema changes. */
  readonly #columnsByTable = new Map<string, readonly string[]>();
  /** Where the file is once what runs now is committed. */
  #next: Place | undefined;

  /** Opens or makes the file. */
  constructor(path: string) {
    this.#db = openCopy(path);
    this.#db.exec("PRAGMA journal_mode = WAL");
    this.#db.exec(
      "CREATE TABLE IF NOT EXISTS paceline_copied" +
        "(lsn INTEGER NOT NULL, term INTEGER NOT NULL, steps INTEGER NOT NULL DEFAULT 0)",
    );
    if (!this.#columnsOf("paceline_copied").includes("steps")) {
      this.#db.exec("ALTER TABLE paceline_copied ADD COLUMN steps INTEGER NOT NULL DEFAULT 0");
    }
    this.#runner = new StepRunner(this.#db, () => this.#stamp());
  }

  /** The last entry that is in the file; undefined when there is none. */
  get position(): EntryId | undefined {
    const place = this.#place();
    // Of the first entry, only a part is there.
    if (place === undefined || place.term === 0) return undefined;
    return { lsn: place.lsn, term: place.term } as EntryId;
  }

  /**
   * Applies an entry. False when it is in the file already. Throws CorruptionError when the file does not have the rows
   * that the entry changed; what the file has is then as before, or, by `steps`, a first part of the entry.
   */
  apply(position: EntryId, steps: readonly CopyStep[]): boolean {
    const before = this.#place() ?? { lsn: 0, term: 0, steps: 0 };
    if (before.term > 0 && position.lsn <= before.lsn) return false;
    let done = before.steps;
    try {
      while (done < steps.length) {
        const end = endOfRun(steps, done);
        this.#next = { ...before, steps: done };
        const step = steps[done]!;
        if (step.type === "row") this.#rows(steps.slice(done, end) as readonly CopyChange[]);
        else {
          this.#runner.run(step);
          if (step.type === "statement") this.#columnsByTable.clear();
        }
        done = end;
      }
      this.#next = { lsn: position.lsn, term: position.term, steps: 0 };
      this.#runner.commit();
      return true;
    } catch (error) {
      this.#columnsByTable.clear();
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      if (!(error instanceof CorruptionError)) throw error;
      throw new CorruptionError(
        `the copy does not follow at ${position.lsn}@${position.term}: ${messageOf(error)}; make it anew`,
        { cause: error },
      );
    }
  }

  close(): void {
    this.#db.close();
  }

  /** Rows that changed one after the other, no row twice. SQLite finds an order in which unique indexes allow them. */
  #rows(changes: readonly CopyChange[]): void {
    const byTable = Map.groupBy(changes, (change) => change.table);
    const bytes = encodeChangeset(
      [...byTable].map(([table, rows]) => {
        const { key } = rows[0]!;
        const stored = this.#storedColumns(table);
        const [rowid] = key.filter((name) => rowidNames.includes(name) && !stored.includes(name));
        const columns = rowid === undefined ? stored : [rowid, ...stored];
        const primaryKey = Uint8Array.from(columns, (name) => key.indexOf(name) + 1);
        const encoded = rows.map((row) => rowChange(row, columns));
        return { format: "changeset", table, primaryKey, changes: encoded } as const;
      }),
    );
    this.#runner.beginRows();
    this.#runner.run({ type: "changeset", bytes });
  }

  #storedColumns(table: string): readonly string[] {
    const known = this.#columnsByTable.get(table) ?? this.#columnsOf(table);
    this.#columnsByTable.set(table, known);
    return known;
  }

  /** As changesets have them: without generated ones. */
  #columnsOf(table: string): string[] {
    const rows = this.#db
      .prepare("SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid")
      .all(table) as unknown as [string][];
    if (rows.length === 0) throw new CorruptionError(`there is no table ${table}`);
    return rows.map(([name]) => name);
  }

  #place(): Place | undefined {
    const row = this.#db.prepare("SELECT lsn, term, steps FROM paceline_copied").get();
    if (row === undefined) return undefined;
    const [lsn, term, steps] = row as unknown as bigint[];
    return { lsn: Number(lsn), term: Number(term), steps: Number(steps) };
  }

  #stamp(): void {
    const { lsn, term, steps } = this.#next!;
    this.#db.exec("DELETE FROM paceline_copied");
    this.#db.prepare("INSERT INTO paceline_copied VALUES (?, ?, ?)").run(lsn, term, steps);
  }
}

/** Where rows end that can be put in together: at another step, and before a row that is among them already. */
function endOfRun(steps: readonly CopyStep[], from: number): number {
  const seen = new Set<string>();
  let end = from;
  for (; end < steps.length; end++) {
    const step = steps[end]!;
    if (step.type !== "row") break;
    const row = step.before ?? step.after;
    const name = JSON.stringify([
      step.table,
      ...step.key.map((column) => keyText(row?.get(column))),
    ]);
    if (seen.has(name)) break;
    seen.add(name);
  }
  return Math.max(end, from + 1);
}

function keyText(value: RowValue | undefined): string {
  if (value instanceof Uint8Array) return `x${Buffer.from(value).toString("hex")}`;
  if (value instanceof TextBytes) return `t${Buffer.from(value.bytes).toString("hex")}`;
  return `${typeof value} ${value}`;
}

function rowChange({ op, before, after }: CopyChange, columns: readonly string[]): RowChange {
  return {
    ...{ operation: op, indirect: false },
    before: sparse(before, columns),
    after: sparse(after, columns),
  };
}

function sparse(row: CopyRow | undefined, columns: readonly string[]): SparseRow | undefined {
  if (row === undefined) return undefined;
  let found = 0;
  const values = columns.map((name) => {
    if (!row.has(name)) return undefined;
    found += 1;
    return row.get(name);
  });
  if (found === row.size) return values;
  const unknown = [...row.keys()].filter((name) => !columns.includes(name));
  throw new CorruptionError(`there is no column ${unknown.join(", ")}`);
}
