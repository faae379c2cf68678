/** What the writer records, by the settings of the cluster. */

import type { Recording } from "../../db/record/recording.ts";
import type { Settings } from "../../vocabulary.ts";

/** Undefined where pages are all that is wanted: then nothing is recorded, and nothing costs anything. */
export function recordingBy({ logKind, record }: Settings): Recording | undefined {
  const { changes, statements } = record;
  if (logKind === "pages" && !changes && !statements) return undefined;
  return { logKind, changes, statements };
}

/** Whether a writer that records by `before` is still right. */
export function sameRecording(before: Recording | undefined, now: Recording | undefined): boolean {
  return JSON.stringify(before) === JSON.stringify(now);
}
