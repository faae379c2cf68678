/**
 * What a node that joins must know before it can be talked to: who the members are, so that it admits their links.
 */

import { Agent, fetch, type RequestInit, Response } from "undici";
import { ClientError, messageOf } from "../base/errors.ts";
import type { TlsIdentity } from "../host/tls.ts";
import { authorization, internalPaths, internalToken } from "../node/route/forward-wire.ts";
import { connectorTo, originOf } from "../node/route/node-connection.ts";
import type { Membership } from "../vocabulary.ts";

/**
 * Asks a member for the list of members. Throws ClientError: NOT_READY when it cannot be had, UNAUTHORIZED for a wrong
 * secret.
 */
export async function joinCluster(
  address: string,
  secret: string,
  tls: TlsIdentity | undefined,
): Promise<Membership> {
  let response: Response;
  try {
    response = await fetchFrom(address, internalPaths.members, tls, {
      headers: { authorization: authorization(internalToken(secret)) },
      signal: AbortSignal.timeout(5_000),
    });
  } catch (cause) {
    throw new ClientError(
      "NOT_READY",
      `no answer from ${address}, by which this node joins (${messageOf(cause)}); is that node running? ` +
        "Any other member does as well, with --join",
      { cause },
    );
  }
  if (response.status === 401) {
    const { message } = (await response.json().catch(() => ({}))) as { message?: unknown };
    throw new ClientError(
      "UNAUTHORIZED",
      `${address} has another secret; give this node the secret of the cluster it joins (${message})`,
    );
  }
  if (!response.ok) {
    throw new ClientError("NOT_READY", `${address} answers with status ${response.status}`);
  }
  return ((await response.json()) as { members: Membership }).members;
}

/** Asks a node over a connection of its own, which is closed afterwards: joining is done once. */
export async function fetchFrom(
  address: string,
  path: string,
  tls: TlsIdentity | undefined,
  request: RequestInit,
): Promise<Response> {
  const dispatcher = new Agent({ connect: connectorTo(address, 5_000, tls) });
  try {
    const response = await fetch(originOf(address, tls) + path, { ...request, dispatcher });
    // Bodies are small; read now, for the connection ends here.
    return new Response(await response.arrayBuffer(), { status: response.status });
  } catch (error) {
    // What fetch throws says only that it failed; the cause says why.
    throw (error as Error).cause ?? error;
  } finally {
    await dispatcher.destroy();
  }
}
