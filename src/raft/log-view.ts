/**
 * What the core knows of its log: identities, not contents. Terms as runs, the end, the memberships, which part is
 * durable and which is committed, and the entries that the driver has not yet been given.
 *
 * Invariants, checked at every change:
 *   1. base.lsn <= committedLsn <= last.lsn, and base.lsn <= durableLsn <= last.lsn. safeLsn <= last.lsn.
 *   2. safeLsn never falls, and nothing at or below it is ever replaced [Raft §5.4, State Machine Safety].
 *   3. LSNs have no gaps and terms never fall along the log [Raft §5.3].
 *   4. `durableLsn` counts only entries whose bytes are on this disk *as they are in this log now*: an fsync of
 *      entries that were replaced meanwhile counts up to the replacement.
 *
 * Two commit marks (rule/commit-rule.ts): what is *safe* no election loses; what is *committed* is applied. Unless the
 * commit rule is a weak one, everything committed is safe, and the committed mark never falls; by a weak rule an
 * election may drop committed entries, and then it falls, once, by `yieldFrom`.
 *
 * The commit mark may run ahead of the durable mark: a majority of other disks is a majority. Entry bodies are
 * shared, never copied, and let go of once handed to the driver.
 */

import { assert } from "../base/assert.ts";
import {
  type Entry,
  type EntryId,
  formatPosition,
  type Lsn,
  lsn,
  type Membership,
  type Settings,
  type SnapshotId,
  type Term,
} from "../vocabulary.ts";
import { decodeMembership } from "./membership.ts";
import type { RaftConfig } from "./ready.ts";
import { isWeak } from "./rule/commit-rule.ts";
import { decodeSettings } from "./rule/settings.ts";
import { TermRuns } from "./term-runs.ts";

/** Sizes of this many latest entries are remembered; also the most entries that may be uncommitted. */
export const entriesSizedMax = 8192;
/** What an entry costs on the wire beside its body: header, checksum, chain. Generous. */
const entryOverheadBytes = 64;

export class LogView {
  /** The entry before the first one we know. */
  #base: SnapshotId;
  readonly #runs: TermRuns;
  #last: EntryId;
  #lastChain: string;
  /** Ascending by lsn; the first is the base's. The last is in force, committed or not [Raft §6]. */
  #memberships: { readonly lsn: Lsn; readonly membership: Membership }[];
  /** Ascending by lsn; the first is the base's. In force is the latest that is committed. */
  #settings: { readonly lsn: Lsn; readonly settings: Settings }[];
  #committedLsn: Lsn;
  /** On a majority, as far as this node knows: what it forgot at a restart it learns again. May be below the base. */
  #safeLsn: Lsn;
  /** Entries from here on may be replaced although a weak rule committed them: what they say has been kept. */
  #yieldedFrom: Lsn | undefined;
  /** Where the database of a new cluster stands, if this process has seen it appended. */
  #genesisLsn: Lsn = lsn(0);
  #durableLsn: Lsn;
  /** Appended since the last `takeUnstable`; consecutive, ending at `last`. */
  #unstable: Entry[] = [];
  /** Ring of entry sizes, indexed by lsn; valid within (max(#sizedAfter, last - ring length), last]. */
  readonly #sizes = new Uint32Array(entriesSizedMax);
  #sizedAfter: Lsn;

