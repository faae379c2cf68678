/**
 * What comes in over the links, and to whom it goes: notes to the node, envelopes to consensus, and what children of a
 * tree say to the relay. A link that breaks is told to everyone who waits for something behind it.
 */

import { decodeEnvelope } from "../../raft/messages.ts";
import type { Entry, Lsn, NodeId, Term } from "../../vocabulary.ts";
import type { Node } from "../node.ts";
import { decodeNote } from "../notes.ts";
import type { Lag } from "../report/lag.ts";
import type { RunningNode } from "../running-node.ts";
import type { Tree } from "../tree/tree.ts";
import type { Moves } from "./moves.ts";
import type { Forwarding } from "./routing.ts";

export type IncomingParts = {
  readonly self: NodeId;
  readonly node: Node;
  readonly tree: Tree;
  readonly lag: Lag;
  readonly moves: Moves;
  readonly forwarder: Forwarding;
  whole(): RunningNode;
  addressOf(id: NodeId): string | undefined;
  /** Term of an entry of the log, if it is there. */
  termAt(at: Lsn): Term | undefined;
};

/** A message of `from`, who proved to be that. Throws ProtocolError when it cannot be read. */
export function onMessage(
  parts: IncomingParts,
  from: NodeId,
  value: unknown,
  entries: readonly Entry[],
): void {
  const { self, node, tree, lag } = parts;
  const origin = tree.originOf(from);
  const note = decodeNote(value);
  if (origin.type === "child") {
    if (note === undefined) tree.relay.onMessage(from, value);
    else if (note.note === "pageSyncEnded") tree.relay.pageSyncEnded(from, note.lsn);
    return;
  }
  if (note !== undefined) {
    if (note.note === "address" || note.note === "reached") parts.moves.onNote(origin.id, note);
    else parts.whole().onNote(origin.id, note);
    return;
  }
  const decoded = decodeEnvelope(value);
  // The link proved who is speaking; an envelope that says otherwise is not worth an answer.
  if (decoded.from !== from || decoded.to !== self) return;
  const { message, term } = decoded;
  if (origin.type === "upstream") tree.upstream?.heard();
  node.step({ ...decoded, from: origin.id }, entries);
  if (message.type !== "append") return;
  // A leader that has committed nothing in its term may not know yet what its predecessors committed [Raft §5.4.2].
  const committedTerm = parts.termAt(message.committedLsn);
  if (committedTerm !== undefined && committedTerm !== term) return;
  const sourceLagMs = lagOf(value);
  // An upstream that does not know how far it is behind itself brings no news.
  if (sourceLagMs === undefined && origin.type === "upstream") return;
  lag.heard(message.committedLsn, term, message.stamp.sentMs, sourceLagMs);
}

/** The link to a node, or one direction of it, has broken. */
export function onLinkLost(parts: IncomingParts, id: NodeId): void {
  const { node, tree, forwarder } = parts;
  tree.relay.entriesLost(id);
  if (tree.upstream?.is(id) === true) tree.upstream.linkLost();
  else node.linkLost(id);
  parts.whole().parts.writes.originLost(id);
  // What was forwarded there has no answer to wait for.
  const address = parts.addressOf(id);
  if (address !== undefined) forwarder.abandon(address);
}

/** How far a node in between was behind the leader, beside the envelope [tree/relay.ts]. */
function lagOf(value: unknown): number | undefined {
  const { lagMs } = value as { lagMs?: unknown };
  return typeof lagMs === "number" && lagMs >= 0 ? lagMs : undefined;
}
