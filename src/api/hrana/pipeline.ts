/**
 * POST /v2/pipeline and /v3/pipeline: requests on one stream, in order, answered in order.
 *
 * All SQL of a body is one unit; what is about the stream itself (stored texts, close) is settled here. The answer is
 * put together from JSON texts without looking into them.
 *
 * A malformed body has no effect, except that it ends the stream whose baton it carries [hrana.md §3.1].
 */

import type { SqlRequest } from "../../db/sql/request.ts";
import type { ConnectionState } from "../../db/stream/connection-state.ts";
import type { AckLevel } from "../../node/rule/ack.ts";
import type { EntryId } from "../../vocabulary.ts";
import { lsn, term } from "../../vocabulary.ts";
import type { Backend } from "../backend.ts";
import { isObject, type JsonObject, readJsonObject, turnFor } from "../json-body.ts";
import { RequestDecoder, type StreamRequest } from "./decode.ts";
import type { Stream } from "./stream.ts";
import type { StreamWish } from "./stream-wish.ts";
import type { Found, Streams } from "./streams.ts";
import { runUnit, type UnitResults, type Wishes } from "./unit.ts";
import { refused } from "./value.ts";

/** What the Hrana endpoints work on. */
export type HranaPorts = {
  readonly backend: Pick<Backend, "run" | "closeSession">;
  readonly streams: Streams;
};

/** A body of status 200, and the position for the header. */
export type Answer = {
  /** One after the other: nothing large is joined. */
  readonly texts: readonly string[];
  /** Nothing was changed, and nothing is open: who asks again gets the same. */
  readonly canRepeat?: boolean;
  readonly position: EntryId | undefined;
  /** Of a write: the copies that it had when it was answered. */
  readonly acked?: AckLevel | undefined;
  /** What the stream keeps as a connection. */
  readonly connection?: ConnectionState | undefined;
};

/** Throws ClientError for what is not an answer of status 200. */
export async function runPipeline(
  { backend, streams }: HranaPorts,
  body: unknown,
  wishes: Wishes,
  wish: StreamWish,
): Promise<Answer> {
  const value = await readJsonObject(body);
  const found = findStream(streams, value);
  if (found.type === "gone") {
    // Clients close a stream once more after an error. There is nothing left to close, and that is fine.
    if (isOnlyClose(value))
      return { texts: pipelineTexts(undefined, [okResult("close")]), position: undefined };
    throw found.error;
  }
  const { stream } = found;
  stream.connection ??= wish.connection;
  try {
    const decoder = new RequestDecoder(stream.texts);
    const requests = decoder.pipeline(value["requests"]);
    await turnFor(body);
    const closes = requests.at(-1)?.type === "close";
    if (!closes) streams.admit(stream);
    const ran = await runSql(
      backend,
      stream,
      requests,
      withIndex(wishes, decoder.replicationIndex),
    );
    const results = resultsInOrder(requests, ran.results);
    // Nobody will get the next baton of a client that has hung up.
    const unwanted = wishes.signal.aborted || (wish.whileOpen && stream.session === undefined);
    if (closes || unwanted) streams.end(stream, "closed");
    const baton = stream.ended ? undefined : streams.keep(stream);
    const { connection } = stream;
    const { position, acked } = ran;
    const canRepeat = acked === undefined && stream.session === undefined;
    return { texts: pipelineTexts(baton, results), canRepeat, position, acked, connection };
  } catch (error) {
    streams.end(stream, "broken");
    throw error;
  }
}

/** The stream of the body's baton, or a new one. */
export function findStream(streams: Streams, value: JsonObject): Found {
  const baton = value["baton"] ?? undefined;
  if (baton === undefined) return { type: "stream", stream: streams.open() };
  if (typeof baton !== "string") throw refused("baton must be a string or null");
  return streams.find(baton);
}

/** A replication index in the body asks for the same as the header paceline-min-position. */
export function withIndex(wishes: Wishes, index: number): Wishes {
  if (index <= (wishes.minPosition?.lsn ?? 0)) return wishes;
  return { ...wishes, minPosition: { lsn: lsn(index), term: term(0) } };
}

async function runSql(
  backend: HranaPorts["backend"],
  stream: Stream,
  requests: readonly StreamRequest[],
  wishes: Wishes,
): Promise<UnitResults> {
  const unit: SqlRequest[] = [];
  for (const request of requests) if (request.type === "sql") unit.push(request.request);
  if (unit.length === 0) return { results: [], position: undefined };
  return runUnit(backend, stream, { requests: unit }, wishes);
}

/** Weaves the results of the SQL requests in between those of the others. */
function resultsInOrder(
  requests: readonly StreamRequest[],
  sqlResults: readonly string[],
): readonly string[] {
  let next = 0;
  return requests.map((request) =>
    request.type === "sql" ? (sqlResults[next++] as string) : okResult(request.type),
  );
}

function okResult(type: string): string {
  return `{"type":"ok","response":{"type":"${type}"}}`;
}

function pipelineTexts(baton: string | undefined, results: readonly string[]): readonly string[] {
  const batonText = baton === undefined ? "null" : `"${baton}"`;
  const head = `{"baton":${batonText},"base_url":null,"results":[`;
  return [head, ...results.flatMap((result, at) => (at === 0 ? [result] : [",", result])), "]}"];
}

function isOnlyClose(value: JsonObject): boolean {
  const { requests } = value;
  if (!Array.isArray(requests) || requests.length !== 1) return false;
  return isObject(requests[0]) && requests[0]["type"] === "close";
}
