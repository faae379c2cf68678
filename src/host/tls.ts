/**
 * TLS between nodes: the certificate of this node, the CA that all nodes of the cluster trust, and what goes wrong.
 *
 * Both ends present a certificate that the CA has signed, and speak TLS 1.3 or nothing. The name in a certificate is
 * not compared with the address that was dialled: nodes are listed by addresses that change (--moved, proxies), a node
 * proves its id with the cluster's secret right behind the TLS handshake, and a member of the cluster may say anything
 * to its peers anyway. So the CA must be the cluster's own: whoever has a certificate of it and sits between two nodes
 * can read what they say. Sessions are never resumed, so a certificate is looked at for every connection.
 *
 * Files are looked at again when a connection begins, and read when they have changed; connections that are open keep
 * what they began with. Files that cannot be used then, half of a renewal perhaps, change nothing.
 *
 * Not here: the side that is connected to (tls-door.ts).
 */

import { X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { isIP } from "node:net";
import {
  type ConnectionOptions,
  connect,
  createSecureContext,
  type SecureContext,
  type TLSSocket,
} from "node:tls";
import { ClientError, messageOf, ProtocolError } from "../base/errors.ts";

/** Paths of PEM files. */
export type TlsFiles = { readonly cert: string; readonly key: string; readonly ca: string };

/** What the files held, as `node:tls` takes it. */
type TlsMaterial = { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer };

/** How `connect` of `node:tls` is called between nodes. */
export type TlsDialOptions = Required<
  Pick<
    ConnectionOptions,
    "secureContext" | "minVersion" | "rejectUnauthorized" | "checkServerIdentity"
  >
>;

/** The two ends did not agree on TLS, or on a certificate. Nothing else has been sent. */
export class TlsError extends ProtocolError {}

export const minTlsVersion = "TLSv1.3";

/** What a node without TLS should do about it. */
export const tlsHint = "start it with --tls-cert, --tls-key and --tls-ca, as the others";

/** Between two looks at the files. */
const lookMs = 500;

export class TlsIdentity {
  /** Told when other files than before count. The one side that accepts sets it. */
  onRenewed: () => void = () => {};
  readonly #files: TlsFiles;
  readonly #onEvent: (line: string) => void;
  #material: TlsMaterial;
  #secureContext: SecureContext;
  /** What the files looked like when they were last read, and when that was last compared. */
  #stamp: string;
  #lookedMs: number = performance.now();

  /** Throws ClientError BAD_REQUEST when the files cannot be used. */
  constructor(files: TlsFiles, onEvent: (line: string) => void) {
    this.#files = files;
    this.#onEvent = onEvent;
    // Before they are read: a change in between is found at the next look.
    this.#stamp = stampOf(files);
    this.#material = readMaterial(files);
    this.#secureContext = trustIn(this.#material);
    this.#tellValidity();
  }

  get material(): TlsMaterial {
    return this.#material;
  }

  /** Reads the files again if they have changed. Call it when a connection begins. */
  refresh(): void {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs < lookMs) return;
    this.#lookedMs = nowMs;
    const stamp = stampOf(this.#files);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      const material = readMaterial(this.#files);
      this.#secureContext = trustIn(material);
      this.#material = material;
    } catch (error) {
      this.#onEvent(`${messageOf(error)}. This node goes on with the certificates it has`);
      return;
    }
    this.onRenewed();
    this.#tellValidity();
  }

  /** A certificate that is over is told, and not refused: reads of this node do not depend on it. */
  #tellValidity(): void {
    const untilMs = Date.parse(new X509Certificate(this.#material.cert).validTo);
    const until = new Date(untilMs).toISOString();
    this.#onEvent(
      untilMs > Date.now()
        ? `TLS with the other nodes; the certificate of this one is valid until ${until}`
        : `the certificate of this node expired at ${until}: the other nodes refuse it. ` +
            "Put a new one in its place; it counts from the next connection on",
    );
  }

  /** What a connection to another node is made with. Certificates are checked, names are not: see above. */
  get dialOptions(): TlsDialOptions {
    this.refresh();
    return {
      secureContext: this.#secureContext,
      minVersion: minTlsVersion,
      rejectUnauthorized: true,
      checkServerIdentity: () => undefined,
    };
  }

  /** Begins to connect. "secureConnect" says that the other side is proved; nothing may be sent before it. */
  dial({ host, port }: { readonly host: string; readonly port: number }): TLSSocket {
    const servername = isIP(host) === 0 ? host : "";
    return connect({ ...this.dialOptions, host, port, servername });
  }
}

/** A failed attempt to speak TLS, in words that say what to do. Failures of the network are given back as they are. */
export function explainTls(error: unknown, address: string): unknown {
  if (!(error instanceof Error)) return error;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  if (typeof code !== "string" || (syscall !== undefined && code !== "EPROTO")) return error;
  const text = explanation(code, address);
  return text === undefined ? error : new TlsError(text, { cause: error });
}

/** Why a certificate is not accepted, by the code of OpenSSL. */
export function certificateFault(code: string): string {
  switch (code) {
    case "no-certificate":
      return "none was presented";
    case "CERT_HAS_EXPIRED":
      return "it has expired";
    case "CERT_NOT_YET_VALID":
      return "it is not valid yet; compare the clocks of the machines";
    case "INVALID_PURPOSE":
      return "its extended key usage must allow both serverAuth and clientAuth, or be absent";
    default:
      return `it is not signed by the CA that the cluster trusts (${code})`;
  }
}

const certificateCode = /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_PURPOSE|INVALID_CA)/;
const notTlsCode =
  /WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG|RECORD_LAYER|UNKNOWN_PROTOCOL|EPROTO/;

function explanation(code: string, address: string): string | undefined {
  if (certificateCode.test(code)) {
    return `the certificate of the node at ${address} is refused: ${certificateFault(code)}`;
  }
  if (/PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) {
    return `the node at ${address} does not speak TLS 1.3, the oldest version that is taken`;
  }
  if (notTlsCode.test(code)) {
    return `the node at ${address} does not speak TLS: ${tlsHint}`;
  }
  return code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_")
    ? `TLS with the node at ${address} failed: ${code}`
    : undefined;
}

function readMaterial(files: TlsFiles): TlsMaterial {
  const read = (flag: string, path: string): Buffer => {
    try {
      return readFileSync(path);
    } catch (cause) {
      throw new ClientError("BAD_REQUEST", `cannot read ${flag}: ${messageOf(cause)}`, { cause });
    }
  };
  const cert = read("--tls-cert", files.cert);
  const key = read("--tls-key", files.key);
  const ca = read("--tls-ca", files.ca);
  return { cert, key, ca };
}

function stampOf({ cert, key, ca }: TlsFiles): string {
  const stamps = [cert, key, ca].map((path) => {
    const found = statSync(path, { throwIfNoEntry: false });
    return found === undefined ? "gone" : `${found.ino} ${found.size} ${found.mtimeMs}`;
  });
  return stamps.join(", ");
}

function trustIn(material: TlsMaterial): SecureContext {
  try {
    // Reads the CA as well: createSecureContext takes text without a certificate in it, and then trusts nobody.
    new X509Certificate(material.ca);
    return createSecureContext({ ...material, minVersion: minTlsVersion });
  } catch (cause) {
    throw new ClientError(
      "BAD_REQUEST",
      `the files of --tls-cert, --tls-key and --tls-ca cannot be used: ${messageOf(cause)}; ` +
        "they are PEM, the key without a passphrase and that of the certificate",
      { cause },
    );
  }
}
