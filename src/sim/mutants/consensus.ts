/** Mutants of the core: elections, commits, leases, reads (raft/). */

import { Core } from "../../raft/core.ts";
import { Election } from "../../raft/election.ts";
import { Following } from "../../raft/following.ts";
import { Leading } from "../../raft/leading.ts";
import { LogView } from "../../raft/log-view.ts";
import { Progress } from "../../raft/progress.ts";
import { Raft } from "../../raft/raft.ts";
import { ReadIndex } from "../../raft/read-index.ts";
import { Replication } from "../../raft/replication.ts";
import { all, getterReplaced, type Mutant, marked, replaced } from "./mutant.ts";

export const consensusMutants: readonly Mutant[] = [
  {
    name: "a vote for whoever asks, however old its log",
    plant: () => replaced(LogView.prototype, "isAtMost", () => () => true),
  },
  {
    name: "two votes in one term",
    plant: () => {
      const { inside, undo } = marked(Election.prototype, "onRequest");
      const vote = getterReplaced(
        Core.prototype,
        "vote",
        (original) =>
          function (this: Core) {
            return inside.is ? undefined : original.call(this);
          },
      );
      return all(undo, vote);
    },
  },
  {
    name: "votes are given while the leader may hold its lease",
    plant: () => replaced(Following.prototype, "isQuiet", () => () => false),
  },
  {
    name: "a commit of an older term by counting",
    plant: () => {
      const { inside, undo } = marked(Replication.prototype, "advanceCommit");
      const same = (original: (this: unknown, ...args: never[]) => unknown) =>
        function (this: unknown, ...args: never[]) {
          return inside.is ? -1 : original.apply(this, args);
        };
      return all(
        undo,
        replaced(LogView.prototype, "termAt", same as never),
        getterReplaced(Core.prototype, "term", same as never),
      );
    },
  },
  {
    name: "a commit by what was sent, not by what was answered",
    plant: () => {
      const { inside, undo } = marked(Replication.prototype, "advanceCommit");
      const match = getterReplaced(
        Progress.prototype,
        "matchLsn",
        (original) =>
          function (this: Progress) {
            return inside.is ? this.nextLsn - 1 : original.call(this);
          },
      );
      return all(undo, match);
    },
  },
  {
    name: "the leader counts itself before its own fsync",
    plant: () => {
      const { inside, undo } = marked(Replication.prototype, "advanceCommit");
      const durable = getterReplaced(
        LogView.prototype,
        "durableLsn",
        (original) =>
          function (this: LogView) {
            return inside.is ? this.last.lsn : original.call(this);
          },
      );
      return all(undo, durable);
    },
  },
  {
    name: "an answer beside an fsync promises what is not on the disk yet",
    plant: () => {
      const { inside, undo } = marked(Core.prototype, "takeBeside");
      const durable = getterReplaced(
        LogView.prototype,
        "durableLsn",
        (original) =>
          function (this: LogView) {
            return inside.is ? this.last.lsn : original.call(this);
          },
      );
      return all(undo, durable);
    },
  },
  {
    name: "a node that lost its disk votes as if it had not",
    plant: () => getterReplaced(Core.prototype, "isBorn", () => () => true),
  },
  {
    name: "the lease never ends",
    plant: () =>
      replaced(
        Leading.prototype,
        "hasLease",
        () =>
          function (this: Leading) {
            return this.isCommittedInTerm;
          },
      ),
  },
  {
    name: "the lease is held while the lead is handed over",
    plant: () =>
      replaced(
        Leading.prototype,
        "hasLease",
        () =>
          function (this: Leading, nowMs: number) {
            return this.isCommittedInTerm && nowMs - this.replication.answeredSentMs(nowMs) < 300;
          },
      ),
  },
  {
    name: "a read index is answered without a round",
    plant: () =>
      replaced(
        ReadIndex.prototype,
        "add",
        (original) =>
          function (this: ReadIndex, reader, round) {
            original.call(this, reader, round);
            if (round !== undefined) this.onAnswered(round);
          },
      ),
  },
  {
    name: "a new leader reads before its first commit",
    plant: () =>
      replaced(
        ReadIndex.prototype,
        "add",
        (original) =>
          function (this: ReadIndex, reader) {
            original.call(this, reader, Number.MAX_SAFE_INTEGER);
            this.onAnswered(Number.MAX_SAFE_INTEGER);
          },
      ),
  },
  {
    name: "a leader that hears nobody goes on leading",
    plant: () => replaced(Leading.prototype, "isOver", () => () => false),
  },
  {
    name: "nobody ever stands again once an election was lost",
    plant: () =>
      replaced(
        Election.prototype,
        "postpone",
        (original) =>
          function (this: Election) {
            original.call(this);
            this.isDue = () => false;
          },
      ),
  },
  {
    name: "a follower knows commits beyond what it matched",
    plant: () =>
      replaced(
        Following.prototype,
        "onAppend",
        (original) =>
          function (this: unknown, from, append, entries) {
            const { prev, committedLsn } = append;
            original.call(this, from, { ...append, prev, committedLsn: committedLsn + 1 }, entries);
          },
      ),
  },
  {
    name: "a page sync never replaces the log",
    plant: () => replaced(Raft.prototype, "wantsInstall", () => () => false),
  },
  {
    name: "a disk that forgot what it promised counts at once",
    plant: () => getterReplaced(Progress.prototype, "isCounted", () => () => true),
  },
  {
    name: "a lost disk is born again by a leader that may be of the past",
    plant: () => replaced(Core.prototype, "isConfirmed", () => () => true),
  },
  {
    name: "what is thrown away for pages is kept only if its beginning was committed",
    plant: () =>
      replaced(
        LogView.prototype,
        "firstKept",
        () =>
          function (this: LogView, from) {
            return this.isKept(from) ? from : undefined;
          },
      ),
  },
];
