/**
 * The wiring of a node's place in a tree: makes relay, upstream and tree, and tells them what the rest of the node is.
 */

import type { Entry, NodeId } from "../../vocabulary.ts";
import type { Links } from "../driver.ts";
import type { Node } from "../node.ts";
import type { Opened, OpenOptions } from "../open.ts";
import { Outbox } from "../outbox.ts";
import type { Lag } from "../report/lag.ts";
import { internalPaths } from "../route/forward-wire.ts";
import { Relay } from "./relay.ts";
import { Tree } from "./tree.ts";
import { type FollowAnswer, Upstream } from "./upstream.ts";

/** What the tree must know of the rest of the node. */
export type Ground = {
  readonly links: Links;
  readonly lag: Lag;
  /** Known only once everything is put together. */
  node(): Node;
  /** This node cannot go on. */
  failed(error: Error): void;
};

/** How long a node may take to answer one that wants to follow it. */
const askMs = 1_500;

export function plantTree(
  options: OpenOptions,
  opened: Pick<Opened, "log" | "identity">,
  ground: Ground,
): Tree {
  const clusterId = () => opened.identity.clusterId;
  const { self, address, onEvent } = options;
  const tree: Tree = new Tree({
    ...{ self: { id: self, address }, links: ground.links, clusterId, onEvent },
    relay: makeRelay(options, opened, ground),
    upstream:
      options.follow.length === 0
        ? undefined
        : makeUpstream(options, { ...ground, clusterId, tree: () => tree }),
    hasPages: !opened.identity.witness,
    isPartial: options.tables !== undefined,
    logKind: () => ground.node().status().settings.logKind,
    membership: () => ground.node().status().membership,
  });
  return tree;
}

function makeRelay(
  { self, clock, onEvent, applyDelayMs }: OpenOptions,
  { log, identity }: Pick<Opened, "log" | "identity">,
  { links, lag, node, failed }: Ground,
): Relay {
  const send = (envelope: { readonly to: NodeId }, entries: readonly Entry[]): void => {
    // What goes down comes from the log: those below a delayed node need not be as old as its database.
    const lagMs =
      applyDelayMs === undefined
        ? lag.lagMs(node().leadership.leading)
        : lag.logLagMs(log.last.lsn);
    links.send(envelope.to, { ...envelope, lagMs }, entries);
  };
  const outbox = new Outbox(log, send, { onProblem: onEvent, failed });
  return new Relay({
    ...{ self, clock, log },
    term: () => node().status().term,
    committedLsn: () => node().status().committedLsn,
    send: (envelope) => outbox.send([envelope], []),
    wantPageSync: (child) => {
      links.send(child, { note: "pageSyncWanted", clusterId: identity.clusterId ?? "" }, []);
    },
    readIndex: () => node().readIndex(),
  });
}

function makeUpstream(
  options: OpenOptions,
  { lag, node, clusterId, tree }: Ground & { clusterId(): string | undefined; tree(): Tree },
): Upstream {
  const { self, address, clock, forwarder, onEvent } = options;
  const body = JSON.stringify({ id: self, address, partial: options.tables !== undefined });
  return new Upstream({
    ...{ self, clock, onEvent, clusterId, named: options.follow },
    members: () => node().status().membership,
    register: async (at) =>
      (await forwarder.ask(
        at,
        { method: "POST", path: internalPaths.follow, body },
        askMs,
      )) as FollowAnswer,
    changed: (left) => {
      lag.otherSource();
      if (left !== undefined) forwarder.abandon(left.address);
      tree().relink();
    },
  });
}
