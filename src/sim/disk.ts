/**
 * The simulated twin of host/disk.ts: files in memory, and a power cut that is as unkind as a real one.
 *
 *   content    written but not synced: on a power cut every 512-byte sector keeps its old bytes, gets the new ones, or
 *              a mix cut at any byte; sectors that were never on the disk may come up as zeros or as rubbish
 *   size       the old one, the new one, or anything in between
 *   names      created, renamed or removed, but the directory not synced: each one happened or not
 *   sync       a failed one marks the sectors clean without storing them: still read, until the power goes
 *
 * Every effect (anything that changes something) is counted and may be the last one, or fail. Between effects only
 * microtasks pass, so equal calls give equal stories.
 *
 * Simplified: `makeDirectory` is always durable, and removing a file that is open keeps its content for that handle
 * only until the crash, as on any Unix.
 */

import { dirname } from "node:path";
import { assert } from "../base/assert.ts";
import { StorageError } from "../base/errors.ts";
import type { Prng } from "../base/prng.ts";
import { type Disk, type DiskFile, readWhole, replaceWhole } from "../host/disk.ts";

const sectorBytes = 512;

export type Effect = {
  readonly kind: "create" | "write" | "truncate" | "sync" | "rename" | "remove" | "sync-directory";
  readonly path: string;
};

/** How an effect fails: EIO does nothing; ENOSPC writes a part; "power" is the moment of the power cut. */
export type Fault = "EIO" | "ENOSPC" | "power";

type Inode = {
  /** What reads give. */
  content: Uint8Array;
  /** What a power cut cannot take. */
  durable: Uint8Array;
  /** Sectors that differ, as far as the kernel knows. */
  readonly dirty: Set<number>;
};

type NameChange = {
  readonly directory: string;
  readonly removed: string | undefined;
  readonly added: { readonly path: string; readonly inode: Inode } | undefined;
};

export class SimDisk implements Disk {
  /** Asked before every effect; what it says happens to it. For tests to set. */
  faultOf: (effect: Effect, index: number) => Fault | undefined = () => undefined;
  /** Effects so far. */
  effects = 0;
  readonly #directories = new Set<string>(["/", "."]);
  /** Names as programs see them, and as a power cut would find them. */
  #names = new Map<string, Inode>();
  #durableNames = new Map<string, Inode>();
  #pending: NameChange[] = [];
  /** Rises with every crash: handles of an earlier life are dead. */
  #life = 0;
  #power = true;

