/**
 * Who this data directory is: `identity.json`, written by temp file, fsync and rename.
 *
 *   format     version of the data directory, now 1; a newer one is refused
 *   nodeId     name of the node; a directory is never used under another name
 *   instance   random, made with the directory: two directories that claim one node id are told apart by it
 *   witness    this directory has a log and never a database; absent in a node that has one
 *   clusterId  random, made with the cluster (genesis entry); undefined until this node has seen a commit
 *   joining    the cluster that it was told to join: address of a member, and the kind; until clusterId is known. So a
 *              node that ended before it had anything of that cluster never begins one of its own
 *
 * Not here: term and vote (log/), position of the database (the database itself).
 */

import { ClientError, CorruptionError } from "../base/errors.ts";
import type { Disk } from "../host/disk.ts";
import { type MemberKind, memberKinds, type NodeId, nodeIdPattern } from "../vocabulary.ts";

export const directoryFormat = 1;

type Record1 = {
  readonly format: 1;
  readonly nodeId: string;
  readonly instance: string;
  readonly clusterId: string | undefined;
  readonly witness?: boolean | undefined;
  readonly joining?: Joining | undefined;
};

/** What a node was told that joins a cluster: `host:port` of a member, and as what; undefined: as a voter. */
export type Joining = { readonly at: string; readonly kind?: MemberKind | undefined };

/** Who opens a directory, and as what. `witness` undefined: whatever it is, and a data node if it is new. */
export type Claim = {
  readonly id: NodeId;
  readonly witness: boolean | undefined;
  readonly joining?: Joining | undefined;
};

export class Identity {
  readonly #disk: Disk;
  readonly #path: string;
  #record: Record1;

  private constructor(disk: Disk, path: string, record: Record1) {
    this.#disk = disk;
    this.#path = path;
    this.#record = record;
  }

  /** Reads the directory's identity or gives it one. Throws ClientError when it belongs to another node. */
  static async open(
    disk: Disk,
    dir: string,
    { id, witness, joining }: Claim,
    randomHex: (bytes: number) => string,
  ): Promise<Identity> {
    const path = `${dir}/identity.json`;
    await disk.makeDirectory(dir);
    const bytes = (await disk.exists(path)) ? await disk.readFile(path) : undefined;
    if (bytes === undefined) {
      const instance = randomHex(8);
      const made = new Identity(disk, path, {
        format: 1,
        nodeId: id,
        instance,
        clusterId: undefined,
        witness: witness === true ? true : undefined,
        joining,
      });
      await made.#write();
      return made;
    }
    // Its name may be in the kernel's cache only, left there by a sync that failed before the last process ended.
    await disk.syncDirectory(dir);
    const record = parseRecord(bytes, path);
    if (record.nodeId !== id) {
      throw new ClientError(
        "BAD_REQUEST",
        `${dir} belongs to node "${record.nodeId}", not "${id}"; ` +
          `start it with --id ${record.nodeId}, or give --dir an empty directory`,
      );
    }
    const isWitness = record.witness === true;
    if (witness !== undefined && witness !== isWitness) {
      throw new ClientError(
        "BAD_REQUEST",
        `${dir} is the directory of a ${isWitness ? "witness" : "node with a database"}, and it was started as the ` +
          "other; a node that shall change its kind is removed and joins again with an empty --dir",
      );
    }
    const identity = new Identity(disk, path, record);
    await identity.#rejoin(joining);
    return identity;
  }

  /** A witness: it votes and keeps the recent log, and has no database. */
  get witness(): boolean {
    return this.#record.witness === true;
  }

  get instance(): string {
    return this.#record.instance;
  }

  get clusterId(): string | undefined {
    return this.#record.clusterId;
  }

  /** What it was told to join and knows nothing of yet. */
  get joining(): Joining | undefined {
    return this.#record.joining;
  }

  /** Told to join before it has anything of a cluster: this is what counts now. */
  async #rejoin(joining: Joining | undefined): Promise<void> {
    const before = this.#record;
    if (joining === undefined || before.clusterId !== undefined) return;
    if (before.joining?.at === joining.at && before.joining.kind === joining.kind) return;
    this.#record = { ...before, joining };
    await this.#write();
  }

  /** Durable when it resolves. Once given, the cluster id never changes. */
  async adopt(clusterId: string): Promise<void> {
    if (this.#record.clusterId === clusterId) return;
    if (this.#record.clusterId !== undefined) {
      throw new CorruptionError(
        `this directory belongs to cluster ${this.#record.clusterId}, not to ${clusterId}`,
      );
    }
    this.#record = { ...this.#record, clusterId, joining: undefined };
    await this.#write();
  }

  async #write(): Promise<void> {
    const text = `${JSON.stringify(this.#record, undefined, 2)}\n`;
    await this.#disk.replaceFile(this.#path, new TextEncoder().encode(text));
  }
}

function parseRecord(bytes: Uint8Array, path: string): Record1 {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new CorruptionError(`${path} is not JSON; move the directory aside and join anew`, {
      cause,
    });
  }
  const record = (value ?? {}) as Partial<Record<keyof Record1, unknown>>;
  if (typeof record.format === "number" && record.format > directoryFormat) {
    throw new ClientError(
      "BAD_REQUEST",
      `${path} has format ${record.format}, this version knows up to ${directoryFormat}; ` +
        "start the newer version again",
    );
  }
  if (
    record.format !== 1 ||
    typeof record.nodeId !== "string" ||
    !nodeIdPattern.test(record.nodeId) ||
    typeof record.instance !== "string" ||
    record.instance === "" ||
    !["string", "undefined"].includes(typeof record.clusterId) ||
    !["boolean", "undefined"].includes(typeof record.witness) ||
    !isJoining(record.joining)
  ) {
    throw new CorruptionError(`${path} lacks its fields; move the directory aside and join anew`);
  }
  const clusterId = typeof record.clusterId === "string" ? record.clusterId : undefined;
  const witness = record.witness === true ? true : undefined;
  const joining = record.joining as Joining | undefined;
  return {
    format: 1,
    nodeId: record.nodeId,
    instance: record.instance,
    clusterId,
    witness,
    joining,
  };
}

function isJoining(value: unknown): boolean {
  if (value === undefined) return true;
  if (typeof value !== "object" || value === null) return false;
  const { at, kind } = value as Partial<Record<keyof Joining, unknown>>;
  if (typeof at !== "string" || at === "") return false;
  return kind === undefined || memberKinds.includes(kind as MemberKind);
}
