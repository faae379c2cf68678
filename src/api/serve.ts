/**
 * A node with its outside: the one place where the pieces of `node/` and the HTTP server meet. `paceline start` calls
 * it, and so do tests.
 */

import { randomInt } from "node:crypto";
import type { Duplex } from "node:stream";
import {
  type Address,
  formatAddress,
  isLoopback,
  isUnspecified,
  readAddress,
} from "../base/address.ts";
import { ClientError, messageOf } from "../base/errors.ts";
import { type Clock, RealClock } from "../host/clock.ts";
import { RealDisk } from "../host/disk.ts";
import { type TlsFiles, TlsIdentity } from "../host/tls.ts";
import { TlsDoor } from "../host/tls-door.ts";
import { limits } from "../limits.ts";
import type { Joining } from "../node/identity.ts";
import { type JoinPorts, openNode } from "../node/open.ts";
import { realDriver } from "../node/real-driver.ts";
import { Forwarder } from "../node/route/forward.ts";
import { internalToken } from "../node/route/forward-wire.ts";
import type { RunningNode } from "../node/running-node.ts";
import { PeerLinks } from "../peer/links.ts";
import { version } from "../version.ts";
import {
  type Member,
  type MemberKind,
  type Membership,
  nodeId,
  type Settings,
} from "../vocabulary.ts";
import { Copies } from "./copies.ts";
import { fetchFrom, joinCluster } from "./join.ts";
import { NodeBackend } from "./node-backend.ts";
import { ApiServer } from "./server.ts";

/** A member as an operator lists it. Without a kind it is a voter. */
export type ListedMember = {
  readonly id: string;
  readonly address: string;
  readonly kind?: MemberKind;
};

export type NodeOptions = {
  readonly id: string;
  readonly dir: string;
  readonly listen: Address;
  /** `host:port` where the others reach this node, if that is not `listen`. */
  readonly advertise?: string | undefined;
  /** Members of a new cluster. A directory that knows its members ignores it. */
  readonly cluster: readonly ListedMember[] | undefined;
  /** What this node is; undefined: what its directory says, or a voter. */
  readonly kind?: MemberKind | undefined;
  /** Where members are now: a cluster that has moved. Goes before what the log says. */
  readonly moved?: readonly { readonly id: string; readonly address: string }[] | undefined;
  /** host:port of a member of the cluster that this node joins. */
  readonly join: string | undefined;
  /** host:port of nodes, one of which this node follows outside the membership. */
  readonly follow?: readonly string[] | undefined;
  /** This node applies entries only so long after the leader committed them. */
  readonly applyDelayMs?: number | undefined;
  /** Tables whose rows this node keeps, if not all: only of a node that follows. */
  readonly tables?: readonly string[] | undefined;
  /** Settings of a new cluster, if they are not the default ones. */
  readonly settings?: Settings | undefined;
  readonly secret: string | undefined;
  /** Files of the certificates, if this node talks to the others under TLS. */
  readonly tls?: TlsFiles | undefined;
  readonly logRetentionBytes: number;
  readonly statementMs: number;
  readonly syncBytesPerSecond: number;
  readonly readers: number;
  onEvent(line: string): void;
};

export type StartedNode = {
  readonly url: string;
  /** Hands the lead over, drains, closes. Nothing is lost without it. */
  stop(): Promise<void>;
  /** Resolves with the reason when the node cannot go on. */
  readonly failed: Promise<Error>;
};

