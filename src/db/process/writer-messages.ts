/** What a writer process and its parent say to each other. The encoded entry travels as the body of "done". */

import type { Lsn, Term } from "../../vocabulary.ts";
import type { Recording } from "../record/recording.ts";
import type { RunFailureReason } from "../scratch/run-failure.ts";
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
  | { readonly type: "open"; readonly path: string; readonly recording: Recording | undefined }
  | { readonly type: "run"; readonly request: RunRequest }
  /** Makes this process one that runs again what was recorded elsewhere. */
  /** `tables`: those whose rows are kept; all when undefined. */
  | {
      readonly type: "open-replay";
      readonly path: string;
      readonly tables: readonly string[] | undefined;
    }
  /** What was recorded is the body of the message. */
  | { readonly type: "replay"; readonly lsn: Lsn; readonly term: Term };

export type FromWriter =
  /** `frames`: committed in the WAL of a scratch for a writer. */
  | { readonly type: "opened"; readonly frames?: number | undefined }
  | {
      readonly type: "done";
      readonly outcomes: UnitOutcome[];
      readonly open: boolean;
      readonly frames: number;
      /** So many bytes at the end of the body are pages that stay here: the entry goes without them. */
      readonly pagesBytes: number;
      readonly warnings: readonly string[];
    }
  /** The pages that changed are the body of the message. */
  | { readonly type: "replayed"; readonly frames: number }
  /** What was recorded does not fit this copy. */
  | { readonly type: "differs"; readonly message: string }
  | {
      readonly type: "failed";
      readonly message: string;
      readonly reason?: RunFailureReason | undefined;
    };
