/**
 * The port of a node that speaks TLS with its peers. Clients come to the same port, with TLS or without: the first
 * byte tells, for a TLS connection begins with 0x16 and no HTTP request does.
 *
 *   0x16         TLS; the caller's certificate is asked for, and judged, but only what is for nodes needs one
 *   other        plain HTTP; served as ever, except for what is for nodes
 *
 * A caller that should be a node and is not proved to be one is answered, not cut off: so both sides can say why, and
 * a TLS alert could not. What a stranger can do: hold a connection for `httpHeadersMs` without a byte and for
 * `handshakeMs` in a handshake, among the connections that the server allows anyway, and cause a line in the log per
 * reason and `toldPauseMs`.
 *
 * Not here: certificates (tls.ts), which requests are for nodes (api/).
 */

import { constants } from "node:crypto";
import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import {
  createServer,
  type SecureContextOptions,
  TLSSocket,
  type Server as TlsServer,
} from "node:tls";
import { limits } from "../limits.ts";
import type { Clock } from "./clock.ts";
import { certificateFault, minTlsVersion, type TlsIdentity, tlsHint } from "./tls.ts";

/** First byte of a TLS connection: a record of the handshake. */
const tlsRecord = 0x16;
/** Between two lines in the log for one reason. */
const toldPauseMs = 10_000;

/** Header of a refusal: the code of OpenSSL for what is wrong with a certificate, or `no-certificate`. */
export const refusalHeader = "paceline-tls";

export type TlsDoorOptions = {
  readonly identity: TlsIdentity;
  readonly clock: Pick<Clock, "nowMs" | "after">;
  onEvent(line: string): void;
};

export class TlsDoor {
  readonly #options: TlsDoorOptions;
  readonly #tls: TlsServer;
  /** Connections of which it is not known yet what they speak, or whose TLS handshake is not over. */
  readonly #undecided = new Set<Socket>();
  readonly #toldMsByReason = new Map<string, number>();

  constructor(options: TlsDoorOptions) {
    this.#options = options;
    const { identity } = options;
    this.#tls = createServer({
      ...trustOptions(identity),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: limits.handshakeMs,
    });
    identity.onRenewed = () => this.#tls.setSecureContext(trustOptions(identity));
    this.#tls.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
      socket.destroy();
      // A caller that goes away, as whoever does not like our certificate may do, is no event.
      if (error.code === "ECONNRESET") return;
      const isLate = error.code === "ERR_TLS_HANDSHAKE_TIMEOUT";
      const how = isLate ? `took more than ${limits.handshakeMs} ms` : `failed: ${error.code}`;
      this.#tell(`a TLS handshake ${how}`, socket);
    });
  }

  /** Stands before a server that does not listen yet. Whoever listens to its connections later hears all of them. */
  guard(server: Server): void {
    const listeners = server.listeners("connection");
    const serve = (socket: Socket): void => {
      this.#undecided.delete(socket);
      for (const listener of listeners) listener.call(server, socket);
    };
    server.removeAllListeners("connection");
    server.on("connection", (socket: Socket) => this.#decide(socket, serve));
    this.#tls.on("secureConnection", (socket) => serve(socket));
  }

  /** Undefined for a connection over which a certificate of the cluster's CA was presented; else what is wrong. */
  refusal(socket: Duplex): string | undefined {
    if (!(socket instanceof TLSSocket)) {
      this.#tell(`a node without TLS was refused: ${tlsHint}`, socket as Socket);
      return `this node talks to other nodes under TLS only: ${tlsHint}`;
    }
    if (socket.authorized) return undefined;
    const fault = certificateFault(faultOf(socket));
    this.#tell(`the certificate of a node was refused: ${fault}`, socket);
    return `the certificate was refused: ${fault}`;
  }

  /** Answers an upgrade that `refusal` is against, and hangs up. */
  turnAway(socket: Duplex): void {
    const [status, header] =
      socket instanceof TLSSocket
        ? ["403 Forbidden", `${refusalHeader}: ${faultOf(socket)}`]
        : ["426 Upgrade Required", `Upgrade: TLS/1.3\r\nConnection: Upgrade`];
    socket.on("error", () => {});
    socket.end(`HTTP/1.1 ${status}\r\n${header}\r\nContent-Length: 0\r\n\r\n`);
    this.#options.clock.after(limits.handshakeMs, () => socket.destroy());
  }

  /** Ends what is not served yet. */
  close(): void {
    for (const socket of this.#undecided) socket.destroy();
  }

  #decide(socket: Socket, serve: (socket: Socket) => void): void {
    this.#undecided.add(socket);
    const late = this.#options.clock.after(limits.httpHeadersMs, () => socket.destroy());
    const onError = (): void => void socket.destroy();
    socket.on("error", onError);
    socket.once("close", () => {
      late();
      this.#undecided.delete(socket);
    });
    socket.once("data", (bytes: Buffer) => {
      late();
      socket.pause();
      socket.unshift(bytes);
      socket.off("error", onError);
      if (bytes[0] === tlsRecord) {
        this.#options.identity.refresh();
        this.#tls.emit("connection", socket);
        return;
      }
      serve(socket);
      // In the next turn, for the server must have asked for the bytes before they flow.
      setImmediate(() => socket.resume());
    });
  }

  #tell(line: string, socket: Socket): void {
    const nowMs = this.#options.clock.nowMs();
    const toldMs = this.#toldMsByReason.get(line);
    if (toldMs !== undefined && nowMs - toldMs < toldPauseMs) return;
    // Reasons are few: they are words of ours, and codes of OpenSSL.
    this.#toldMsByReason.set(line, nowMs);
    const from = socket.remoteAddress;
    this.#options.onEvent(from === undefined ? line : `${line} (from ${from})`);
  }
}

function trustOptions({ material }: TlsIdentity): SecureContextOptions {
  // No tickets, and no store of sessions: none is ever resumed.
  const secureOptions = constants.SSL_OP_NO_TICKET;
  return { ...material, minVersion: minTlsVersion, secureOptions };
}

function faultOf(socket: TLSSocket): string {
  if (Object.keys(socket.getPeerCertificate()).length === 0) return "no-certificate";
  const { authorizationError: fault } = socket as { authorizationError: unknown };
  const code = fault instanceof Error ? ((fault as NodeJS.ErrnoException).code ?? "") : fault;
  return String(code).replace(/[^A-Z_]/g, "");
}
