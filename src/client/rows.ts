/**
 * The rows of a cursor, as they arrive.
 */

import { linesOf } from "../base/lines.ts";
import type { Value } from "../db/sql/request.ts";
import { statementError } from "./errors.ts";
import { type Row, rowOf } from "./values.ts";

type Entry =
  | { readonly type: "step_begin"; readonly cols: readonly { readonly name: string | null }[] }
  | { readonly type: "row"; readonly row: readonly Value[] }
  | { readonly type: "step_error" | "error"; readonly error: object }
  | { readonly type: "step_end" };

/** The rows of the one statement that the cursor runs. Throws PacelineError, in the middle as well. */
export async function* rowsOf(entries: AsyncIterable<Uint8Array>): AsyncGenerator<Row, void, void> {
  let columns: readonly string[] = [];
  for await (const line of linesOf(entries)) {
    const entry = JSON.parse(line) as Entry;
    if (entry.type === "row") yield rowOf(columns, entry.row);
    else if (entry.type === "step_begin") columns = entry.cols.map(({ name }) => name ?? "");
    else if ("error" in entry) throw statementError(entry.error);
  }
}
