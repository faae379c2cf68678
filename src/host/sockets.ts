/**
 * Byte connections between nodes: TCP, or TLS over it, reached by an HTTP/1.1 upgrade on a node's API port, so that a
 * node needs one port only.
 *
 *   Wire             a connection after its upgrade: parts out, chunks in, one end
 *   dialUpgrade      connects, asks for the protocol, gives a Wire when the other side agrees
 *   acceptUpgrade    agrees to a request that the API's HTTP server has parsed
 *
 * A wire is closed at the first sign of an end, FIN included: nobody here speaks over a half-closed connection.
 * Writes are queued here and given to the kernel in slices, so that `bufferedBytes` is exact and progress on one
 * huge write can be seen.
 *
 * Not here: frames, who the other side is, when to dial again (peer/).
 */

import { connect, Socket } from "node:net";
import type { Duplex } from "node:stream";
import { readAddress } from "../base/address.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import { certificateFault, explainTls, TlsError, type TlsIdentity, tlsHint } from "./tls.ts";
import { refusalHeader } from "./tls-door.ts";

/** What the owner of a wire is told. `onClose` is called once and is the last call. */
export type WireListener = {
  /** The bytes are the listener's to keep. */
  onBytes(bytes: Uint8Array): void;
  /** The kernel has taken a slice of what was written. */
  onProgress(): void;
  onClose(why: string): void;
};

/** Bytes of the answer to an upgrade request, before its blank line. */
const answerBytesMax = 4096;
const keepAliveMs = 10_000;

export class Wire {
  readonly #socket: Duplex;
  #listener: WireListener | undefined;
  /** Parts not yet given to the socket, oldest first. */
  #queue: Uint8Array[] = [];
  /** Index of the first part of `#queue` that is left. */
  #queueAt = 0;
  /** Bytes written that the kernel has not taken. */
  #buffered = 0;
  /** Of these, the bytes that the socket has. */
  #inSocket = 0;
  #closed = false;
  /** Closes when everything written is gone. */
  #ending = false;

