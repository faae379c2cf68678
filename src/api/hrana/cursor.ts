/**
 * POST /v3/cursor: one batch, answered as JSON lines.
 *
 * A batch that only reads is run while its lines are taken: what is large comes in pieces from the process that reads
 * (node/route/read-cursor.ts) and passes through here as it is. A batch that writes runs as a whole, as everywhere;
 * then its result is cut into lines while the client takes them.
 *
 *   {"baton":…,"base_url":null}
 *   {"type":"step_begin","step":0,"cols":[…]}  {"type":"row","row":[…]} …  {"type":"step_end",…}
 *   {"type":"step_error","step":1,"error":…}                        a step that failed; skipped steps have no lines
 *   {"type":"error","error":…}                                      the batch as a whole failed; last line
 *   {"type":"replication_index","replication_index":"42"}           last line, only if the batch named an index itself:
 *                                                                   libSQL has it, the specification and clients that
 *                                                                   follow it refuse types they do not know
 *
 * The baton is good when the last line has left.
 */

import { touchesStream, touchesTransaction } from "../../db/stream/access.ts";
import type { AckLevel } from "../../node/rule/ack.ts";
import type { EntryId } from "../../vocabulary.ts";
import { readJsonObject, turnFor } from "../json-body.ts";
import { elementsAt, fieldAt, fieldText } from "../json-slices.ts";
import { RequestDecoder } from "./decode.ts";
import { findStream, type HranaPorts, withIndex } from "./pipeline.ts";
import type { Stream } from "./stream.ts";
import type { StreamWish } from "./stream-wish.ts";
import type { Streams } from "./streams.ts";
import { runUnit, type UnitResults, type Wishes } from "./unit.ts";

/** What a cursor answers. `lines` gives pieces of whole lines; it is read once, as the client takes it. */
export type CursorAnswer = {
  readonly lines: Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;
  readonly position: EntryId | undefined;
  readonly acked?: AckLevel | undefined;
};

/** Small answers leave in one piece: fewer packets, and a client suite depends on it [hrana.md §3.2]. */
const pieceChars = 64 * 1024;

/** Throws ClientError for what is not an answer of status 200. */
export async function runCursor(
  { backend, streams }: HranaPorts,
  body: unknown,
  wishes: Wishes,
  { whileOpen, connection }: StreamWish,
): Promise<CursorAnswer> {
  const value = await readJsonObject(body);
  const found = findStream(streams, value);
  if (found.type === "gone") throw found.error;
  const { stream } = found;
  stream.connection ??= connection;
  try {
    const decoder = new RequestDecoder(stream.texts);
    const unit = { requests: [decoder.batch(value["batch"])] };
    await turnFor(body);
    // What begins no transaction leaves none open: nobody has to come back.
    const isBrief = whileOpen && stream.session === undefined && !touchesTransaction(unit);
    if (!isBrief) streams.admit(stream);
    // What the stream keeps is known at the end of an answer, and pieces have none.
    const inPieces = !touchesStream(unit);
    const asked = { ...withIndex(wishes, decoder.replicationIndex), inPieces };
    const { results, position, acked, pieces } = await runUnit(backend, stream, unit, asked);
    if (wishes.signal.aborted || isBrief) streams.end(stream, "closed");
    const index = decoder.knowsIndex ? position : undefined;
    if (pieces !== undefined) {
      wishes.signal.addEventListener("abort", () => {
        if (stream.busyWithCursor) streams.end(stream, "broken");
      });
      stream.busyWithCursor = true;
      const lines = streamed(streams, stream, pieces, index);
      return { lines, position, acked };
    }
    const baton = stream.ended ? "null" : `"${streams.keep(stream)}"`;
    const lines = asPieces(headLine(baton), entryLines(results[0] as string, index));
    return { lines, position, acked };
  } catch (error) {
    streams.end(stream, "broken");
    throw error;
  }
}

/** The stream is busy until all but the last piece has been taken. */
async function* streamed(
  streams: Streams,
  stream: Stream,
  pieces: NonNullable<UnitResults["pieces"]>,
  index: EntryId | undefined,
): AsyncGenerator<string | Uint8Array> {
  const isKept = !stream.ended;
  // What the stream is at its end is not known yet.
  const baton = isKept ? streams.nextBaton(stream, false) : "";
  let isWhole = false;
  try {
    yield headLine(isKept ? `"${baton}"` : "null");
    yield* pieces(() => {
      isWhole = true;
      if (isKept && !stream.ended) streams.rest(stream);
    });
    if (index !== undefined) yield indexLine(index);
  } finally {
    if (!isWhole) streams.end(stream, "broken");
  }
}

function headLine(baton: string): string {
  return `{"baton":${baton},"base_url":null}\n`;
}

function indexLine({ lsn }: EntryId): string {
  return `{"type":"replication_index","replication_index":"${lsn}"}\n`;
}

/** The entries of a StreamResult of a batch, each a line. */
export function* entryLines(result: string, position: EntryId | undefined): Generator<string> {
  const error = fieldText(result, 0, "error");
  const response = fieldAt(result, 0, "response");
  const batch = response === undefined ? undefined : fieldAt(result, response, "result");
  if (batch === undefined) {
    yield `{"type":"error","error":${error ?? '{"message":"no result","code":"INTERNAL"}'}}\n`;
    return;
  }
  const results = elementsAt(result, fieldAt(result, batch, "step_results") ?? result.length);
  const errors = elementsAt(result, fieldAt(result, batch, "step_errors") ?? result.length);
  let step = 0;
  for (const { from, to } of results) {
    const failure = errors.next();
    if (!result.startsWith("null", from)) {
      yield* stepLines(result.slice(from, to), step);
    } else if (!failure.done && !result.startsWith("null", failure.value.from)) {
      const text = result.slice(failure.value.from, failure.value.to);
      yield `{"type":"step_error","step":${step},"error":${text}}\n`;
    }
    step++;
  }
  if (position !== undefined) yield indexLine(position);
}

function* stepLines(result: string, step: number): Generator<string> {
  yield `{"type":"step_begin","step":${step},"cols":${fieldText(result, 0, "cols") ?? "[]"}}\n`;
  const rows = fieldAt(result, 0, "rows");
  if (rows !== undefined) {
    for (const { from, to } of elementsAt(result, rows)) {
      yield `{"type":"row","row":${result.slice(from, to)}}\n`;
    }
  }
  const affected = fieldText(result, 0, "affected_row_count") ?? "0";
  const rowid = fieldText(result, 0, "last_insert_rowid") ?? "null";
  yield `{"type":"step_end","affected_row_count":${affected},"last_insert_rowid":${rowid}}\n`;
}

function* asPieces(head: string, lines: Iterable<string>): Generator<string> {
  let piece = head;
  for (const line of lines) {
    piece += line;
    if (piece.length >= pieceChars) {
      yield piece;
      piece = "";
    }
  }
  if (piece !== "") yield piece;
}
