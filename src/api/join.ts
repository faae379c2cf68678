/**
 * What a node that joins must know before it can be talked to: who the members are, so that it admits their links.
 */

import { ClientError, messageOf } from "../base/errors.ts";
import { authorization, internalPaths, internalToken } from "../node/route/forward-wire.ts";
import type { Membership } from "../vocabulary.ts";

/**
 * Asks a member for the list of members. Throws ClientError: NOT_READY when it cannot be had, UNAUTHORIZED for a wrong
 * secret.
 */
export async function joinCluster(address: string, secret: string): Promise<Membership> {
  let response: Response;
  try {
    response = await fetch(`http://${address}${internalPaths.members}`, {
      headers: { authorization: authorization(internalToken(secret)) },
      signal: AbortSignal.timeout(5_000),
    });
  } catch (cause) {
    throw new ClientError(
      "NOT_READY",
      `no answer from ${address}, given with --join (${messageOf(cause)}); is that node running?`,
      { cause },
    );
  }
  if (response.status === 401) {
    throw new ClientError(
      "UNAUTHORIZED",
      `${address} has another secret; give this node the secret of the cluster it joins`,
    );
  }
  if (!response.ok) {
    throw new ClientError("NOT_READY", `${address} answers with status ${response.status}`);
  }
  return ((await response.json()) as { members: Membership }).members;
}
