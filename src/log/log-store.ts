/**
 * The durable replication log: hard state, entries after a base, and the base itself, in one directory.
 *
 *   hard-state             term and vote (hard-state.ts)
 *   base                   what the log starts from, and its first segment (base-record.ts)
 *   000000000001.segment   entries (segment.ts); consecutive numbers, never used again once entries were in it
 *
 * Later beats earlier: a segment whose first LSN is not above what the segments before it hold replaces their entries
 * from there on. That is how a suffix is replaced: the new one begins a segment of its own, so nothing is overwritten,
 * the old suffix stays until the new one is durable, and after that it can never come back.
 *
 * Invariants
 *   1. what `persist` resolved for is on the disk; what memory shows (`last`, `hardState`, …) is on the disk
 *   2. the log is base, then entries without gaps, chained by hash
 *   3. after a failed write or sync nothing is attempted any more [sqlite-facts 5]
 *   4. the base record changes before any segment is removed, and is durable before any segment is removed
 *
 * Not here: when entries are committed or may be dropped (raft/, node/), a lock on the directory (node/), the
 * database (db/).
 */

import { assert } from "../base/assert.ts";
import { largeBodyBytes, summed } from "../base/body-sums.ts";
import { CorruptionError, messageOf, StorageError } from "../base/errors.ts";
import { chainHash } from "../base/hash.ts";
import type { Disk } from "../host/disk.ts";
import { limits } from "../limits.ts";
import { decodeMembership } from "../raft/membership.ts";
import type { HardState } from "../raft/ready.ts";
import { decodeSettings } from "../raft/rule/settings.ts";
import type { TermRun } from "../raft/term-runs.ts";
import type { Entry, EntryId, Lsn, SnapshotId, Term } from "../vocabulary.ts";
import { type BaseRecord, encodeBase } from "./base-record.ts";
import type { HardStateFile } from "./hard-state.ts";
import type { LogIndex, MembershipAt, SettingsAt } from "./log-index.ts";
import { basePath, type Recovered, recover, segmentPath } from "./recovery.ts";
import { Segment } from "./segment.ts";
import { readEntries, readRow, type Wanted } from "./segment-read.ts";
import { TailCache } from "./tail-cache.ts";

export type LogOptions = {
  /** A segment that has grown past this is followed by a new one. */
  readonly segmentBytesMax?: number;
  /** Bound of the entries kept in memory. */
  readonly cacheBytesMax?: number;
  /** Told, as a line for people, when a torn tail was cut or leftovers of a crash were removed. */
  readonly onRecovered?: (line: string) => void;
};

export class LogStore {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #segmentBytesMax: number;
  readonly #hardState: HardStateFile;
  readonly #index: LogIndex;
  readonly #cache: TailCache;
  /** Ascending by number, without gaps; the last one is written to. Empty when there are no entries. */
  readonly #segments: Segment[];
  /** Number of the next segment. */
  #nextNumber: number;
  /** Set by the first failure of a write; then nothing is done any more. */
  #failed: Error | undefined;
  #closed = false;
  /** Ends when all writing calls so far have ended: they run one after the other. */
  #turn: Promise<void> = Promise.resolve();
  #persisting = false;
  /** Reads under way. Segments that were dropped meanwhile are closed when there are none. */
  #reads = 0;
  #retired: Segment[] = [];

  private constructor(disk: Disk, dir: string, recovered: Recovered, options: LogOptions) {
    this.#disk = disk;
    this.#dir = dir;
    this.#segmentBytesMax = options.segmentBytesMax ?? limits.segmentBytesMax;
    this.#hardState = recovered.hardState;
    this.#index = recovered.index;
    this.#segments = recovered.segments;
    this.#nextNumber = recovered.nextNumber;
    this.#cache = new TailCache(options.cacheBytesMax ?? limits.logCacheBytesMax);
  }

  /**
   * Opens the log in `dir`, or makes one that starts from `initial`; an existing log has its own base.
   * Reads and checks every byte of it. When this resolves, everything it shows is durable.
   *
   * Throws CorruptionError, naming file and offset, for any damage that is not provably a torn tail.
   */
  static async open(
    disk: Disk,
    dir: string,
    initial: SnapshotId,
    options: LogOptions = {},
  ): Promise<LogStore> {
    const onRecovered = options.onRecovered ?? (() => {});
    return new LogStore(disk, dir, await recover(disk, dir, { initial, onRecovered }), options);
  }

