/** What a scratch host and its parent say to each other. Encoded pages travel as the body of "done". */

import type { FromWriter, RunRequest } from "../../db/process/writer-messages.ts";
import type { Recording } from "../../db/record/recording.ts";

export type ToHost =
  | {
      readonly type: "open";
      readonly id: number;
      readonly path: string;
      readonly recording: Recording | undefined;
    }
  | { readonly type: "run"; readonly id: number; readonly request: RunRequest };

export type FromHost = FromWriter;
