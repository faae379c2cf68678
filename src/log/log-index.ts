/**
 * What the log knows about its entries without reading them: where it starts, where it ends, the term of every entry
 * (as runs: few, since terms are few), the memberships and the settings. Memory only, rebuilt at every start.
 *
 * Invariants
 *   1. runs ascend strictly in `from` and in `term`; the first one begins right after the base
 *   2. memberships and settings ascend strictly in `lsn`, and lie after the base
 *   3. last.lsn >= base.lsn
 */

import { assert } from "../base/assert.ts";
import type { TermRun } from "../raft/term-runs.ts";
import type { EntryId, Lsn, Membership, Settings, SnapshotId, Term } from "../vocabulary.ts";

export type MembershipAt = { readonly lsn: Lsn; readonly membership: Membership };

export type SettingsAt = { readonly lsn: Lsn; readonly settings: Settings };

export class LogIndex {
  #base: SnapshotId;
  #last: EntryId;
  #lastChain: string;
  #runs: TermRun[] = [];
  #memberships: MembershipAt[] = [];
  #settings: SettingsAt[] = [];

  constructor(base: SnapshotId) {
    this.#base = base;
    this.#last = { lsn: base.lsn, term: base.term };
    this.#lastChain = base.chain;
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

  get runs(): readonly TermRun[] {
    return this.#runs;
  }

  get memberships(): readonly MembershipAt[] {
    return this.#memberships;
  }

  get settings(): readonly SettingsAt[] {
    return this.#settings;
  }

  /** Adds the entry after the last one. */
  append(id: EntryId, chain: string): void {
    assert(id.lsn === this.#last.lsn + 1, "entries have no gaps");
    assert(id.term >= this.#last.term, "terms never fall along the log");
    if (this.#runs.at(-1)?.term !== id.term) this.#runs.push({ from: id.lsn, term: id.term });
    this.#last = { lsn: id.lsn, term: id.term };
    this.#lastChain = chain;
  }

  /** The entry at `lsn`, already appended, is a membership. */
  addMembership(lsn: Lsn, membership: Membership): void {
    assert(lsn > (this.#memberships.at(-1)?.lsn ?? this.#base.lsn), "memberships ascend");
    this.#memberships.push({ lsn, membership });
  }

  /** The entry at `lsn`, already appended, is of settings. */
  addSettings(lsn: Lsn, settings: Settings): void {
    assert(lsn > (this.#settings.at(-1)?.lsn ?? this.#base.lsn), "settings ascend");
    this.#settings.push({ lsn, settings });
  }

  /** Forgets entries from `lsn` on. `chain` is that of the entry before. */
  truncate(lsn: Lsn, chain: string): void {
    assert(lsn > this.#base.lsn && lsn <= this.#last.lsn, "only what is in the log is replaced");
    const term = this.termAt((lsn - 1) as Lsn);
    assert(term !== undefined, "the entry before is known");
    this.#runs = this.#runs.filter((run) => run.from < lsn);
    this.#memberships = this.#memberships.filter((membership) => membership.lsn < lsn);
    this.#settings = this.#settings.filter((settings) => settings.lsn < lsn);
    this.#last = { lsn: (lsn - 1) as Lsn, term };
    this.#lastChain = chain;
  }

  /** Moves the base up to an entry of the log. */
  dropTo(base: SnapshotId): void {
    assert(base.lsn >= this.#base.lsn && base.lsn <= this.#last.lsn, "the base moves up");
    const first = (base.lsn + 1) as Lsn;
    const end = (this.#last.lsn + 1) as Lsn;
    this.#runs = this.#runs
      .filter((_, i) => (this.#runs[i + 1]?.from ?? end) > first)
      .map((run) => (run.from < first ? { from: first, term: run.term } : run));
    this.#memberships = this.#memberships.filter((membership) => membership.lsn > base.lsn);
    this.#settings = this.#settings.filter((settings) => settings.lsn > base.lsn);
    this.#base = base;
  }

  /** Starts anew after another base. */
  reset(base: SnapshotId): void {
    this.#base = base;
    this.#last = { lsn: base.lsn, term: base.term };
    this.#lastChain = base.chain;
    this.#runs = [];
    this.#memberships = [];
    this.#settings = [];
  }

  /** Term of an entry from the base to the last; undefined elsewhere. */
  termAt(lsn: Lsn): Term | undefined {
    if (lsn < this.#base.lsn || lsn > this.#last.lsn) return undefined;
    return this.#runs.findLast((run) => run.from <= lsn)?.term ?? this.#base.term;
  }

  /** The membership in force at an entry from the base on. */
  membershipAt(lsn: Lsn): Membership {
    const found = this.#memberships.findLast((membership) => membership.lsn <= lsn);
    return found?.membership ?? this.#base.membership;
  }

  /** The latest settings at an entry from the base on. */
  settingsAt(lsn: Lsn): Settings {
    const found = this.#settings.findLast((settings) => settings.lsn <= lsn);
    return found?.settings ?? this.#base.settings;
  }
}
