/** What a reader process and its parent say to each other. Answers come in the order of the questions. */

import type { Lsn, Term } from "../../vocabulary.ts";
import type { Unit, UnitOutcome } from "../sql/request.ts";

/** A unit's outcome, and the position of the read view it was run in; zero while there is none. */
export type ReadOutcome = UnitOutcome & {
  readonly lsn: Lsn;
  readonly term: Term;
  /** The unit, or one before it in its transaction, has read something. */
  readonly hasRead: boolean;
  /** The answer would be larger than `answerBytesMax`: it was given up. */
  readonly isCut?: boolean | undefined;
  /** Of a cursor: what its next entries are, as lines. It is at its end when there is no `more`. */
  readonly piece?: { readonly bytes: Uint8Array; readonly more: boolean } | undefined;
};

/**
 * What to do with a unit:
 *   run     from beginning to end, in one go
 *   cursor  the batch that it is, up to its first piece
 *   next    up to the next piece of the cursor
 */
export type Ask = "run" | "cursor" | "next";

export type ToReader =
  /** `tables`: those that may be read; all when undefined. */
  | { readonly type: "open"; readonly path: string; readonly tables: readonly string[] | undefined }
  /** `keep`: a transaction that the unit leaves open stays open, and the next unit continues it. */
  | {
      readonly type: "run";
      readonly id: number;
      readonly ask: Ask;
      /** Not sent again with "next". */
      readonly unit: Unit | undefined;
      readonly keep: boolean;
      /** A larger answer is given up. */
      readonly answerBytesMax?: number | undefined;
    }
  /** Ends a transaction that was kept. */
  | { readonly type: "reset" };

export type FromReader =
  | { readonly type: "opened" }
  /** The piece of a cursor is the body of the message; `more` is told then. */
  | {
      readonly type: "done";
      readonly id: number;
      readonly outcome: ReadOutcome;
      readonly more?: boolean | undefined;
    }
  /** The database could not be read at all; `id` is undefined when it could not be opened. */
  | { readonly type: "failed"; readonly id: number | undefined; readonly message: string };
