/**
 * POST /v1/execute and /v1/batch: the first version of Hrana over HTTP, without streams. libSQL's client for Python
 * still speaks it. Each call stands alone; a transaction that it leaves open is rolled back.
 *
 * Failures, those of SQL included, are answers that are not 200, with the error as the body.
 */

import type { SqlRequest } from "../../db/sql/request.ts";
import type { Backend } from "../backend.ts";
import { type JsonObject, readJsonObject } from "../json-body.ts";
import { fieldAt, fieldText } from "../json-slices.ts";
import { RequestDecoder } from "./decode.ts";
import { type Answer, withIndex } from "./pipeline.ts";
import { SqlTexts } from "./sql-texts.ts";
import type { Wishes } from "./unit.ts";

/** An answer, or the body of an answer of status 400. */
export type AnswerV1 = Answer & { readonly failed: boolean };

/** Throws ClientError for what did not come from SQL. */
export async function runV1(
  backend: Pick<Backend, "run" | "closeSession">,
  type: "execute" | "batch",
  body: unknown,
  wishes: Wishes,
): Promise<AnswerV1> {
  const decoder = new RequestDecoder(new SqlTexts({ usedChars: 0 }));
  const request = decodeV1(decoder, type, await readJsonObject(body));
  const asked = { ...withIndex(wishes, decoder.replicationIndex), session: undefined };
  const answer = await backend.run({ requests: [request] }, asked);
  if (answer.session !== undefined) backend.closeSession(answer.session);
  const { position, acked } = answer;
  const text = answer.results[0] as string;
  const response = fieldAt(text, 0, "response");
  const result = response === undefined ? undefined : fieldText(text, response, "result");
  if (result !== undefined) {
    return { texts: ['{"result":', result, "}"], position, acked, failed: false };
  }
  const error = errorText(fieldText(text, 0, "error") ?? "{}");
  return { texts: [error], position, acked, failed: true };
}

function decodeV1(
  decoder: RequestDecoder,
  type: "execute" | "batch",
  value: JsonObject,
): SqlRequest {
  return type === "execute"
    ? { type: "execute", stmt: decoder.stmt(value["stmt"]) }
    : decoder.batch(value["batch"]);
}

/** The error of a statement, with the field that Go and Turso look for. */
function errorText(text: string): string {
  const error = JSON.parse(text) as { readonly message?: string; readonly code?: string };
  return JSON.stringify({ ...error, error: error.message, retry: "never" });
}
