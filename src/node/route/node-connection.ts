/**
 * HTTP connections to another node: plain, or under TLS with the certificate of this one.
 *
 * Not here: links (peer/), which have an upgrade behind the same first steps.
 */

import { buildConnector } from "undici";
import { explainTls, type TlsIdentity } from "../../host/tls.ts";

/** Where requests to the node at `address` (`host:port`) go. */
export function originOf(address: string, tls: TlsIdentity | undefined): string {
  return `${tls === undefined ? "http" : "https"}://${address}`;
}

/** Makes connections for undici. Under TLS each begins with the certificate as it is at that time. */
export function connectorTo(
  address: string,
  timeoutMs: number,
  tls: TlsIdentity | undefined,
): buildConnector.connector {
  if (tls === undefined) return buildConnector({ timeout: timeoutMs });
  return (options, done) => {
    const connect = buildConnector({
      ...tls.dialOptions,
      timeout: timeoutMs,
      maxCachedSessions: 0,
    });
    connect(options, (...[error, socket]) => {
      if (error === null) done(null, socket);
      else done(explainTls(error, address) as Error, null);
    });
  };
}
