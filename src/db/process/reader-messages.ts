/** What a reader process and its parent say to each other. Answers come in the order of the questions. */

import type { Lsn, Term } from "../../vocabulary.ts";
import type { Unit, UnitOutcome } from "../sql/request.ts";

/** A unit's outcome, and the position of the read view it was run in. */
export type ReadOutcome = UnitOutcome & { readonly lsn: Lsn; readonly term: Term };

export type ToReader =
  /** `tables`: those that may be read; all when undefined. */
  | { readonly type: "open"; readonly path: string; readonly tables: readonly string[] | undefined }
  /** `keep`: a transaction that the unit leaves open stays open, and the next unit continues it. */
  | { readonly type: "run"; readonly id: number; readonly unit: Unit; readonly keep: boolean }
  /** Ends a transaction that was kept. */
  | { readonly type: "reset" };

export type FromReader =
  | { readonly type: "opened" }
  | { readonly type: "done"; readonly id: number; readonly outcome: ReadOutcome }
  /** The database could not be read at all; `id` is undefined when it could not be opened. */
  | { readonly type: "failed"; readonly id: number | undefined; readonly message: string };