  get base(): SnapshotId {
    return this.#index.base;
  }

  /** LSN of the first entry, there or not. */
  get firstLsn(): Lsn {
    return (this.#index.base.lsn + 1) as Lsn;
  }

  /** The last durable entry; the base if there is none. */
  get last(): EntryId {
    return this.#index.last;
  }

  get lastChain(): string {
    return this.#index.lastChain;
  }

  get hardState(): HardState {
    return this.#hardState.state;
  }

  /** Size of all segments. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** The first LSN of the oldest segment that begins within the last `bytes` of the log; what a byte cap keeps. */
  lsnAtBytesFromEnd(bytes: number): Lsn {
    let kept = 0;
    let from = (this.last.lsn + 1) as Lsn;
    for (const segment of this.#segments.toReversed()) {
      kept += segment.bytes;
      if (kept > bytes) break;
      from = segment.start.firstLsn;
    }
    return from;
  }

  /**
   * About how many bytes the entries after `lsn` take on disk. An entry that was replaced counts until its segment is
   * dropped; the part of a batch that `lsn` lies in is estimated.
   */
  bytesAfter(lsn: Lsn): number {
    if (lsn >= this.last.lsn) return 0;
    return Math.round(this.#segments.reduce((sum, segment) => sum + segment.bytesAfter(lsn), 0));
  }

  /** Terms of the entries after the base, as runs. */
  termRuns(): readonly TermRun[] {
    return [...this.#index.runs];
  }

  /** Memberships among the entries after the base. */
  memberships(): readonly MembershipAt[] {
    return [...this.#index.memberships];
  }

  /** Settings among the entries after the base. */
  settings(): readonly SettingsAt[] {
    return [...this.#index.settings];
  }

  /** Term of an entry from the base to the last one; undefined elsewhere. */
  termAt(lsn: Lsn): Term | undefined {
    return this.#index.termAt(lsn);
  }

  /**
   * Makes a step durable: hard state first (a file of its own), then all entries as one batch with one sync. When it
   * resolves, every promise that rests on them may be given.
   *
   * Entries replace everything stored from the first one's LSN on. The caller guarantees that nothing committed is
   * replaced; replacing the base is our bug and asserts [Raft §5.3]. Keeps references to the entries.
   *
   * Throws CorruptionError, before anything is written, when the first entry does not continue this log's chain.
   * Throws StorageError on any I/O failure, full disk included. The log is then of unknown content: the caller must
   * stop the node; all further calls are refused. One call at a time.
   *
   * Cost: one sync; two more when the hard state changed; three more when a segment begins.
   */
  async persist(step: {
    readonly hardState: HardState | undefined;
    readonly entries: readonly Entry[];
  }): Promise<void> {
    assert(!this.#persisting, "persist is called once at a time");
    this.#persisting = true;
    try {
      await this.#inTurn(async () => {
        const previous = await this.#chainBefore(step.entries);
        await this.#writing(async () => {
          if (step.hardState !== undefined) await this.#hardState.write(step.hardState);
          if (step.entries.length > 0) await this.#append(step.entries, previous);
        });
      });
    } finally {
      this.#persisting = false;
    }
  }

  /** Entries of [from, to) that are in memory, at least one, up to `bytesMax`; undefined when `from` is not. */
  cached(from: Lsn, to: Lsn, bytesMax: number): readonly Entry[] | undefined {
    return this.#cache.slice(from, to, bytesMax);
  }

  /**
   * Entries of [from, to) from memory or disk, without gaps, at least one and up to about `bytesMax`; fewer than
   * asked for is normal. Empty when `from` is not, or no longer, in the log. Calls may overlap with anything; entries
   * that are replaced or dropped meanwhile come as they were.
   *
   * Throws CorruptionError when the disk does not give back what was written.
   */
  async read(from: Lsn, to: Lsn, bytesMax: number): Promise<readonly Entry[]> {
    return await this.#reading(async () => {
      const cached = this.cached(from, to, bytesMax);
      if (cached !== undefined) return cached;
      const wanted: Wanted = { from, to: Math.min(to, this.last.lsn + 1) as Lsn, bytesMax };
      const segment = this.#segmentOf(from);
      if (segment === undefined || wanted.from >= wanted.to) return [];
      // What a later segment begins with or before replaces what this one holds from there on.
      const later = this.#segments.slice(this.#segments.indexOf(segment) + 1);
      const end = Math.min(wanted.to, ...later.map((other) => other.start.firstLsn)) as Lsn;
      return await readEntries(segment, { ...wanted, to: end });
    });
  }