  /** Power fails: what was not synced is decided by `prng`. Open files are dead, the disk may be used again. */
  crash(prng: Prng): void {
    for (const change of this.#pending) if (prng.chance(0.5)) apply(change, this.#durableNames);
    this.#names = new Map(this.#durableNames);
    for (const inode of new Set(this.#names.values())) tear(inode, prng);
    this.#pending = [];
    this.#restart();
  }

  /** The process dies, the kernel lives: nothing is lost, nothing becomes durable. */
  kill(): void {
    this.#restart();
  }

  /** The same disk again, at rest, to try several endings. Handles and faults stay with this one. */
  fork(): SimDisk {
    const twin = new SimDisk();
    const inodes = new Map<Inode, Inode>();
    const copy = (inode: Inode): Inode => {
      const { content, durable, dirty } = inode;
      const made = inodes.get(inode) ?? {
        content: content.slice(),
        durable: durable.slice(),
        dirty: new Set(dirty),
      };
      inodes.set(inode, made);
      return made;
    };
    for (const path of this.#directories) twin.#directories.add(path);
    for (const [path, inode] of this.#names) twin.#names.set(path, copy(inode));
    for (const [path, inode] of this.#durableNames) twin.#durableNames.set(path, copy(inode));
    twin.#pending = this.#pending.map((change) => ({
      ...change,
      added: change.added && { path: change.added.path, inode: copy(change.added.inode) },
    }));
    return twin;
  }

  /** Nothing is written that is not synced. */
  get isAtRest(): boolean {
    return [...this.#names.values()].every(({ dirty }) => dirty.size === 0);
  }

  /** Files whose content is on the disk as it is read, sorted, with their sizes. */
  atRest(): { readonly path: string; readonly bytes: number }[] {
    return [...this.#names]
      .filter(([, inode]) => inode.dirty.size === 0)
      .map(([path, inode]) => ({ path, bytes: inode.content.byteLength }))
      .sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  /** Content rots or is cut behind everyone's back: what is stored and what is read change alike. */
  damage(path: string, change: (bytes: Uint8Array) => Uint8Array): void {
    const inode = this.#inode(path);
    assert(inode.dirty.size === 0, "damage is done to files at rest");
    inode.content = change(inode.content.slice());
    inode.durable = inode.content.slice();
  }

  async open(path: string, mode: "open" | "create"): Promise<DiskFile> {
    let inode = this.#names.get(path);
    if (mode === "create") {
      this.#effect({ kind: "create", path });
      if (!this.#directories.has(dirname(path))) throw failure("ENOENT", "create", path);
      if (inode !== undefined) resize(inode, 0);
      else {
        inode = { content: new Uint8Array(0), durable: new Uint8Array(0), dirty: new Set() };
        this.#rename(undefined, { path, inode });
      }
    }
    if (inode === undefined) throw failure("ENOENT", "open", path);
    return this.#handle(path, inode);
  }

  async exists(path: string): Promise<boolean> {
    return this.#names.has(path) || this.#directories.has(path);
  }

  async list(path: string): Promise<string[]> {
    const names = [...this.#names.keys(), ...this.#directories];
    const inside = names.filter((name) => name !== path && dirname(name) === path);
    return inside.map((name) => name.slice(path.length + 1)).sort();
  }

  async makeDirectory(path: string): Promise<void> {
    for (let at = path; !this.#directories.has(at); at = dirname(at)) this.#directories.add(at);
  }

  async rename(from: string, to: string): Promise<void> {
    this.#effect({ kind: "rename", path: to });
    this.#rename(from, { path: to, inode: this.#inode(from) });
  }

  async remove(path: string): Promise<void> {
    if (!this.#names.has(path)) return;
    this.#effect({ kind: "remove", path });
    this.#rename(path, undefined);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#effect({ kind: "sync-directory", path });
    for (const change of this.#pending) {
      if (change.directory === path) apply(change, this.#durableNames);
    }
    this.#pending = this.#pending.filter((change) => change.directory !== path);
  }

  readFile(path: string): Promise<Uint8Array> {
    return readWhole(this, path);
  }

  replaceFile(path: string, bytes: Uint8Array): Promise<void> {
    return replaceWhole(this, path, bytes);
  }

  #handle(path: string, inode: Inode): DiskFile {
    const life = this.#life;
    let closed = false;
    const check = () => {
      assert(!closed, `${path} is used after it was closed`);
      if (life !== this.#life || !this.#power) throw failure("EIO", "use", path);
    };
    return {
      path,
      read: async (offset, length) => {
        check();
        return inode.content.slice(offset, offset + length);
      },
      write: async (offset, parts) => {
        check();
        const bytes = joined(parts);
        const fault = this.#faultOf({ kind: "write", path });
        const taken = fault === undefined ? bytes.byteLength : bytes.byteLength >>> 1;
        if (fault !== "EIO") overwrite(inode, offset, bytes.subarray(0, taken));
        if (fault !== undefined) throw failure(fault, "write", path);
      },
      truncate: async (size) => {
        check();
        this.#effect({ kind: "truncate", path });
        resize(inode, size);
      },
      size: async () => {
        check();
        return inode.content.byteLength;
      },
      syncData: async () => {
        check();
        const fault = this.#faultOf({ kind: "sync", path });
        if (fault === undefined) inode.durable = stored(inode);
        if (fault !== "power") inode.dirty.clear();
        if (fault !== undefined) throw failure(fault, "sync", path);
      },
      close: async () => {
        closed = true;
      },
    };
  }

  #effect(effect: Effect): void {
    const fault = this.#faultOf(effect);
    if (fault !== undefined) throw failure(fault, effect.kind, effect.path);
  }

  #faultOf(effect: Effect): Fault | undefined {
    if (!this.#power) return "power";
    const fault = this.faultOf(effect, this.effects);
    this.effects += 1;
    if (fault === "power") this.#power = false;
    return fault;
  }

  #rename(removed: string | undefined, added: NameChange["added"]): void {
    const directory = dirname(removed ?? added!.path);
    const change = { directory, removed, added };
    apply(change, this.#names);
    this.#pending.push(change);
  }

  #inode(path: string): Inode {
    const inode = this.#names.get(path);
    if (inode === undefined) throw failure("ENOENT", "open", path);
    return inode;
  }

  #restart(): void {
    this.#life += 1;
    this.#power = true;
    this.faultOf = () => undefined;
  }
}

function apply({ removed, added }: NameChange, names: Map<string, Inode>): void {
  if (removed !== undefined) names.delete(removed);
  if (added !== undefined) names.set(added.path, added.inode);
}

function overwrite(inode: Inode, offset: number, bytes: Uint8Array): void {
  if (bytes.byteLength === 0) return;
  const end = offset + bytes.byteLength;
  if (end > inode.content.byteLength) resize(inode, end);
  inode.content.set(bytes, offset);
  markDirty(inode, offset, end);
}

function resize(inode: Inode, size: number): void {
  const before = inode.content.byteLength;
  const content = new Uint8Array(size);
  content.set(inode.content.subarray(0, size));
  inode.content = content;
  markDirty(inode, Math.min(before, size), Math.max(before, size));
}

function markDirty(inode: Inode, from: number, to: number): void {
  const first = Math.floor(from / sectorBytes);
  for (let sector = first; sector * sectorBytes < to; sector++) inode.dirty.add(sector);
}

/** What a successful sync leaves: dirty sectors as they are, clean ones as the disk has them. */
function stored(inode: Inode): Uint8Array {
  const bytes = inode.content.slice();
  for (let from = 0; from < bytes.byteLength; from += sectorBytes) {
    if (inode.dirty.has(from / sectorBytes)) continue;
    const to = Math.min(from + sectorBytes, bytes.byteLength);
    bytes.fill(0, from, to);
    bytes.set(inode.durable.subarray(from, to), from);
  }
  return bytes;
}

/** What a power cut leaves of a file. */
function tear(inode: Inode, prng: Prng): void {
  const { content, durable, dirty } = inode;
  const sizes = [durable.byteLength, content.byteLength].sort((a, b) => a - b) as [number, number];
  const size = prng.chance(0.5) ? sizes[prng.integer(0, 2)]! : prng.integer(sizes[0], sizes[1] + 1);
  const bytes = new Uint8Array(size);
  bytes.set(durable.subarray(0, size));
  for (const sector of dirty) {
    const from = sector * sectorBytes;
    const fresh = content.subarray(from, Math.min(from + sectorBytes, size));
    const fate = prng.integer(0, 5);
    if (fate === 0) bytes.set(fresh, Math.min(from, size));
    const cut = cutOf(fresh, durable.subarray(from, from + sectorBytes), prng);
    if (fate === 1) bytes.set(fresh.subarray(0, cut), Math.min(from, size));
    if (fate === 3) bytes.set(fresh.subarray(cut), Math.min(from + cut, size));
    if (fate === 2 && from >= durable.byteLength) {
      for (let at = from; at < Math.min(from + sectorBytes, size); at++)
        bytes[at] = prng.integer(0, 256);
    }
  }
  inode.content = bytes;
  inode.durable = bytes.slice();
  dirty.clear();
}

/** Where a torn sector changes from one content to the other: half the time within what differs. */
function cutOf(fresh: Uint8Array, old: Uint8Array, prng: Prng): number {
  if (prng.chance(0.5)) return prng.integer(0, fresh.byteLength + 1);
  const differs = (byte: number, i: number) => byte !== (old[i] ?? 0);
  return prng.integer(fresh.findIndex(differs), fresh.findLastIndex(differs) + 1) + 1;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}

function failure(fault: Fault | "ENOENT", verb: string, path: string): StorageError {
  return new StorageError(`cannot ${verb} ${path}: ${fault === "power" ? "power is off" : fault}`);
}
