/**
 * What a program sees when something went wrong. Ask two questions: is it the statement (SqlError), and if not, may it
 * be repeated (`retry`). The one that needs care is UnknownOutcomeError: it may have happened.
 */

import { ClientError, errorCodes, type Retry } from "../base/errors.ts";

/** Any failure. `code` is one of docs/guarantees.md, of SQLite or of Hrana. */
export class PacelineError extends Error {
  override readonly name: string = "PacelineError";
  readonly code: string;
  readonly retry: Retry;

  constructor(code: string, retry: Retry, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.retry = retry;
  }
}

/**
 * The write may have happened, or may still happen. Look (`consistency: "linearizable"`: a follower may not have it
 * yet), or repeat it in a way that cannot count twice.
 */
export class UnknownOutcomeError extends PacelineError {
  override readonly name = "UnknownOutcomeError";
}

/**
 * The statement failed, and would fail in the same way everywhere: a constraint, the syntax. One exception may be
 * repeated: SQLITE_BUSY, for a transaction that began to read too early to write now (`Session.begin`, deferred).
 */
export class SqlError extends PacelineError {
  override readonly name = "SqlError";
  /** For example SQLITE_CONSTRAINT_UNIQUE. */
  readonly extendedCode: string | undefined;

  constructor(code: string, message: string, extendedCode: string | undefined) {
    super(code, code === "SQLITE_BUSY" ? "later" : "never", message);
    this.extendedCode = extendedCode;
  }
}

/** Any failure of the way there and back, as a program sees it. */
export function publicError(error: unknown): unknown {
  if (!(error instanceof ClientError)) return error;
  const { code, message } = error;
  const { retry } = errorCodes[code];
  return retry === "ask-first"
    ? new UnknownOutcomeError(code, retry, message, { cause: error })
    : new PacelineError(code, retry, message, { cause: error });
}

/** The error inside an answer. */
export function statementError(error: {
  readonly code?: string;
  readonly message?: string;
  readonly extended_code?: string;
}): PacelineError {
  const { code = "SQLITE_ERROR", message = "the node gave no reason" } = error;
  if (code in errorCodes) {
    return publicError(new ClientError(code as ClientError["code"], message)) as PacelineError;
  }
  return new SqlError(code, message, error.extended_code);
}
