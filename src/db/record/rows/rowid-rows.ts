/**
 * Changed rows of a table without key, one of whose columns has the name by which SQLite's changesets know the rowid:
 * put in by SQL of our own, which uses another of its names. All rows that go or change are taken out before one comes
 * in, so that unique indexes are satisfied in the end and need not be on the way.
 */

import type { DatabaseSync } from "node:sqlite";
import { CorruptionError, messageOf } from "../../../base/errors.ts";
import type { RowChange } from "../../../changes/changeset.ts";
import { type RowValue, sameValue } from "../../../changes/row-values.ts";
import { quoted } from "../../sql/quoted.ts";
import { bound, ExactRows, placeOf } from "./exact-rows.ts";

type Table = {
  readonly name: string;
  /** A name of its rowid. */
  readonly rowid: string | undefined;
  readonly columns: readonly string[];
};

/** The rowid stands first in each row. Throws CorruptionError when a row is not what it was. */
export function applyByRowid(
  db: DatabaseSync,
  { name, rowid, columns }: Table,
  changes: readonly RowChange[],
): void {
  const table = `main.${quoted(name)}`;
  const cells = [rowid!, ...columns.map(quoted)];
  const find = new ExactRows(db, cells, `${table} WHERE ${rowid} = ?`);
  const remove = db.prepare(`DELETE FROM ${table} WHERE ${rowid} = ?`);
  const putting = `INSERT OR ABORT INTO ${table}(${cells.join()}) VALUES `;
  const put = db.prepare(`${putting}(${cells.map(() => "?").join()})`);
  const coming: (RowValue | undefined)[][] = [];
  for (const { before, after } of changes) {
    if (before === undefined) {
      coming.push([...after!]);
      continue;
    }
    const found = find.get(before[0]!);
    if (found === undefined) throw differs("a row is missing");
    const isSame = before.every((value, i) => value === undefined || sameValue(value, found[i]));
    if (!isSame) throw differs("a row is not what it was on the leader");
    remove.run(bound(before[0]));
    if (after !== undefined)
      coming.push(found.map((value, i) => (after[i] === undefined ? value : after[i])));
  }
  for (const row of coming) {
    try {
      const isPlain = row.every((value) => placeOf(value) === "?");
      const call = isPlain ? put : db.prepare(`${putting}(${row.map(placeOf).join()})`);
      call.run(...row.map(bound));
    } catch (cause) {
      throw differs(messageOf(cause), cause);
    }
  }
}

function differs(why: string, cause?: unknown): CorruptionError {
  return new CorruptionError(`rows cannot be applied: ${why}`, { cause });
}