/** Serves when it resolves, with or without a leader. Throws what `openNode` and the port throw. */
export async function startNode(options: NodeOptions): Promise<StartedNode> {
  const secret = secretOf(options);
  const named = ownAddress(options);
  const address = named ?? formatAddress({ host: "127.0.0.1", port: options.listen.port });
  const { promise: failed, resolve: fail } = Promise.withResolvers<Error>();
  const clock = new RealClock();
  const tls = options.tls === undefined ? undefined : new TlsIdentity(options.tls, options.onEvent);
  const door = tls && new TlsDoor({ identity: tls, clock, onEvent: options.onEvent });
  const self = nodeId(options.id);
  const follow = options.follow ?? [];
  let links: PeerLinks | undefined;
  const running = await openNode({
    self,
    dir: options.dir,
    clock,
    disk: new RealDisk(),
    driver: realDriver(options),
    seed: randomInt(2 ** 31),
    openLinks: (events, instance) => {
      links = new PeerLinks({
        ...{ self, instance, secret, clock, tls, ...events },
        onLinkUp: () => {},
        onEvent: options.onEvent,
      });
      return links;
    },
    forwarder: new Forwarder({
      ...{ token: internalToken(secret), self, tls },
      onwards: follow.length > 0,
    }),
    initial: initialMembers(options, address),
    initialSettings: options.settings,
    witness: options.kind === undefined ? undefined : options.kind === "witness",
    join: joinPorts(options, secret, tls),
    contacts: [],
    ...{ address, follow, tables: options.tables },
    own: named === undefined ? undefined : { address: named, isCertain: isSaid(options) },
    addressById: new Map((options.moved ?? []).map((m) => [nodeId(m.id), m.address])),
    applyDelayMs: options.applyDelayMs,
    logRetentionBytes: options.logRetentionBytes,
    syncBytesPerSecond: options.syncBytesPerSecond,
    onEvent: options.onEvent,
    onFatal: fail,
  });
  const accept = (socket: Duplex, head: Uint8Array) => links?.accept(socket, head);
  const copies = new Copies(running);
  const copy = (socket: Duplex, head: Uint8Array) => copies.accept(socket, head);
  const api = await listen(options, { running, secret, door, accept, copy });
  tellIfListed(options, named);
  running.begin();
  const ends = new AbortController();
  const joining = told(options) ?? running.parts.identity.joining;
  if (joining !== undefined && follow.length === 0) {
    if (named === undefined) {
      await running.stop(() => api.close());
      throw nobodyReaches(options.listen);
    }
    void announce(joining, running, { address, secret, tls, signal: ends.signal });
  }
  const known = named ?? memberAddress(running);
  return {
    url: `http://${known ?? address}`,
    stop: () => {
      ends.abort();
      return running.stop(() => api.close());
    },
    failed,
  };
}

/**
 * Where the others find this node: as it was told, as the list of members says, or where it listens. Nobody can connect
 * to the address that stands for all of a machine, so a node that has others must be told another one. Undefined: its
 * data may know, and a node that is alone does without.
 */
function ownAddress(options: NodeOptions): string | undefined {
  const { id, listen, advertise, cluster, join, follow } = options;
  const named = advertise ?? cluster?.find((member) => member.id === id)?.address;
  if (named !== undefined) return named;
  if (!isUnspecified(listen.host)) return formatAddress(listen);
  if (join !== undefined || follow !== undefined) {
    throw nobodyReaches(listen);
  }
  return undefined;
}

function nobodyReaches(listen: Address): ClientError {
  return new ClientError(
    "BAD_REQUEST",
    `${formatAddress(listen)} stands for all addresses of this machine, and no other node can connect to it; ` +
      `add --advertise HOST:${listen.port} with the address or name that the other nodes reach`,
  );
}

/** Where the cluster looks for this node, as far as its data know. */
function memberAddress({ parts: { node, self } }: RunningNode): string | undefined {
  return node.status().membership.find((member) => member.id === self)?.address;
}

function told({ join, kind }: NodeOptions): Joining | undefined {
  return join === undefined ? undefined : { at: join, kind };
}

/** A node that follows is no member: what it was told before does not count. */
function joinPorts(
  options: NodeOptions,
  secret: string,
  tls: TlsIdentity | undefined,
): JoinPorts | undefined {
  if (options.follow !== undefined) return undefined;
  return { told: told(options), membersBy: (at) => joinCluster(at, secret, tls) };
}

/** A list of members that was written once and kept may say where this node was. */
function tellIfListed(
  { cluster, advertise, listen, onEvent }: NodeOptions,
  named: string | undefined,
): void {
  const place = formatAddress(listen);
  if (cluster === undefined || advertise !== undefined || isUnspecified(listen.host)) return;
  if (named === place) return;
  onEvent(
    `this node listens on ${place}, and --cluster says ${named}; if that does not lead here any more, leave ` +
      `--cluster out or add --advertise ${place}`,
  );
}

/** Whether an operator said where this node is reached, beside where it listens. */
function isSaid({ advertise, moved, id }: NodeOptions): boolean {
  return advertise !== undefined || (moved ?? []).some((member) => member.id === id);
}

