/**
 * What this node had in its log and the cluster lost: `discarded/<term>-<lsn>/`, named after the first entry. Only an
 * asynchronous cluster makes any (raft/rule/commit-rule.ts).
 *
 *   statements.jsonl   the SQL with its arguments, one JSON object per line, in order
 *   changes.jsonl      the rows that changed, before and after, one JSON object per line, in order
 *   entries.bin        the entries as they were: for each, length of its header u32, header as JSON { lsn, term, kind,
 *                      chain, bytes, crc32 }, body
 *   manifest.json      what is in the others; written last, so that a directory without it is not complete
 *
 * All of it is durable when `keep` resolves; only then may the log and the database let go of it.
 *
 * Not here: when (keeping.ts), what an entry says (contents.ts), putting it back (cli/discarded/).
 */

import { crc32 } from "node:zlib";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import type { Disk, DiskFile } from "../../host/disk.ts";
import { limits } from "../../limits.ts";
import type { LogStore } from "../../log/log-store.ts";
import {
  type Entry,
  type EntryId,
  formatPosition,
  type Lsn,
  type NodeId,
  type Term,
} from "../../vocabulary.ts";
import { contentsOf } from "./contents.ts";

/** What one directory holds. */
export type DiscardedManifest = {
  readonly format: 1;
  /** Name of the directory: `<term>-<lsn>` of the first entry. */
  readonly name: string;
  readonly node: NodeId;
  readonly clusterId: string | undefined;
  /** Positions, both included. */
  readonly from: string;
  readonly to: string;
  /** Entries that changed the database. */
  readonly entries: number;
  /** Lines of the files. */
  readonly statements: number;
  readonly changes: number;
  /** Positions of entries that say only which pages they changed: no SQL can be shown for them. */
  readonly pagesOnly: readonly string[];
  /** Whether the cluster has some of these all the same can no longer be told: its log does not reach back to them. */
  readonly maybe: boolean;
  /** Wall clock of this node. */
  readonly discardedAtMs: number;
};

export type DiscardedContents = {
  readonly manifest: DiscardedManifest;
  readonly statements: readonly unknown[];
  readonly changes: readonly unknown[];
};

/** Of this run of lost entries. */
export type Lost = {
  readonly from: Lsn;
  readonly to: Lsn;
  readonly node: NodeId;
  readonly clusterId: string | undefined;
  readonly maybe: boolean;
  readonly nowWallMs: number;
};

export const discardedName: RegExp = /^[0-9]{1,16}-[0-9]{1,16}$/;

export class DiscardedStore {
  readonly #disk: Disk;
  readonly #dir: string;
  #manifests: readonly DiscardedManifest[];

  private constructor(disk: Disk, dir: string, manifests: readonly DiscardedManifest[]) {
    this.#disk = disk;
    this.#dir = dir;
    this.#manifests = manifests;
  }

  /**
   * Of the data directory `dataDir`. Changes nothing there. What cannot be read is told and left alone: it is there for
   * people, and no reason for a node not to start.
   */
  static async open(
    disk: Disk,
    dataDir: string,
    onEvent: (line: string) => void = () => {},
  ): Promise<DiscardedStore> {
    const dir = `${dataDir}/discarded`;
    const names = (await disk.exists(dir)) ? await disk.list(dir) : [];
    const manifests: DiscardedManifest[] = [];
    for (const name of names.filter((each) => discardedName.test(each))) {
      const path = `${dir}/${name}/manifest.json`;
      if (!(await disk.exists(path))) continue;
      try {
        manifests.push(parseManifest(await disk.readFile(path), path));
      } catch (error) {
        onEvent(`what was discarded under ${name} is not listed: ${messageOf(error)}`);
      }
    }
    return new DiscardedStore(disk, dir, manifests);
  }

  /** In the order of their names. */
  list(): readonly DiscardedManifest[] {
    return this.#manifests;
  }

  /**
   * DiscardedContents as JSON, in pieces of a bounded size: they may be larger than memory, and nobody here looks into
   * them. Undefined when there is none of that name.
   */
  read(name: string): AsyncIterable<Uint8Array> | undefined {
    const manifest = this.#manifests.find((each) => each.name === name);
    return manifest === undefined ? undefined : this.#contents(manifest);
  }

  async *#contents(manifest: DiscardedManifest): AsyncIterable<Uint8Array> {
    const encoder = new TextEncoder();
    yield encoder.encode(`{"manifest":${JSON.stringify(manifest)}`);
    for (const what of ["statements", "changes"] as const) {
      yield encoder.encode(`,"${what}":[`);
      yield* joinedLines(this.#disk, `${this.#dir}/${manifest.name}/${what}.jsonl`);
      yield encoder.encode("]");
    }
    yield encoder.encode("}");
  }

