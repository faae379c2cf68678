/**
 * POST /v3/cursor: one batch, answered as JSON lines. The batch runs as a whole, as everywhere; then its result is cut
 * into entries while the client takes them, so that nothing is built up behind a slow one.
 *
 *   {"baton":…,"base_url":null}
 *   {"type":"step_begin","step":0,"cols":[…]}  {"type":"row","row":[…]} …  {"type":"step_end",…}
 *   {"type":"step_error","step":1,"error":…}                        a step that failed; skipped steps have no lines
 *   {"type":"error","error":…}                                      the batch as a whole failed; last line
 *   {"type":"replication_index","replication_index":"42"}           last line, only if the batch named an index itself:
 *                                                                   libSQL has it, the specification and clients that
 *                                                                   follow it refuse types they do not know
 *
 * The baton is good at once: the batch is over when the first line leaves.
 */

import type { AckLevel } from "../../node/rule/ack.ts";
import type { EntryId } from "../../vocabulary.ts";
import { parseJsonObject } from "../json-body.ts";
import { elementsAt, fieldAt, fieldText } from "../json-slices.ts";
import { RequestDecoder } from "./decode.ts";
import { findStream, type HranaPorts, withIndex } from "./pipeline.ts";
import { runUnit, type Wishes } from "./unit.ts";

/** What a cursor answers. `lines` gives pieces of whole lines; it is read once, as the client takes it. */
export type CursorAnswer = {
  readonly lines: Iterable<string>;
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
): Promise<CursorAnswer> {
  const value = parseJsonObject(body);
  const found = findStream(streams, value);
  if (found.type === "gone") throw found.error;
  const { stream } = found;
  try {
    const decoder = new RequestDecoder(stream.texts);
    const unit = { requests: [decoder.batch(value["batch"])] };
    streams.admit(stream);
    const asked = withIndex(wishes, decoder.replicationIndex);
    const { results, position, acked } = await runUnit(backend, stream, unit, asked);
    if (wishes.signal.aborted) streams.end(stream, "closed");
    const baton = stream.ended ? "null" : `"${streams.keep(stream)}"`;
    const index = decoder.knowsIndex ? position : undefined;
    const head = `{"baton":${baton},"base_url":null}\n`;
    return { lines: inPieces(head, entryLines(results[0] as string, index)), position, acked };
  } catch (error) {
    streams.end(stream, "broken");
    throw error;
  }
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
  if (position !== undefined) {
    yield `{"type":"replication_index","replication_index":"${position.lsn}"}\n`;
  }
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

function* inPieces(head: string, lines: Iterable<string>): Generator<string> {
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
