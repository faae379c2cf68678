/**
 * Runs the SQL of one request on its stream. All of it goes to the backend in one call, so that a whole pipeline of a
 * client is one unit of routing, queueing and commit.
 *
 * What the backend refuses becomes the result of every request of the unit, inside an answer of status 200: that is
 * the one place where every client library shows code and message to its user.
 *
 * A transaction that breaks is over, and the stream remembers it (stream.ts, `lost`).
 */

import { assert } from "../../base/assert.ts";
import { ClientError } from "../../base/errors.ts";
import type { Unit } from "../../db/sql/request.ts";
import { kindsOf } from "../../db/stream/access.ts";
import type { Pieces, RunOptions } from "../../node/route/run.ts";
import type { AckLevel } from "../../node/rule/ack.ts";
import type { EntryId } from "../../vocabulary.ts";
import type { Backend } from "../backend.ts";
import type { Stream } from "./stream.ts";

/** What a request says about how it wants to be run. */
export type Wishes = Omit<RunOptions, "session">;

export type UnitResults = {
  /** One JSON text of a StreamResult per request of the unit. */
  readonly results: readonly string[];
  /** Undefined when nothing ran. */
  readonly position: EntryId | undefined;
  /** Of a write: the copies that it had when it was answered. */
  readonly acked?: AckLevel | undefined;
  /**
   * In place of the results: the entries of a cursor, as they are made. Throws nothing that is a ClientError: that is
   * the last entry then. `onLast` is called before the last piece is given, when the stream is as the unit left it.
   */
  readonly pieces?: ((onLast: () => void) => AsyncGenerator<Uint8Array, void, void>) | undefined;
};

/** Runs a unit that has at least one request. */
export async function runUnit(
  backend: Pick<Backend, "run" | "closeSession">,
  stream: Stream,
  unit: Unit,
  wishes: Wishes,
): Promise<UnitResults> {
  if (stream.lost !== undefined && !startsOver(unit)) {
    return failed(unit, stream.lost.code, lostMessage(stream.lost));
  }
  stream.lost = undefined;
  try {
    const { session, connection } = stream;
    const answer = await backend.run({ ...unit, connection }, { ...wishes, session });
    const { pieces, position } = answer;
    if (pieces !== undefined) {
      return { results: [], position, pieces: untilEnd(stream, unit, pieces) };
    }
    assert(answer.results.length === unit.requests.length, "there is one result for each request");
    stream.session = answer.session;
    stream.connection = answer.connection ?? connection;
    return { results: answer.results, position: answer.position, acked: answer.acked };
  } catch (error) {
    if (!(error instanceof ClientError)) throw error;
    if (stream.session !== undefined) backend.closeSession(stream.session);
    lose(stream, unit, error);
    return failed(unit, error.code, error.message);
  }
}

function lose(stream: Stream, unit: Unit, error: ClientError): void {
  if (stream.session === undefined) return;
  stream.session = undefined;
  if (!finishes(unit)) stream.lost = error;
}

/** What breaks in the middle is the last entry. The last piece is held back until it is known what is left open. */
const untilEnd = (stream: Stream, unit: Unit, pieces: Pieces) =>
  async function* (onLast: () => void): AsyncGenerator<Uint8Array, void, void> {
    let held: Uint8Array | undefined;
    try {
      for (;;) {
        const { done, value } = await pieces.next();
        if (done === true) {
          stream.session = value;
          break;
        }
        if (held !== undefined) yield held;
        held = value;
      }
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      lose(stream, unit, error);
      const last = Buffer.from(errorEntry(error));
      held = held === undefined ? last : Buffer.concat([held, last]);
    } finally {
      // Whoever takes no more of it ends it.
      await pieces.return(undefined);
    }
    onLast();
    if (held !== undefined) yield held;
  };

/** The last entry of a cursor that failed as a whole. */
export function errorEntry({ code, message }: ClientError): string {
  return `${JSON.stringify({ type: "error", error: { message, code } })}\n`;
}

/** The StreamResult of a failure. */
export function errorResult(code: string, message: string): string {
  return JSON.stringify({ type: "error", error: { message, code } });
}

function failed(unit: Unit, code: string, message: string): UnitResults {
  const result = errorResult(code, message);
  return { results: unit.requests.map(() => result), position: undefined };
}

function lostMessage({ code, message }: ClientError): string {
  const isSaid = code.startsWith("TRANSACTION_") || code === "UNKNOWN_OUTCOME";
  const what = isSaid ? message : `the transaction was rolled back: ${message}`;
  return `${what}; send ROLLBACK or BEGIN to go on with this stream`;
}

/** The client knows that its transaction is gone, or ends it anyway. */
function startsOver(unit: Unit): boolean {
  const first = kindsOf(unit).next().value;
  return first === "begin" || first === "rollback";
}

/** The unit would have ended the transaction, so the client does not believe that one is open. */
function finishes(unit: Unit): boolean {
  return kindsOf(unit).some((kind) => kind === "commit" || kind === "rollback");
}