type Listening = {
  readonly running: RunningNode;
  readonly secret: string;
  readonly door: TlsDoor | undefined;
  accept(socket: Duplex, head: Uint8Array): void;
  copy(socket: Duplex, head: Uint8Array): void;
};

async function listen(
  options: NodeOptions,
  { running, secret, door, accept, copy }: Listening,
): Promise<ApiServer> {
  const { clock, self } = running.parts;
  try {
    return await ApiServer.listen({
      host: options.listen.host,
      port: options.listen.port,
      node: self,
      version,
      secret,
      door,
      backend: new NodeBackend(running),
      clock,
      onPeer: accept,
      onCopy: copy,
      onFault: (error) => options.onEvent(`fault: ${faultText(error)}`),
    });
  } catch (error) {
    await running.stop(async () => {});
    throw error;
  }
}

function faultText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

type Announced = {
  readonly address: string;
  readonly secret: string;
  readonly tls: TlsIdentity | undefined;
  /** Aborted when the node stops. */
  readonly signal: AbortSignal;
};

/** Asks the cluster to take this node in, until it is a member. */
async function announce(
  { at, kind }: Joining,
  running: RunningNode,
  announced: Announced,
): Promise<void> {
  const { address, tls, signal } = announced;
  const { clock, node, self, onEvent } = running.parts;
  const isMember = () => node.status().membership.some((m) => m.id === self);
  if (isMember() && (await isKnownTo(at, running, announced))) return;
  for (let told = "", isAsked = !isMember(); !signal.aborted && !(isAsked && isMember()); ) {
    try {
      const response = await fetchFrom(at, "/admin/members", tls, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ id: self, address, kind }),
        signal: AbortSignal.any([signal, AbortSignal.timeout(limits.requestWaitMs)]),
      });
      if (!response.ok) throw new Error(((await response.json()) as { message: string }).message);
      isAsked = true;
    } catch (error) {
      if (signal.aborted) return;
      const line = `cannot join by ${at} yet: ${messageOf(error)}`;
      if (line !== told) onEvent(line);
      told = line;
    }
    await pause(clock, 1_000, signal);
  }
}

/** A node that was removed while it was away still is a member by its own log. Whoever cannot be asked may agree. */
async function isKnownTo(
  at: string,
  { parts: { self } }: RunningNode,
  { secret, tls }: Announced,
): Promise<boolean> {
  const members = await joinCluster(at, secret, tls).catch(() => undefined);
  return members === undefined || members.some((member) => member.id === self);
}

async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const cancel = clock.after(ms, resolve);
    signal.addEventListener(
      "abort",
      () => {
        cancel();
        resolve();
      },
      { once: true },
    );
  });
}

function initialMembers(options: NodeOptions, address: string): Membership {
  if (options.join !== undefined || options.follow !== undefined) return [];
  const listed = options.cluster ?? [{ id: options.id, address, kind: options.kind ?? "voter" }];
  if (!listed.some((m) => m.id === options.id)) {
    throw new ClientError("BAD_REQUEST", `--cluster does not name this node, "${options.id}"`);
  }
  const members = listed.map(
    (m): Member => ({ id: nodeId(m.id), kind: m.kind ?? "voter", address: m.address }),
  );
  if (!members.some((m) => m.kind === "voter")) {
    throw new ClientError(
      "BAD_REQUEST",
      "a new cluster needs a data node that may lead; witnesses and learners enter one that exists, with --join",
    );
  }
  return members.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Nodes on one machine may do without a secret; across a network they may not. */
function secretOf(options: NodeOptions): string {
  if (options.secret !== undefined && options.secret !== "") return options.secret;
  const others = [...(options.cluster ?? []).map((m) => m.address), ...(options.follow ?? [])];
  if (options.join !== undefined) others.push(options.join);
  const hosts = [options.listen.host, ...others.map((other) => readAddress(other)?.host ?? other)];
  if (hosts.every(isLoopback)) return "paceline on loopback, without a secret";
  throw new ClientError(
    "BAD_REQUEST",
    "nodes that talk across a network need a secret: give every node the same --secret-file " +
      "or PACELINE_SECRET; make the file once, and copy it to the others: openssl rand -hex 32 > secret",
  );
}
