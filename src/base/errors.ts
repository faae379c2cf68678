/**
 * What can go wrong, sorted by what must happen next, and to whom.
 *
 *   AssertionError   our bug                          the process stops; a restart replays the log
 *   CorruptionError  bytes are not what they were     stop serving, rebuild by page sync, say so
 *   StorageError     the disk refused or lied         step down, stop the node; never retry an fsync
 *   ProtocolError    a peer or client broke the rules close that connection, nothing else
 *   ClientError      an answer to a request           status, code, hint
 *
 * Every code, with cause and remedy, is listed in docs/guarantees.md; `npm run tidy` checks that the list is complete.
 */

export class CorruptionError extends Error {
  override readonly name = "CorruptionError";
}

export class StorageError extends Error {
  override readonly name = "StorageError";
}

export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/**
 * What a caller may do after a failure.
 *   never      the same request fails in the same way everywhere
 *   elsewhere  another node may answer
 *   later      refused before anything was done: repeat after a pause
 *   ask-first  may have happened or may still happen: find out before repeating
 */
export type Retry = "never" | "elsewhere" | "later" | "ask-first";

/** Codes of our own. Codes of SQLite (`SQLITE_CONSTRAINT`, …) and of Hrana statements pass through as they are. */
export const errorCodes = {
  BAD_REQUEST: { retry: "never", status: 400 },
  BODY_TOO_LARGE: { retry: "never", status: 413 },
  UNAUTHORIZED: { retry: "never", status: 401 },
  NOT_FOUND: { retry: "never", status: 404 },
  METHOD_NOT_ALLOWED: { retry: "never", status: 405 },
  BLOCKED: { retry: "never", status: 400 },
  STATEMENT_TIMEOUT: { retry: "never", status: 408 },
  TRANSACTION_TIMEOUT: { retry: "later", status: 408 },
  TRANSACTION_LOST: { retry: "later", status: 409 },
  TRANSACTION_TOO_LARGE: { retry: "never", status: 413 },
  RESPONSE_TOO_LARGE: { retry: "never", status: 413 },
  STREAM_EXPIRED: { retry: "later", status: 400 },
  BATON_INVALID: { retry: "never", status: 400 },
  NOT_LEADER: { retry: "elsewhere", status: 503 },
  TOO_STALE: { retry: "elsewhere", status: 503 },
  TABLE_NOT_HERE: { retry: "elsewhere", status: 409 },
  NOT_READY: { retry: "elsewhere", status: 503 },
  OVERLOADED: { retry: "later", status: 503 },
  NO_LEADER: { retry: "later", status: 503 },
  MEMBERSHIP_BUSY: { retry: "later", status: 409 },
  MEMBERSHIP_REFUSED: { retry: "never", status: 409 },
  SETTINGS_REFUSED: { retry: "never", status: 409 },
  POSITION_TOO_OLD: { retry: "elsewhere", status: 410 },
  POSITION_AHEAD: { retry: "later", status: 409 },
  POSITION_UNKNOWN: { retry: "never", status: 409 },
  POSITION_PASSED: { retry: "never", status: 409 },
  NOT_DELAYED: { retry: "never", status: 409 },
  NOT_RECORDED: { retry: "never", status: 409 },
  PROMOTION_REFUSED: { retry: "never", status: 409 },
  STORAGE: { retry: "elsewhere", status: 503 },
  UNKNOWN_OUTCOME: { retry: "ask-first", status: 504 },
  INTERNAL: { retry: "later", status: 500 },
} as const satisfies Record<string, { retry: Retry; status: number }>;

export type ErrorCode = keyof typeof errorCodes;

/** An answer to a request that could not be met. `message` is for people: what happened, and what to do next. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
