/**
 * What SQLite's result codes mean for a database of ours: CorruptionError for damage, StorageError for everything
 * that the machine refused.
 */

import { CorruptionError, messageOf, StorageError } from "../../../base/errors.ts";

const busy = 5;
const corrupt = 11;
const notADatabase = 26;
const genericError = 1;

/** SQLite's primary result code, or undefined for an error that is not SQLite's. */
function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  return typeof error.errcode === "number" ? error.errcode & 0xff : undefined;
}

/** Whether somebody else holds the lock that was asked for. */
export function isBusy(error: unknown): boolean {
  return codeOf(error) === busy;
}

/** Runs `action` and turns errors of SQLite into ours. */
export function translated<T>(action: () => T): T {
  try {
    return action();
  } catch (cause) {
    const code = codeOf(cause);
    if (code === undefined) throw cause;
    const damaged = code === corrupt || code === notADatabase || code === genericError;
    const Kind = damaged ? CorruptionError : StorageError;
    throw new Kind(`served database: ${messageOf(cause)}`, { cause });
  }
}