  /**
   * Keeps entries of `log`, durable when it resolves. Undefined when none of them changed the database. Doing it again
   * replaces what was there. Throws StorageError.
   */
  async keep(log: LogStore, lost: Lost): Promise<DiscardedManifest | undefined> {
    const first = await firstPayload(log, lost);
    if (first === undefined) return undefined;
    const name = `${first.term}-${first.lsn}`;
    const dir = `${this.#dir}/${name}`;
    await this.#disk.makeDirectory(dir);
    const files = {
      statements: await Lines.create(this.#disk, `${dir}/statements.jsonl`),
      changes: await Lines.create(this.#disk, `${dir}/changes.jsonl`),
      entries: await Lines.create(this.#disk, `${dir}/entries.bin`),
    };
    const pagesOnly: string[] = [];
    let entries = 0;
    let last: EntryId = first;
    await eachEntry(log, lost, async (entry) => {
      if (entry.kind !== "payload") return;
      entries++;
      last = entry;
      await files.entries.add([entryBytes(entry)]);
      const contents = contentsOf(entry);
      if (contents === undefined) pagesOnly.push(formatPosition(entry));
      await files.statements.add((contents?.statements ?? []).map(jsonLine));
      await files.changes.add((contents?.changes ?? []).map(jsonLine));
    });
    for (const file of Object.values(files)) await file.finish();
    const manifest: DiscardedManifest = {
      format: 1,
      name,
      node: lost.node,
      clusterId: lost.clusterId,
      from: formatPosition(first),
      to: formatPosition(last),
      entries,
      statements: files.statements.count,
      changes: files.changes.count,
      pagesOnly,
      maybe: lost.maybe,
      discardedAtMs: lost.nowWallMs,
    };
    const text = `${JSON.stringify(manifest, undefined, 2)}\n`;
    await this.#disk.replaceFile(`${dir}/manifest.json`, new TextEncoder().encode(text));
    await this.#disk.syncDirectory(this.#dir);
    const others = this.#manifests.filter((each) => each.name !== name);
    this.#manifests = [...others, manifest].sort((a, b) => (a.name < b.name ? -1 : 1));
    return manifest;
  }
}

const pieceBytes = 256 * 1024;
const newline = 0x0a;
const comma = 0x2c;

/** Lines of JSON as the inside of an array. */
async function* joinedLines(disk: Disk, path: string): AsyncIterable<Uint8Array> {
  const file = await disk.open(path, "open");
  try {
    const size = await file.size();
    for (let at = 0; at < size; ) {
      const piece = await file.read(at, Math.min(pieceBytes, size - at));
      if (piece.byteLength === 0) return;
      at += piece.byteLength;
      const ends = at === size && piece.at(-1) === newline;
      const lines = ends ? piece.subarray(0, -1) : piece;
      yield lines.map((byte) => (byte === newline ? comma : byte));
    }
  } finally {
    await file.close();
  }
}

/** A file that grows by whole lines. */
class Lines {
  readonly #file: DiskFile;
  #bytes = 0;
  count = 0;

  private constructor(file: DiskFile) {
    this.#file = file;
  }

  static async create(disk: Disk, path: string): Promise<Lines> {
    return new Lines(await disk.open(path, "create"));
  }

  async add(lines: readonly Uint8Array[]): Promise<void> {
    if (lines.length === 0) return;
    await this.#file.write(this.#bytes, lines);
    for (const line of lines) this.#bytes += line.byteLength;
    this.count += lines.length;
  }

  async finish(): Promise<void> {
    await this.#file.syncData();
    await this.#file.close();
  }
}

function jsonLine(value: unknown): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

function entryBytes({ lsn, term, kind, chain, body }: Entry): Uint8Array {
  const head = { lsn, term, kind, chain, bytes: body.byteLength, crc32: crc32(body) };
  const text = new TextEncoder().encode(JSON.stringify(head));
  const bytes = new Uint8Array(4 + text.byteLength + body.byteLength);
  new DataView(bytes.buffer).setUint32(0, text.byteLength);
  bytes.set(text, 4);
  bytes.set(body, 4 + text.byteLength);
  return bytes;
}

async function firstPayload(log: LogStore, lost: Lost): Promise<EntryId | undefined> {
  let found: { lsn: Lsn; term: Term } | undefined;
  await eachEntry(log, lost, async (entry) => {
    if (entry.kind === "payload") found ??= { lsn: entry.lsn, term: entry.term };
  });
  return found;
}

/** Entries in order, a bounded number of bytes at a time. */
async function eachEntry(
  log: LogStore,
  { from, to }: Lost,
  work: (entry: Entry) => Promise<void>,
): Promise<void> {
  for (let at = from; at <= to; ) {
    const entries = await log.read(at, (to + 1) as Lsn, limits.appendBytesMax);
    if (entries.length === 0) throw new CorruptionError(`the log lacks entry ${at}`);
    for (const entry of entries) await work(entry);
    at = (entries.at(-1)!.lsn + 1) as Lsn;
  }
}

function parseManifest(bytes: Uint8Array, path: string): DiscardedManifest {
  let value: Partial<DiscardedManifest>;
  try {
    value = JSON.parse(new TextDecoder().decode(bytes)) as Partial<DiscardedManifest>;
  } catch (cause) {
    throw new CorruptionError(`${path} is not JSON: ${messageOf(cause)}`, { cause });
  }
  if (value?.format !== 1) throw new CorruptionError(`${path} has format ${value?.format}`);
  if (value.name === undefined || !discardedName.test(value.name)) {
    throw new CorruptionError(`${path} lacks its name`);
  }
  return value as DiscardedManifest;
}
