/** Whether a step of a batch runs, by what became of the steps before it. */

import type { Condition } from "../sql/request.ts";

/** A step that was skipped is not ok, so `error` holds for it [hrana.md §11]. */
export function isMet(
  condition: Condition,
  results: readonly unknown[],
  isAutocommit: boolean,
): boolean {
  const holds = (each: Condition) => isMet(each, results, isAutocommit);
  switch (condition.type) {
    case "ok":
      return isOk(results[condition.step]);
    case "error":
      return !isOk(results[condition.step]);
    case "not":
      return !holds(condition.cond);
    case "and":
      return condition.conds.every(holds);
    case "or":
      return condition.conds.some(holds);
    case "is_autocommit":
      return isAutocommit;
  }
}

function isOk(result: unknown): boolean {
  return result !== undefined && !(result instanceof Error);
}
