/**
 * The change stream over WebSocket [RFC 6455]: what one connection needs besides its events.
 *
 *   one text message per event   { type, … } (event-json.ts), in fragments if it is large
 *   4000 + HTTP status           close code after an error; the reason is the error's code (docs/guarantees.md),
 *                                the message before it the error
 *   1001 NOT_READY               the node is stopping: connect to another one
 *   HTTP 503, 400                refused before the upgrade: too many streams, the node is stopping; no WebSocket
 *
 * Back-pressure: `send` resolves when little is left of what was sent, so nobody reads on for a consumer that does not.
 * Signs of life: pings. A consumer that answers none and takes nothing that is waiting for it, for a minute, is gone.
 * What a consumer sends means nothing, and is bounded.
 *
 * Not here: which events (routes.ts).
 */

import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { ClientError, errorCodes } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { errorBody } from "../errors.ts";

/** [RFC 6455 §7.4.1] */
export const goingAway = 1001;

/** 4000 to 4999 are an application's own [RFC 6455 §7.4.2]. */
export function closeCode({ code }: ClientError): number {
  return 4000 + errorCodes[code].status;
}

const server = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  // Memory for every connection, and for nothing on a fast network.
  perMessageDeflate: false,
  maxPayload: limits.changeClientBytesMax,
});
server.on("wsClientError", (error, socket) => {
  refuseUpgrade(socket, new ClientError("BAD_REQUEST", error.message));
});

/** Answers the upgrade, and refuses it when it is none. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
  onOpen: (ws: WebSocket) => void,
): void {
  server.handleUpgrade(request, socket, Buffer.from(head), onOpen);
}

/** Answers a request for an upgrade as HTTP answers others, and ends the connection. */
export function refuseUpgrade(socket: Duplex, { code, message }: ClientError): void {
  const { status } = errorCodes[code];
  const body = errorBody(code, message);
  socket.on("error", () => socket.destroy());
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nconnection: close\r\n` +
      "content-type: application/json\r\nsec-websocket-version: 13\r\n" +
      `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

/** One connection, from the upgrade on. */
export class SocketLine {
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>;
  readonly #ws: WebSocket;
  readonly #clock: Pick<Clock, "nowMs" | "after">;
  /** When the consumer last answered, or took of what was waiting. */
  #aliveMs: number;
  /** Wakes `send`. */
  #onRoom: () => void = () => {};

  constructor(ws: WebSocket, clock: Pick<Clock, "nowMs" | "every" | "after">) {
    this.#ws = ws;
    this.#clock = clock;
    this.#aliveMs = clock.nowMs();
    ws.on("pong", () => this.#isAlive());
    // The connection closes after it; there is nobody to tell.
    ws.on("error", () => {});
    const cancel = clock.every(limits.changePingMs, () => this.#ping());
    this.closed = new Promise((resolve) => {
      ws.once("close", () => {
        cancel();
        this.#onRoom();
        resolve();
      });
    });
  }

  /** Resolves when there is room for more, or the connection is ending. One call at a time. */
  async send(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length && this.#isOpen; ) {
      const end = Math.min(bytes.length, at + limits.changeFragmentBytes);
      const fin = end === bytes.length;
      this.#ws.send(bytes.subarray(at, end), { binary: false, fin }, () => this.#taken());
      at = end;
      while (this.#isOpen && this.#ws.bufferedAmount > limits.changeBufferBytesMax) {
        await new Promise<void>((resolve) => {
          this.#onRoom = resolve;
        });
      }
    }
  }

  /** Closes it, with a code. Resolves when it is gone, at the latest after changeCloseMs. */
  async end(code: number, reason: string): Promise<void> {
    this.#ws.close(code, reason);
    this.#onRoom();
    const cancel = this.#clock.after(limits.changeCloseMs, () => this.#ws.terminate());
    await this.closed;
    cancel();
  }

  get #isOpen(): boolean {
    return this.#ws.readyState === this.#ws.OPEN;
  }

  /** The kernel has a part of what was sent. That says something of the consumer only if more is waiting behind it. */
  #taken(): void {
    if (this.#ws.bufferedAmount > 0) this.#isAlive();
    this.#onRoom();
  }

  #isAlive(): void {
    this.#aliveMs = this.#clock.nowMs();
  }

  #ping(): void {
    if (this.#clock.nowMs() - this.#aliveMs >= limits.changeSilentMs) this.#ws.terminate();
    else if (this.#isOpen) this.#ws.ping();
  }
}
