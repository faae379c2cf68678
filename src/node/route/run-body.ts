/**
 * The body of a request from one node to another. Large ones are made piece by piece, with a turn for the event loop in
 * between: in one go 60 MB of values take longer than a heartbeat may be late.
 */

import { setImmediate as turn } from "node:timers/promises";
import type { SqlRequest, Stmt, Unit, Value } from "../../db/sql/request.ts";
import { wireRequest, wireValue } from "../../db/sql/wire-request.ts";
import { formatPosition } from "../../vocabulary.ts";
import { formatAck } from "../rule/ack.ts";
import { formatConsistency, type RunOptions } from "./run.ts";

/** Below this many bytes it is made in one go. */
const largeBytes = 256 * 1024;

export async function encodeRun(
  unit: Unit,
  options: RunOptions,
  onwards: boolean,
): Promise<string | Uint8Array> {
  if (!isLarge(unit)) {
    const requests = unit.requests.map(wireRequest);
    return JSON.stringify({ ...headOf(unit, options, onwards), requests });
  }
  const pieces: Uint8Array[] = [];
  let text = "";
  for (const part of runParts(unit, options, onwards)) {
    text += part;
    if (text.length < largeBytes) continue;
    pieces.push(Buffer.from(text));
    text = "";
    await turn();
  }
  pieces.push(Buffer.from(text));
  return Buffer.concat(pieces);
}

function headOf(unit: Unit, options: RunOptions, onwards: boolean): object {
  return {
    onwards: onwards ? true : undefined,
    consistency: formatConsistency(options.consistency),
    minPosition: options.minPosition && formatPosition(options.minPosition),
    session: options.session,
    deadlineMs: options.deadlineMs,
    ack: options.ack && formatAck(options.ack),
    begin: options.begin,
    connection: unit.connection,
    snapshot: unit.snapshot && formatPosition(unit.snapshot),
    inPieces: options.inPieces,
  };
}

/** The same text, in parts of any size. */
export function* runParts(unit: Unit, options: RunOptions, onwards: boolean): Generator<string> {
  yield `${JSON.stringify(headOf(unit, options, onwards)).slice(0, -1)},"requests":[`;
  for (const [at, request] of unit.requests.entries()) {
    if (at > 0) yield ",";
    yield* requestParts(request);
  }
  yield "]}";
}

function* requestParts(request: SqlRequest): Generator<string> {
  if (request.type === "execute") {
    yield '{"type":"execute","stmt":';
    yield* stmtParts(request.stmt);
    yield "}";
  } else if (request.type === "batch") {
    yield '{"type":"batch","batch":{"steps":[';
    for (const [at, { stmt, condition }] of request.steps.entries()) {
      yield at > 0 ? ',{"stmt":' : '{"stmt":';
      yield* stmtParts(stmt);
      yield condition === undefined ? "}" : `,"condition":${JSON.stringify(condition)}}`;
    }
    yield "]}}";
  } else {
    yield JSON.stringify(wireRequest(request));
  }
}

function* stmtParts({ sql, args, namedArgs, wantRows }: Stmt): Generator<string> {
  yield `{"sql":${JSON.stringify(sql)},"want_rows":${wantRows},"args":[`;
  for (const [at, value] of args.entries()) {
    if (at > 0) yield ",";
    yield* valueParts(value);
  }
  yield '],"named_args":[';
  for (const [at, { name, value }] of namedArgs.entries()) {
    yield `${at > 0 ? "," : ""}{"name":${JSON.stringify(name)},"value":`;
    yield* valueParts(value);
    yield "}";
  }
  yield "]}";
}

/** Base64 needs no escaping, and is the same cut anywhere. */
function* valueParts(value: Value): Generator<string> {
  if (value.type !== "blob") {
    yield JSON.stringify(wireValue(value));
    return;
  }
  const { base64 } = value;
  yield '{"type":"blob","base64":"';
  for (let at = 0; at < base64.length; at += largeBytes) yield base64.slice(at, at + largeBytes);
  yield '"}';
}

function isLarge({ requests }: Unit): boolean {
  let bytes = 0;
  const add = ({ sql, args, namedArgs }: Stmt) => {
    bytes += 100 + sql.length;
    for (const value of args) bytes += bytesOf(value);
    for (const { name, value } of namedArgs) bytes += name.length + bytesOf(value);
  };
  for (const request of requests) {
    if (request.type === "execute") add(request.stmt);
    else if (request.type === "batch") for (const { stmt } of request.steps) add(stmt);
    else if ("sql" in request) bytes += request.sql.length;
  }
  return bytes > largeBytes;
}

function bytesOf(value: Value): number {
  if (value.type === "blob") return value.base64.length;
  return 40 + (value.type === "text" ? value.value.length : 0);
}
