/**
 * What a node says of itself at `GET /node`, read with care: it comes over the network, perhaps from something that is
 * no node at all.
 *
 * Not here: how often it is asked, and what is made of it (cluster-view.ts).
 */

import { ProtocolError } from "../base/errors.ts";

/** A member as some node knows it. */
export type SeenMember = { readonly id: string; readonly kind: string; readonly url: string };

/** One node, as it was when it answered. */
export type SeenNode = {
  readonly id: string;
  readonly clusterId: string | undefined;
  readonly term: number;
  /** Who leads, as far as the node knows. */
  readonly leader: string | undefined;
  /** It leads, and takes writes. */
  readonly takesWrites: boolean;
  /** It has a database that it may read from. */
  readonly ready: boolean;
  /** It shows the past by intention: nothing is read from it unasked. */
  readonly delayed: boolean;
  readonly appliedLsn: number;
  /** Undefined: it has never been up to date. */
  readonly lagMs: number | undefined;
  readonly members: readonly SeenMember[];
};

/** More members than any cluster has. */
const membersMax = 1_000;

/** Throws ProtocolError when this is not the answer of a node. */
export function decodeNode(text: string): SeenNode {
  const value = parse(text);
  const { id, clusterId, term, leader, takesWrites, ready, appliedLsn, lagMs, members } = value;
  const { applyDelayMs } = value;
  if (typeof id !== "string" || typeof takesWrites !== "boolean" || typeof ready !== "boolean") {
    throw new ProtocolError("this is not the answer of a Paceline node");
  }
  return {
    ...{ id, takesWrites, ready },
    delayed: typeof applyDelayMs === "number",
    clusterId: typeof clusterId === "string" ? clusterId : undefined,
    term: count(term) ?? 0,
    leader: typeof leader === "string" ? leader : undefined,
    appliedLsn: count(appliedLsn) ?? 0,
    lagMs: count(lagMs),
    members: Array.isArray(members) ? members.slice(0, membersMax).flatMap(decodeMember) : [],
  };
}

/** The origin of a node's URL. Throws ProtocolError. */
export function parseNodeUrl(text: string): string {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(full);
  if (url === null || !/^https?:$/.test(url.protocol) || url.host === "") {
    throw new ProtocolError(
      `"${text}" is not the URL of a node; it looks like http://10.0.0.1:7001`,
    );
  }
  return url.origin;
}

function decodeMember(value: unknown): SeenMember[] {
  const { id, kind, url } = (value ?? {}) as Record<string, unknown>;
  if (typeof id !== "string" || typeof kind !== "string" || typeof url !== "string") return [];
  return URL.canParse(url) ? [{ id, kind, url: parseNodeUrl(url) }] : [];
}

function count(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

function parse(text: string): Record<string, unknown> {
  try {
    return (JSON.parse(text) ?? {}) as Record<string, unknown>;
  } catch (cause) {
    throw new ProtocolError("this is not JSON, so not the answer of a Paceline node", { cause });
  }
}
