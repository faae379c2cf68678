/** What a writer process and its parent say to each other. The encoded pages travel as the body of "done". */

import type { Lsn, Term } from "../../vocabulary.ts";
import type { RunSession } from "../sql/group-commit.ts";
import type { Unit, UnitOutcome } from "../sql/request.ts";

export type RunRequest = {
  /** The position that every transaction of this run is stamped with. */
  readonly lsn: Lsn;
  readonly term: Term;
  readonly units: readonly Unit[];
  /** Wall clock of the leader, for the entry. */
  readonly committedAtMs: number;
  readonly session: RunSession;
};

export type ToWriter =
  | { readonly type: "open"; readonly path: string }
  | { readonly type: "run"; readonly request: RunRequest };

export type FromWriter =
  | { readonly type: "opened" }
  | {
      readonly type: "done";
      readonly outcomes: UnitOutcome[];
      readonly open: boolean;
      readonly frames: number;
    }
  | { readonly type: "failed"; readonly message: string };