  /** Paused until `listen`. `head` is what was read behind the upgrade. */
  constructor(socket: Duplex, head: Uint8Array) {
    this.#socket = socket;
    if (socket instanceof Socket) {
      socket.setTimeout(0);
      socket.setNoDelay(true);
      socket.setKeepAlive(true, keepAliveMs);
    }
    // Explicitly paused, so that the "data" listener below does not set it going.
    socket.pause();
    if (head.byteLength > 0) socket.unshift(head);
    socket.on("data", (bytes: Uint8Array) => this.#listener?.onBytes(bytes));
    socket.on("end", () => this.close("ended by the other side"));
    socket.on("error", (error: NodeJS.ErrnoException) => this.close(error.code ?? error.message));
    socket.on("close", () => this.close("closed"));
  }

  /** Names the owner, or a new one. The wire stays paused until `resume`. */
  listen(listener: WireListener): void {
    this.#listener = listener;
    if (this.#closed) queueMicrotask(() => listener.onClose("closed"));
  }

  get bufferedBytes(): number {
    return this.#buffered;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Keeps views of the parts until they are sent; nobody may write to them. Ignored once closed. */
  write(parts: readonly Uint8Array[]): void {
    if (this.#closed || this.#ending) return;
    for (const part of parts) {
      if (part.byteLength === 0) continue;
      this.#queue.push(part);
      this.#buffered += part.byteLength;
    }
    this.#pump();
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed) this.#socket.resume();
  }

  /** Closes now; what is queued is dropped. */
  close(why: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue = [];
    this.#buffered = 0;
    this.#socket.destroy();
    this.#listener?.onClose(why);
  }

  /** Closes when everything written has been given to the kernel. */
  closeAfterWrite(): void {
    this.#ending = true;
    if (this.#buffered === 0) this.close("closed");
  }

  #pump(): void {
    this.#socket.cork();
    while (this.#queueAt < this.#queue.length && this.#inSocket < limits.socketWriteBytes) {
      const part = this.#queue[this.#queueAt]!;
      const slice = part.subarray(0, limits.socketWriteBytes);
      if (slice.byteLength === part.byteLength) this.#queueAt += 1;
      else this.#queue[this.#queueAt] = part.subarray(slice.byteLength);
      this.#inSocket += slice.byteLength;
      this.#socket.write(slice, () => this.#taken(slice.byteLength));
    }
    this.#socket.uncork();
    if (this.#queueAt === this.#queue.length || this.#queueAt > 1024) {
      this.#queue = this.#queue.slice(this.#queueAt);
      this.#queueAt = 0;
    }
  }

  #taken(bytes: number): void {
    if (this.#closed) return;
    this.#inSocket -= bytes;
    this.#buffered -= bytes;
    if (this.#queue.length > 0) this.#pump();
    this.#listener?.onProgress();
    if (this.#ending && this.#buffered === 0) this.close("closed");
  }
}

/**
 * Connects to `address` and upgrades to `protocol`. Rejects with the system's error, with ProtocolError when the
 * other side does not agree (TlsError when that is about TLS), and with the signal's reason when it aborts first.
 */
export function dialUpgrade(
  address: string,
  protocol: string,
  signal: AbortSignal,
  tls?: TlsIdentity | undefined,
): Promise<Wire> {
  return new Promise<Wire>((resolve, reject) => {
    signal.throwIfAborted();
    const place = readAddress(address);
    if (place === undefined) throw new ProtocolError(`not an address: ${address}`);
    const socket = tls === undefined ? connect({ ...place, noDelay: true }) : tls.dial(place);
    let answer = Buffer.alloc(0);
    const settle = (): void => {
      signal.removeEventListener("abort", onAbort);
      socket.off("data", onAnswer).off("close", onEnd).off("end", onEnd).off("error", fail);
      // What a destroyed socket still reports has nobody to hear it; a wire adds its own listener.
      socket.on("error", () => {});
    };
    const fail = (error: unknown): void => {
      settle();
      socket.destroy();
      reject(explainTls(error, address));
    };
    const onAbort = (): void => fail(signal.reason);
    const onEnd = (): void => fail(new ProtocolError("closed before the upgrade was answered"));
    const onAnswer = (bytes: Buffer): void => {
      answer = Buffer.concat([answer, bytes]);
      const end = answer.indexOf("\r\n\r\n");
      if (end < 0 && answer.byteLength <= answerBytesMax) return;
      const status = statusOf(answer.toString("latin1", 0, 12));
      if (end < 0 || status !== "101") {
        fail(upgradeRefused(address, protocol, answer.toString("latin1", 0, answerBytesMax)));
        return;
      }
      socket.pause();
      settle();
      resolve(new Wire(socket, answer.subarray(end + 4)));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.on("data", onAnswer).on("close", onEnd).on("end", onEnd).on("error", fail);
    const opened = tls === undefined ? "connect" : "secureConnect";
    socket.on(opened, () => socket.write(upgradeRequest(address, protocol)));
  });
}

/** Agrees to an upgrade whose request the HTTP server has read. */
export function acceptUpgrade(socket: Duplex, head: Uint8Array, protocol: string): Wire {
  const wire = new Wire(socket, head);
  const lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", `Upgrade: ${protocol}`];
  wire.write([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1")]);
  return wire;
}

/** Memory that is not zeroed first, for a frame that will be filled. */
export function unzeroedBytes(length: number): Uint8Array {
  // A plain array: a Buffer's `slice` is a view where everybody else's is a copy.
  return new Uint8Array(Buffer.allocUnsafeSlow(length).buffer);
}

function upgradeRequest(address: string, protocol: string): string {
  return [
    "GET / HTTP/1.1",
    `Host: ${address}`,
    "Connection: Upgrade",
    `Upgrade: ${protocol}`,
    "\r\n",
  ].join("\r\n");
}

function statusOf(answer: string): string | undefined {
  return /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1];
}

/** What an answer other than 101 means. The words of a stranger are not repeated, but for a code. */
function upgradeRefused(address: string, protocol: string, answer: string): ProtocolError {
  const status = statusOf(answer);
  if (status === "426" && /^upgrade: *TLS/im.test(answer)) {
    return new TlsError(`the node at ${address} takes links under TLS only; this node: ${tlsHint}`);
  }
  const [, code] = new RegExp(`^${refusalHeader}: *([A-Za-z_-]{1,64})`, "im").exec(answer) ?? [];
  if (code !== undefined) {
    const fault = certificateFault(code);
    return new TlsError(`the node at ${address} refuses the certificate of this node: ${fault}`);
  }
  return new ProtocolError(`no ${protocol} at ${address}: answered ${status ?? "no HTTP"}`);
}
