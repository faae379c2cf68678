/** Recorded transactions for those who look at rows: changesets decoded, and columns named. */

import { decodeChangeset } from "./changeset.ts";
import type { NamedStep, RecordedTransaction } from "./steps.ts";

/**
 * The steps of each transaction with the rows one by one. Names of columns hold across transactions, so all of one
 * section go in together. Throws CorruptionError.
 */
export function namedSteps(transactions: readonly RecordedTransaction[]): NamedStep[][] {
  const columnsByTable = new Map<string, readonly string[]>();
  return transactions.map(({ steps }) => {
    const named: NamedStep[] = [];
    for (const step of steps) {
      if (step.type === "table") columnsByTable.set(step.table, step.columns);
      else if (step.type !== "changeset") named.push(step);
      else {
        for (const { table, primaryKey, changes } of decodeChangeset(step.bytes)) {
          const columns = columnsByTable.get(table);
          for (const change of changes) {
            named.push({ ...change, type: "row", table, columns, primaryKey });
          }
        }
      }
    }
    return named;
  });
}