  /** Chain of an entry from the base to the last one; undefined elsewhere. Errors as `read`. */
  async chainAt(lsn: Lsn): Promise<string | undefined> {
    return await this.#reading(async () => {
      if (lsn === this.base.lsn) return this.base.chain;
      if (lsn === this.last.lsn) return this.lastChain;
      const cached = this.cached(lsn, (lsn + 1) as Lsn, 0);
      if (cached !== undefined) return cached[0]!.chain;
      const segment = this.#segmentOf(lsn);
      return segment && (await readRow(segment, lsn))?.chain;
    });
  }

  /**
   * Drops entries below `lsn`, whole segments only, and gives the base afterwards: the same one if no segment could
   * go. A crash leaves the log with the old base or the new one. Errors as `persist`.
   */
  async dropBefore(lsn: Lsn): Promise<SnapshotId> {
    await this.#inTurn(async () => {
      const count = this.#droppableBefore(lsn);
      if (count === 0) return;
      const { number, firstLsn, previousTerm, previousChain } = this.#segments[count]!.start;
      const at = (firstLsn - 1) as Lsn;
      const membership = this.#index.membershipAt(at);
      const settings = this.#index.settingsAt(at);
      const snapshot = { lsn: at, term: previousTerm, chain: previousChain, membership, settings };
      await this.#writing(async () => {
        await this.#writeBase({ snapshot, firstSegment: number });
        this.#index.dropTo(snapshot);
        this.#cache.dropBefore(firstLsn);
        await this.#discard(this.#segments.splice(0, count));
      });
    });
    return this.base;
  }

  /**
   * Page sync has installed another image: the log is empty and starts after `base`. A crash leaves the old log as it
   * was, or this one. Hard state stays. Errors as `persist`.
   */
  async reset(base: SnapshotId): Promise<void> {
    await this.#inTurn(() =>
      this.#writing(async () => {
        await this.#writeBase({ snapshot: base, firstSegment: this.#nextNumber });
        this.#index.reset(base);
        this.#cache.clear();
        await this.#discard(this.#segments.splice(0));
      }),
    );
  }

  /** Waits for calls under way, seals the log and closes its files. Nothing may be called afterwards. */
  async close(): Promise<void> {
    if (this.#closed) return;
    const turn = this.#turn;
    this.#closed = true;
    await turn;
    try {
      if (this.#failed === undefined) await this.#segments.at(-1)?.seal();
    } finally {
      await this.#hardState.close();
      for (const segment of [...this.#segments, ...this.#retired]) await segment.close();
    }
  }

  /** Runs writing calls one after the other. */
  async #inTurn(work: () => Promise<void>): Promise<void> {
    this.#refuseIfOver();
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#turn = promise;
    await before;
    try {
      if (this.#failed !== undefined) this.#refuseIfOver();
      await work();
    } finally {
      resolve();
    }
  }

  /** Whatever fails in `work` leaves the disk in doubt, so it is the last thing this log does. */
  async #writing(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#failed = error instanceof Error ? error : new Error(messageOf(error));
      throw error;
    }
  }

  /** Keeps the files of dropped segments open while someone reads. */
  async #reading<T>(work: () => Promise<T>): Promise<T> {
    this.#refuseIfOver();
    this.#reads += 1;
    try {
      return await work();
    } catch (error) {
      if (error instanceof StorageError) this.#failed ??= error;
      throw error;
    } finally {
      this.#reads -= 1;
      if (this.#reads === 0) await this.#closeRetired();
    }
  }

  #refuseIfOver(): void {
    assert(!this.#closed, "the log is closed");
    if (this.#failed === undefined) return;
    throw new StorageError(
      `the log in ${this.#dir} refuses further work after an earlier failure; restart the node ` +
        `(first failure: ${messageOf(this.#failed)})`,
      { cause: this.#failed },
    );
  }

  /** Chain of the entry before the first of `entries`, which are checked to continue the log. */
  async #chainBefore(entries: readonly Entry[]): Promise<string> {
    const first = entries[0];
    if (first === undefined) return "";
    // All that follows asks for the sums of bodies.
    for (const { body } of entries) if (body.byteLength >= largeBodyBytes) await summed(body);
    assert(first.lsn > this.base.lsn, "what the base covers is never replaced");
    assert(first.lsn <= this.last.lsn + 1, "entries have no gaps");
    for (const [i, entry] of entries.entries()) {
      assert(entry.lsn === first.lsn + i, "entries have consecutive LSNs");
      assert(entry.term >= entries[Math.max(0, i - 1)]!.term, "terms never fall along the log");
      // Found out now rather than at the next start. Throws ProtocolError.
      if (entry.kind === "membership") decodeMembership(entry.body);
      if (entry.kind === "settings") decodeSettings(entry.body);
    }
    const before = (first.lsn - 1) as Lsn;
    assert(first.term >= this.termAt(before)!, "terms never fall along the log");
    const previous = (await this.chainAt(before))!;
    const expected = chainHash(previous, first);
    if (expected === first.chain) return previous;
    throw new CorruptionError(
      `entry ${first.lsn}@${first.term} does not continue the log in ${this.#dir}: ` +
        `its chain is ${first.chain}, after ${previous} it must be ${expected}`,
    );
  }

  async #append(entries: readonly Entry[], previousChain: string): Promise<void> {
    const firstLsn = entries[0]!.lsn;
    const replaces = firstLsn <= this.last.lsn;
    const current = this.#segments.at(-1);
    const fits = !replaces && current !== undefined && current.bytes < this.#segmentBytesMax;
    const segment = fits ? current : await this.#beginSegment(firstLsn, previousChain);
    await segment.append(entries);
    // Durable. From here on memory says so too, without a pause in between.
    if (segment !== current) this.#segments.push(segment);
    if (replaces) {
      this.#index.truncate(firstLsn, previousChain);
      this.#cache.truncate(firstLsn);
    }
    for (const entry of entries) {
      this.#index.append(entry, entry.chain);
      if (entry.kind === "membership") {
        this.#index.addMembership(entry.lsn, decodeMembership(entry.body));
      }
      if (entry.kind === "settings") {
        this.#index.addSettings(entry.lsn, decodeSettings(entry.body));
      }
    }
    this.#cache.push(entries);
  }

  async #beginSegment(firstLsn: Lsn, previousChain: string): Promise<Segment> {
    const number = this.#nextNumber;
    const previousTerm = this.termAt((firstLsn - 1) as Lsn)!;
    const start = { number, firstLsn, previousTerm, previousChain };
    const segment = await Segment.create(this.#disk, segmentPath(this.#dir, number), start);
    await this.#disk.syncDirectory(this.#dir);
    this.#nextNumber = number + 1;
    return segment;
  }

  async #writeBase(record: BaseRecord): Promise<void> {
    await this.#disk.replaceFile(basePath(this.#dir), encodeBase(record));
  }

  /** Removes segments that the base record no longer counts in. Recovery does it again if we do not get to it. */
  async #discard(segments: readonly Segment[]): Promise<void> {
    this.#retired.push(...segments);
    for (const segment of segments) await this.#disk.remove(segment.path);
    if (this.#reads === 0) await this.#closeRetired();
  }

  async #closeRetired(): Promise<void> {
    const retired = this.#retired;
    this.#retired = [];
    for (const segment of retired) await segment.close();
  }

  /** The segment that holds the entry that counts: the last one that begins at or before it. */
  #segmentOf(lsn: Lsn): Segment | undefined {
    if (lsn <= this.base.lsn || lsn > this.last.lsn) return undefined;
    return this.#segments.findLast((segment) => segment.start.firstLsn <= lsn);
  }

  /** How many segments hold nothing from `lsn` on that counts; never all of them. */
  #droppableBefore(lsn: Lsn): number {
    // Those behind it begin above `lsn`, so none of them replaces what this one begins with.
    return Math.max(
      0,
      this.#segments.findLastIndex(({ start }) => start.firstLsn <= lsn),
    );
  }
}
