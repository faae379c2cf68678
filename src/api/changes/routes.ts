/**
 * `GET /changes`: the change stream, as server-sent events [WHATWG HTML, server-sent events] or, where an upgrade is
 * asked for, over WebSocket (web-socket.ts). What may be asked and what is told: event-json.ts.
 *
 *   event: change       data: JSON, id: the position to go on from
 *   event: gap          the same
 *   event: error        data: { code, message, … }: the stream has ended
 *   : idle              nothing new for a while
 *
 * What the consumer does not take is not read from the log: a slow consumer costs its place and one event.
 */

import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { FastifyInstance } from "fastify";
import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { FeedEvent } from "../../node/changes/feed.ts";
import { formatPosition } from "../../vocabulary.ts";
import type { Backend } from "../backend.ts";
import { eventJson, failureJson, failureOf, wishOf } from "./event-json.ts";
import { acceptWebSocket, closeCode, goingAway, refuseUpgrade, SocketLine } from "./web-socket.ts";

/** The open streams of a server. */
export class ChangeStreams {
  readonly #backend: Backend;
  readonly #clock: Pick<Clock, "nowMs" | "every" | "after">;
  readonly #open = new Set<AbortController>();
  readonly #lines = new Set<SocketLine>();
  #isClosing = false;

  constructor(backend: Backend, clock: Pick<Clock, "nowMs" | "every" | "after">) {
    this.#backend = backend;
    this.#clock = clock;
  }

  add(app: FastifyInstance): void {
    app.get("/changes", async (request, reply) => {
      const { from, tables } = wishOf(request.query, request.headers);
      this.#checkRoom();
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

  /** Whether this request for an upgrade is one for `accept`. */
  static isAskedFor(request: IncomingMessage): boolean {
    const [path] = (request.url ?? "").split("?", 1);
    return request.headers.upgrade?.toLowerCase() === "websocket" && path === "/changes";
  }

  /**
   * Takes the connection of a request for WebSocket. What has to do with the stream is told in it, because a browser
   * shows its page nothing of an answer that is not 101.
   */
  accept(request: IncomingMessage, socket: Duplex, head: Uint8Array): void {
    try {
      this.#checkRoom();
    } catch (error) {
      refuseUpgrade(socket, failureOf(error));
      return;
    }
    acceptWebSocket(request, socket, head, (ws) => {
      const line = new SocketLine(ws, this.#clock);
      this.#lines.add(line);
      void line.closed.then(() => this.#lines.delete(line));
      void this.#tell(line, request);
    });
  }

  /** Ends all of them. Consumers connect again, to another node perhaps. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const stop of this.#open) stop.abort();
    const ended = [...this.#lines].map((line) => line.end(goingAway, "NOT_READY"));
    await Promise.all(ended);
  }

  /** Never throws: what fails is told to the consumer. */
  async #tell(line: SocketLine, request: IncomingMessage): Promise<void> {
    const stop = new AbortController();
    this.#open.add(stop);
    void line.closed.then(() => stop.abort());
    try {
      const { from, tables } = wishOf(queryOf(request), request.headers);
      const feed = this.#backend.changes();
      for await (const event of feed.after(feed.begin(from), stop.signal)) {
        const json = eventJson(event, tables);
        if (json !== undefined) await line.send(JSON.stringify({ type: event.type, ...json }));
        if (stop.signal.aborted) break;
      }
    } catch (error) {
      const failure = failureOf(error);
      await line.send(JSON.stringify({ type: "error", ...failureJson(failure) }));
      void line.end(closeCode(failure), failure.code);
    } finally {
      this.#open.delete(stop);
    }
  }

  #checkRoom(): void {
    if (this.#isClosing) throw new ClientError("NOT_READY", "this node is stopping");
    if (Math.max(this.#open.size, this.#lines.size) < limits.changeStreamsMax) return;
    throw new ClientError("OVERLOADED", `${limits.changeStreamsMax} change streams are open`);
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
    raw.write(`event: error\ndata: ${JSON.stringify(failureJson(failureOf(error)))}\n\n`);
  }
  raw.end();
}

function textOf(event: FeedEvent, tables: ReadonlySet<string> | undefined): string | undefined {
  const json = eventJson(event, tables);
  if (json === undefined) return undefined;
  const position = formatPosition(event.position);
  if (event.type === "idle") return `: idle ${position}\n\n`;
  return `id: ${position}\nevent: ${event.type}\ndata: ${JSON.stringify(json)}\n\n`;
}

/** As the HTTP server reads one: a name that comes twice is a list. */
function queryOf(request: IncomingMessage): Record<string, string | readonly string[]> {
  const url = request.url ?? "";
  const at = url.indexOf("?");
  const query = new URLSearchParams(at < 0 ? "" : url.slice(at));
  return Object.fromEntries(
    [...new Set(query.keys())].map((name) => {
      const values = query.getAll(name);
      return [name, values.length === 1 ? values[0]! : values];
    }),
  );
}
