/**
 * What becomes of the units of a run whose writer process ended. Nothing of the run happened, so a unit that is not to
 * blame runs again. One that may be runs alone, and then it is known.
 */

import { ClientError } from "../../base/errors.ts";
import type { WriterRun } from "../../db/process/writer.ts";
import { limits } from "../../limits.ts";
import type { WriteItem } from "./queue.ts";

type Killed = Extract<WriterRun, { type: "killed" }> & {
  /** So many shared the run. */
  readonly units: number;
  /** It was one of an interactive transaction. */
  readonly inSession: boolean;
};

/** How often a process may end under a unit, for whatever reason. */
const attemptsMax = 2;

/** What to do with unit number `i`: run it again, or refuse it. Notes on it what was learned. */
export function verdictOn(
  item: Pick<WriteItem, "attempts" | "alone">,
  i: number,
  { reason, offender, running, message, units, inSession }: Killed,
): ClientError | "again" | "session-lost" | "lead-lost" {
  if (reason === "disk") return "lead-lost";
  if (reason !== undefined && units === 1) {
    return reason === "ended" ? transactionEnded() : tooLarge();
  }
  if (i === running && reason === undefined) item.attempts++;
  if (i === offender) return new ClientError("STATEMENT_TIMEOUT", message);
  if (inSession) return "session-lost";
  if (item.attempts >= attemptsMax) return new ClientError("INTERNAL", message);
  item.alone ||= reason !== undefined;
  return "again";
}

function tooLarge(): ClientError {
  const bytes = limits.transactionBytesMax;
  return new ClientError(
    "TRANSACTION_TOO_LARGE",
    `the transaction changes more than ${bytes / (1024 * 1024)} MiB of pages (transactionBytesMax, ${bytes} bytes); ` +
      "nothing of it was kept, split it into smaller ones",
  );
}

/** A unit met what the writer takes for impossible (db/sql/client-transaction.ts). */
function transactionEnded(): ClientError {
  return new ClientError(
    "BLOCKED",
    "a statement of the request ended the transaction that it was run in, which only BEGIN, COMMIT and ROLLBACK may " +
      "do; nothing of the request was kept. Please report the statement",
  );
}
