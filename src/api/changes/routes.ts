/**
 * `GET /changes`: the change stream as server-sent events [WHATWG HTML, server-sent events].
 *
 *   ?from=42@3          after this position; without it, from now on; `from=0` is the beginning of the log
 *   Last-Event-ID       goes before `from`: what a browser sends when it connects again
 *   ?tables=a,b         rows of these tables only; statements always
 *
 *   event: change       data: JSON (change-json.ts), id: the position to go on from
 *   event: gap          changes that were not recorded: a copy that was kept by this stream must be made anew
 *   event: error        data: { code, message }: the stream has ended
 *   : idle              nothing new for a while
 *
 * What the consumer does not take is not read from the log: a slow consumer costs its place and one event.
 */

import { once } from "node:events";
import type { ServerResponse } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { ClientError, messageOf } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { FeedEvent } from "../../node/changes/feed.ts";
import { type EntryId, formatPosition, parsePosition } from "../../vocabulary.ts";
import type { Backend } from "../backend.ts";
import { type JsonStep, toJsonStep } from "./change-json.ts";

/** The open streams of a server. */
export class ChangeStreams {
  readonly #backend: Backend;
  readonly #open = new Set<AbortController>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  add(app: FastifyInstance): void {
    app.get("/changes", async (request, reply) => {
      const { from, tables } = wishOf(request);
      if (this.#open.size >= limits.changeStreamsMax) {
        throw new ClientError("OVERLOADED", `${limits.changeStreamsMax} change streams are open`);
      }
      const feed = this.#backend.changes();
      const start = feed.begin(from);
      reply.hijack();
      const stop = new AbortController();
      this.#open.add(stop);
      reply.raw.once("close", () => stop.abort());
      try {
        await stream(reply.raw, feed.after(start, stop.signal), tables);
      } finally {
        this.#open.delete(stop);
      }
    });
  }

  /** Ends all of them. Consumers connect again, to another node perhaps. */
  close(): void {
    for (const stop of this.#open) stop.abort();
  }
}

async function stream(
  raw: ServerResponse,
  events: AsyncIterable<FeedEvent>,
  tables: ReadonlySet<string> | undefined,
): Promise<void> {
  raw.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "x-accel-buffering": "no",
  });
  raw.flushHeaders();
  try {
    for await (const event of events) {
      const text = textOf(event, tables);
      if (text !== undefined && !raw.write(text))
        await Promise.race([once(raw, "drain"), once(raw, "close")]);
      if (raw.destroyed) return;
    }
  } catch (error) {
    const code = error instanceof ClientError ? error.code : "INTERNAL";
    raw.write(`event: error\ndata: ${JSON.stringify({ code, message: messageOf(error) })}\n\n`);
  }
  raw.end();
}

function textOf(event: FeedEvent, tables: ReadonlySet<string> | undefined): string | undefined {
  const position = formatPosition(event.position);
  if (event.type === "idle") return `: idle ${position}\n\n`;
  const committedAt = new Date(event.committedAtMs).toISOString();
  if (event.type === "gap") {
    return `id: ${position}\nevent: gap\ndata: ${JSON.stringify({ position, committedAt })}\n\n`;
  }
  const wanted = (step: JsonStep) =>
    tables === undefined || step.op === "statement" || tables.has(step.table);
  const transactions = event.transactions
    .map((steps) => steps.map(toJsonStep).filter(wanted))
    .filter((steps) => steps.length > 0);
  if (transactions.length === 0) return undefined;
  const data = JSON.stringify({ position, committedAt, transactions });
  return `id: ${position}\nevent: change\ndata: ${data}\n\n`;
}

function wishOf(request: FastifyRequest): {
  from: EntryId | undefined;
  tables: ReadonlySet<string> | undefined;
} {
  const query = request.query as { from?: unknown; tables?: unknown };
  const text = request.headers["last-event-id"] ?? query.from;
  const from = typeof text === "string" ? parsePosition(text) : undefined;
  if (text !== undefined && from === undefined) {
    throw new ClientError("BAD_REQUEST", `from: "${String(text)}" is not a position such as 42@3`);
  }
  const { tables } = query;
  if (tables !== undefined && typeof tables !== "string") {
    throw new ClientError("BAD_REQUEST", "tables: names with commas between them");
  }
  return { from, tables: tables === undefined ? undefined : new Set(tables.split(",")) };
}
