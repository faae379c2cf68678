/**
 * One Hrana stream: what must be known of it between two requests. Owned by streams.ts, changed by the one request
 * that uses it.
 */

import type { ClientError } from "../../base/errors.ts";
import type { ConnectionState } from "../../db/stream/connection-state.ts";
import { SqlTexts, type TextBudget } from "./sql-texts.ts";

export class Stream {
  /** 32 hex digits, random. */
  readonly id: string;
  readonly texts: SqlTexts;
  /** Of the last baton given out. */
  sequence = 0;
  /** A request is using it. A new stream is busy. */
  busy = true;
  /** Its request has an answer under way already, in pieces. */
  busyWithCursor = false;
  /** Set once, by streams.ts. */
  ended = false;
  /** When the last request ended, by the monotonic clock. Meaningless while busy. */
  idleSinceMs = 0;
  /** Handle of the open transaction. */
  session: string | undefined = undefined;
  /** What it keeps as a connection, once it has done something. It runs on many real ones, and each must be told. */
  connection: ConnectionState | undefined = undefined;
  /**
   * Why the transaction that was open is gone, when the client may not know that yet. Until it says that it does, by
   * ROLLBACK or BEGIN, nothing runs: what it believes to be inside a transaction would otherwise be committed alone.
   */
  lost: ClientError | undefined = undefined;

  /** With what it keeps as a connection, a new stream in its place would be the same to its client. */
  get plain(): boolean {
    const { session, lost, texts } = this;
    return (session ?? lost) === undefined && texts.isEmpty;
  }

  constructor(id: string, budget: TextBudget) {
    this.id = id;
    this.texts = new SqlTexts(budget);
  }
}
