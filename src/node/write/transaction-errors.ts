/**
 * What is said of a transaction that ended without its client. All of these mean that nothing of it was kept; whether
 * that is so is decided where they are thrown (forward.ts, write/writes.ts).
 */

import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { RunOptions } from "../route/run.ts";

/** A transaction that surely never was committed cannot go on. */
export function transactionLost(why: string, cause?: unknown): ClientError {
  return new ClientError(
    "TRANSACTION_LOST",
    `the transaction is lost: ${why}; nothing of it was kept, begin again`,
    { cause },
  );
}

/** It was held open for longer than a limit, and rolled back. */
export function transactionExpired(why: string): ClientError {
  return new ClientError(
    "TRANSACTION_TIMEOUT",
    `${why}; the transaction was rolled back, begin again`,
  );
}

export function idleTooLong(): ClientError {
  return transactionExpired(
    `no request came for ${limits.transactionIdleMs} ms, the limit between two of a transaction`,
  );
}

/** Another node cannot go on with a transaction that was open on the one that does not lead, or cannot be asked. */
export function withoutTransaction(
  error: ClientError,
  { session }: Pick<RunOptions, "session">,
): ClientError {
  if (session === undefined || error.code !== "NOT_LEADER") return error;
  return transactionLost(error.message, error);
}
