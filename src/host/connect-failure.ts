/**
 * Whether a request over HTTP failed before anything of it had left. That is the one failure after which anything may
 * be tried again, so it is told apart in one place.
 */

import { TlsError } from "./tls.ts";

/** The system call that failed was `connect`, or connecting timed out, or TLS did not come up: no request has left. */
export function isConnectFailure(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if (error instanceof TlsError) return true;
  if (error instanceof AggregateError && error.errors.length > 0) {
    return error.errors.every(isConnectFailure);
  }
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  return code === "UND_ERR_CONNECT_TIMEOUT" || syscall === "connect" || syscall === "getaddrinfo";
}