  constructor(config: RaftConfig) {
    this.#base = config.base;
    this.#runs = new TermRuns(config.termRuns);
    this.#last = config.last;
    this.#lastChain = config.lastChain;
    this.#memberships = [
      { lsn: config.base.lsn, membership: config.base.membership },
      ...config.memberships,
    ];
    this.#settings = [
      { lsn: config.base.lsn, settings: config.base.settings },
      ...(config.settings ?? []),
    ];
    this.#committedLsn = lsn(Math.max(config.committedLsn, config.base.lsn));
    this.#safeLsn = this.#surelySafe();
    this.#durableLsn = config.last.lsn;
    this.#sizedAfter = config.last.lsn;
    assert(this.termAt(this.#last.lsn) === this.#last.term, "term runs and last entry disagree");
    this.#assertValid();
  }

  get base(): SnapshotId {
    return this.#base;
  }
  get last(): EntryId {
    return this.#last;
  }
  get lastChain(): string {
    return this.#lastChain;
  }
  get committedLsn(): Lsn {
    return this.#committedLsn;
  }
  get safeLsn(): Lsn {
    return this.#safeLsn;
  }
  get durableLsn(): Lsn {
    return this.#durableLsn;
  }
  /** The latest membership in the log, whether committed or not. */
  get membership(): Membership {
    return this.#memberships.at(-1)!.membership;
  }
  /** The latest membership, and while that is not known to be committed also the one before. */
  relevantMemberships(): readonly Membership[] {
    const n = this.membershipLsn > this.#safeLsn ? 2 : 1;
    return this.#memberships.slice(-n).map((m) => m.membership);
  }
  /** Where the latest membership stands. */
  get membershipLsn(): Lsn {
    return this.#memberships.at(-1)!.lsn;
  }

  /** The settings in force. */
  get settings(): Settings {
    return this.#settingsAt(lsn(Math.max(this.#committedLsn, this.#safeLsn)));
  }
  /** In force here, or already in force where more is known to be committed. */
  possibleSettings(): readonly Settings[] {
    const known = Math.max(this.#committedLsn, this.#safeLsn);
    return [this.settings, ...this.#settings.filter((s) => s.lsn > known).map((s) => s.settings)];
  }
  /** Where the latest settings stand, in force or not. */
  get settingsLsn(): Lsn {
    return this.#settings.at(-1)!.lsn;
  }

  /** Undefined below the base and beyond the end. */
  termAt(at: Lsn): Term | undefined {
    if (at === this.#base.lsn) return this.#base.term;
    if (at < this.#base.lsn || at > this.#last.lsn) return undefined;
    return this.#runs.termAt(at);
  }

  /** The highest entry up to `at` whose term is at most `term`. Undefined when it would lie below the base. */
  highestWithin(at: Lsn, term: Term): EntryId | undefined {
    const capped = at > this.#last.lsn ? this.#last.lsn : at;
    if (capped < this.#base.lsn) return undefined;
    const found = this.#runs.highestWithin(capped, term) ?? this.#base.lsn;
    const foundTerm = this.termAt(found)!;
    return foundTerm <= term ? { lsn: found, term: foundTerm } : undefined;
  }

  /** Whether a log that ends with `theirs` is at least as up to date as this one [Raft §5.4.1]. */
  isAtMost(theirs: EntryId): boolean {
    const { lsn: at, term } = this.#last;
    return theirs.term > term || (theirs.term === term && theirs.lsn >= at);
  }

  /** Adds an entry at the end. */
  append(entry: Entry): void {
    const { last } = this;
    assert(entry.lsn === last.lsn + 1, `entry ${entry.lsn} after ${last.lsn} leaves a gap`);
    assert(entry.term >= last.term, `entry of term ${entry.term} after one of ${last.term}`);
    this.#runs.append(entry.lsn, entry.term);
    this.#last = { lsn: entry.lsn, term: entry.term };
    this.#lastChain = entry.chain;
    this.#unstable.push(entry);
    this.#sizes[entry.lsn % entriesSizedMax] = entry.body.byteLength + entryOverheadBytes;
    if (entry.kind === "membership") {
      this.#memberships.push({ lsn: entry.lsn, membership: decodeMembership(entry.body) });
    } else if (entry.kind === "settings") {
      this.#settings.push({ lsn: entry.lsn, settings: decodeSettings(entry.body) });
    } else if (entry.kind === "genesis") {
      this.#genesisLsn = entry.lsn;
    }
  }

  /**
   * Removes everything from `replacement.lsn` on and puts `replacement` there. Truncation without a replacement does
   * not exist: the only reason to remove an entry is a leader's different one [Raft §5.3].
   */
  replaceFrom(replacement: Entry): void {
    const at = replacement.lsn;
    assert(at > this.#committedLsn, `committed entry ${at} would be replaced`);
    assert(at > this.#safeLsn, `safe entry ${at} would be replaced`);
    assert(at <= this.#last.lsn, `entry ${at} is not there to be replaced`);
    const before = lsn(at - 1);
    const beforeTerm = this.termAt(before);
    assert(beforeTerm !== undefined, "an entry above the commit mark lies below the base");
    this.#runs.truncateFrom(at);
    this.#last = { lsn: before, term: beforeTerm };
    this.#durableLsn = lsn(Math.min(this.#durableLsn, before));
    this.#sizedAfter = lsn(Math.min(this.#sizedAfter, before));
    while (this.#memberships.at(-1)!.lsn >= at) this.#memberships.pop();
    while (this.#settings.at(-1)!.lsn >= at) this.#settings.pop();
    if (this.#genesisLsn >= at) this.#genesisLsn = lsn(0);
    while (this.#unstable.length > 0 && this.#unstable.at(-1)!.lsn >= at) this.#unstable.pop();
    this.#yieldedFrom = undefined;
    this.append(replacement);
    this.#assertValid();
  }

  /** Whether the entry at `at` must not be replaced before what it and those behind it say has been kept elsewhere. */
  isKept(at: Lsn): boolean {
    if (this.#yieldedFrom !== undefined && at >= this.#yieldedFrom) return false;
    return at <= this.#committedLsn || this.#isWeakAt(at);
  }

  /** The first entry from `from` on that must be kept. After a restart little is known to be committed. */
  firstKept(from: Lsn): Lsn | undefined {
    const changes = [...this.#memberships, ...this.#settings].map((change) => change.lsn);
    const borders = changes.filter((at) => at > from).sort((a, b) => a - b);
    return [from, ...borders].find((at) => at <= this.#last.lsn && this.isKept(at));
  }

  /** Entries from `from` on give way, committed or not: what they say has been kept. Never what is safe. */
  yieldFrom(from: Lsn): void {
    assert(from > this.#safeLsn, `safe entry ${from} would give way`);
    assert(from > this.#base.lsn, "what the base covers cannot give way");
    this.#yieldedFrom = from;
    this.#committedLsn = lsn(Math.min(this.#committedLsn, from - 1));
  }

  /** Everything up to `to` is committed. */
  commitTo(to: Lsn): void {
    assert(to >= this.#committedLsn, `commit mark would fall from ${this.#committedLsn} to ${to}`);
    assert(to <= this.#last.lsn, `commit mark ${to} beyond the end ${this.#last.lsn}`);
    this.#committedLsn = to;
  }

  /** Everything up to `to` is on a majority, the last of it in the term of a leader that counted it. */
  safeTo(to: Lsn): void {
    assert(to >= this.#safeLsn, `safe mark would fall from ${this.#safeLsn} to ${to}`);
    assert(to <= this.#last.lsn, `safe mark ${to} beyond the end ${this.#last.lsn}`);
    this.#safeLsn = to;
  }

  /**
   * Safe cannot be more than this at once: with settings that appoint leaders by hand begins another meaning of safe
   * (rule/commit-rule.ts), so the mark stops at them first.
   */
  safeMax(): Lsn {
    const latest = this.#settings.at(-1)!;
    const isBorder = latest.lsn > this.#safeLsn && latest.settings.coordinator === "manual";
    return isBorder && this.settings.coordinator !== "manual" ? latest.lsn : this.#last.lsn;
  }

  /**
   * The first members, settings or birth of a cluster that are not safe: a weak rule commits nothing from there on. A
   * birth that is lost would be followed by another one, of another cluster.
   */
  firstUnsafeChange(): number {
    let first = Number.POSITIVE_INFINITY;
    if (this.#genesisLsn > this.#safeLsn) first = this.#genesisLsn;
    if (this.membershipLsn > this.#safeLsn) first = Math.min(first, this.membershipLsn);
    if (this.settingsLsn > this.#safeLsn) first = Math.min(first, this.settingsLsn);
    return first;
  }

  /** Hands over the entries that are not yet on their way to the disk. Never a list that goes on growing. */
  takeUnstable(): readonly Entry[] {
    const entries = this.#unstable;
    this.#unstable = [];
    return entries;
  }

  hasUnstable(): boolean {
    return this.#unstable.length > 0;
  }

  /** `entries` are on disk. Those that were replaced while the disk was busy do not count (invariant 4). */
  markDurable(entries: readonly Entry[]): void {
    for (let i = entries.length - 1; i >= 0; i--) {
      const entry = entries[i]!;
      // "If two entries in different logs have the same index and term, then they store the same command"
      // [Raft §5.3]: equal identity means that the disk has what this log has, up to here.
      if (this.termAt(entry.lsn) !== entry.term) continue;
      this.#durableLsn = lsn(Math.max(this.#durableLsn, entry.lsn));
      break;
    }
    this.#assertValid();
  }

  /** The driver dropped the log's beginning. */
  dropUpTo(base: SnapshotId): void {
    assert(base.lsn >= this.#base.lsn, "the base would fall");
    assert(base.lsn <= this.#committedLsn, "uncommitted entries would be dropped");
    assert(base.lsn <= this.#safeLsn, "entries that may be lost elsewhere would be dropped");
    assert(this.termAt(base.lsn) === base.term, `base ${formatPosition(base)} is not in this log`);
    if (base.lsn === this.#last.lsn) this.#runs.truncateFrom(lsn(0));
    else this.#runs.dropUpTo(base.lsn);
    this.#memberships = [
      { lsn: base.lsn, membership: base.membership },
      ...this.#memberships.filter((m) => m.lsn > base.lsn),
    ];
    this.#settings = [
      { lsn: base.lsn, settings: base.settings },
      ...this.#settings.filter((s) => s.lsn > base.lsn),
    ];
    this.#base = base;
    this.#assertValid();
  }

  /** The log is empty and starts after `base`, whose database was copied here. */
  resetTo(base: SnapshotId): void {
    assert(base.lsn > this.#safeLsn, "page sync would go back behind what is safe");
    this.#runs.truncateFrom(lsn(0));
    this.#base = base;
    this.#last = { lsn: base.lsn, term: base.term };
    this.#lastChain = base.chain;
    this.#memberships = [{ lsn: base.lsn, membership: base.membership }];
    this.#settings = [{ lsn: base.lsn, settings: base.settings }];
    this.#committedLsn = base.lsn;
    this.#safeLsn = lsn(Math.max(this.#safeLsn, this.#surelySafe()));
    this.#yieldedFrom = undefined;
    this.#genesisLsn = lsn(0);
    this.#durableLsn = base.lsn;
    this.#unstable = [];
    this.#sizedAfter = base.lsn;
    this.#assertValid();
  }

  /** Bytes of one entry on the wire; undefined when it is too old to be remembered. */
  sizeOf(at: Lsn): number | undefined {
    if (at <= this.#sizedAfter || at <= this.#last.lsn - entriesSizedMax) return undefined;
    return this.#sizes[at % entriesSizedMax]!;
  }

  /**
   * What is safe because of what is committed. By a strong rule all of it is; by a weak one still the latest change of
   * members or settings, which no weak commit passes while it is not safe; under a manual coordinator nothing is.
   */
  #surelySafe(): Lsn {
    const at = this.#committedLsn;
    if (!this.#isWeakAt(at)) return at;
    if (this.#settingsAt(at).coordinator === "manual") return lsn(0);
    const changes = [...this.#memberships.slice(1), ...this.#settings.slice(1)];
    return lsn(Math.max(0, ...changes.map((change) => change.lsn).filter((l) => l <= at)));
  }

  #isWeakAt(at: Lsn): boolean {
    const { membership } = this.#memberships.findLast((m) => m.lsn <= at) ?? this.#memberships[0]!;
    return isWeak(this.#settingsAt(at), membership);
  }

  #settingsAt(at: Lsn): Settings {
    return (this.#settings.findLast((s) => s.lsn <= at) ?? this.#settings[0]!).settings;
  }

  #assertValid(): void {
    const [base, last] = [this.#base.lsn, this.#last.lsn];
    assert(base <= this.#committedLsn && this.#committedLsn <= last, "commit mark outside the log");
    assert(this.#safeLsn <= last, "safe mark beyond the end");
    assert(base <= this.#durableLsn && this.#durableLsn <= last, "durable mark outside the log");
  }
}
