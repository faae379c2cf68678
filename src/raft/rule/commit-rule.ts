/**
 * The commit rule [architecture D9]: how far a leader may say that its log is committed, given who has what.
 *
 * Two marks. *Safe* is what Raft calls committed: an entry of the leader's own term, and all before it, on a majority
 * of the voters; no election ever loses it. *Committed* is what is applied and answered. By rule quorum they are the
 * same; by rule all the committed mark stays behind the safe one; by rule leader, and by rule one among more than
 * three voters, it may run ahead: these rules are *weak*, an election may drop what they committed.
 *
 * What keeps a weak rule honest:
 *   - the first entry of a term is committed by a majority whatever the rule, so that a leader is one
 *   - a weak commit needs the leader's lease: a leader that is cut off stops within the lease, as it does by quorum
 *   - it never passes members or settings that are not safe: all nodes agree on who counts, and on the rule itself;
 *     nor the birth of the cluster: they agree on which one they are
 *
 * Under a manual coordinator an operator may promote any node, whatever it has. So safe means on *every* voter, and
 * every rule is weak that needs fewer. A leader is one because an operator said so: its first entry is committed by
 * the rule like any other, there is no lease that it could lose, and members and settings do not wait to be safe,
 * because a member that is gone would hold everything up for good.
 *
 * Not here: who has what (replication.ts), what becomes of dropped entries (following.ts, node/discarded/).
 */

import type { CommitRule, Lsn, Membership, Settings } from "../../vocabulary.ts";
import { counts } from "../membership.ts";
import { majority } from "../quorum.ts";

/** Up to where the log is on disks. `all` and `other` are minus infinity when there is nobody to ask. */
export type Copies = {
  readonly own: Lsn;
  /** The best of the other voters. */
  readonly other: number;
  /** The worst of all voters, this one included. */
  readonly all: number;
  readonly safe: Lsn;
};

/** What a rule becomes while its copies are missing and settings say degrade. */
const weakerRules: Readonly<Record<CommitRule, CommitRule>> = {
  all: "quorum",
  one: "leader",
  quorum: "quorum",
  leader: "leader",
};

export function weakerRule(rule: CommitRule): CommitRule {
  return weakerRules[rule];
}

/** How many voters, the leader included, have an entry that `rule` commits. */
export function copiesOf(rule: CommitRule, voters: number): number {
  switch (rule) {
    case "quorum":
      return majority(voters);
    case "all":
      return voters;
    case "one":
      return Math.min(2, voters);
    case "leader":
      return 1;
  }
}

/** The fewest voters that have what a leader with these settings acknowledges. */
export function fewestCopies({ commitRule, whenCopiesMissing }: Settings, voters: number): number {
  const rule = whenCopiesMissing === "degrade" ? weakerRule(commitRule) : commitRule;
  return copiesOf(rule, voters);
}

/** Up to where `rule` lets a leader commit, leases and unsafe settings aside. */
export function reachedByRule(rule: CommitRule, copies: Copies, voters: number): number {
  switch (rule) {
    case "quorum":
      return copies.safe;
    case "all":
      return Math.min(copies.all, copies.safe);
    case "one":
      return voters <= 3 ? copies.safe : Math.min(copies.own, copies.other);
    case "leader":
      return copies.own;
  }
}

/** Whether an election among these members may drop what these settings let a leader commit. */
export function isWeak(settings: Settings, membership: Membership): boolean {
  const voters = membership.filter(counts).length;
  const { commitRule, whenCopiesMissing } = settings;
  const isManual = settings.coordinator === "manual";
  const isWeakRule = (rule: CommitRule) =>
    isManual
      ? copiesOf(rule, voters) < voters
      : (rule === "leader" && voters > 1) || (rule === "one" && voters > 3);
  if (isWeakRule(commitRule)) return true;
  return whenCopiesMissing === "degrade" && isWeakRule(weakerRule(commitRule));
}
