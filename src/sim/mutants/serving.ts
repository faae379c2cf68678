/** Mutants of what clients see: writing, applying, reading, repairing (node/). */

import { ClientError } from "../../base/errors.ts";
import { Applying } from "../../node/applying.ts";
import { Database } from "../../node/database.ts";
import { Node } from "../../node/node.ts";
import { Neighbours } from "../../node/route/neighbours.ts";
import { Reads } from "../../node/route/reads.ts";
import { RunningNode } from "../../node/running-node.ts";
import { Waiters } from "../../node/waiters.ts";
import { HeadTable } from "../../node/write/head-table.ts";
import { Outcomes } from "../../node/write/outcomes.ts";
import { Leading } from "../../raft/leading.ts";
import type { EntryId, Lsn, Term } from "../../vocabulary.ts";
import { ModelWriter } from "../model/processes.ts";
import { ModelServed } from "../model/served.ts";
import { ModelStagedPatch } from "../model/staged.ts";
import { type Mutant, replaced } from "./mutant.ts";

export const servingMutants: readonly Mutant[] = [
  {
    name: "a write is acknowledged when it is proposed",
    plant: () => replaced(Outcomes.prototype, "of", () => () => Promise.resolve()),
  },
  {
    name: "a write is acknowledged by whatever entry comes to its LSN",
    plant: () => {
      const terms = new WeakMap<object, Map<Lsn, Term>>();
      const of = replaced(
        Outcomes.prototype,
        "of",
        (original) =>
          function (this: Outcomes, id: EntryId, bytes: number) {
            const known = terms.get(this) ?? new Map<Lsn, Term>();
            terms.set(this, known.set(id.lsn, id.term));
            return original.call(this, id, bytes);
          },
      );
      const applied = replaced(
        Outcomes.prototype,
        "applied",
        (original) =>
          function (this: Outcomes, id: EntryId) {
            original.call(this, { ...id, term: terms.get(this)?.get(id.lsn) ?? id.term });
          },
      );
      return () => {
        applied();
        of();
      };
    },
  },
  {
    name: "an unknown outcome is told as a refusal",
    plant: () =>
      replaced(
        Outcomes.prototype,
        "of",
        (original) =>
          async function (this: Outcomes, id: EntryId, bytes: number) {
            try {
              await original.call(this, id, bytes);
            } catch (error) {
              throw new ClientError("NOT_LEADER", String(error));
            }
          },
      ),
  },
  {
    name: "a page sync that jumps over writes counts as their commit",
    plant: () =>
      replaced(
        Outcomes.prototype,
        "jumpedTo",
        () =>
          function (this: Outcomes, lsn: Lsn) {
            for (let at = 1; at <= lsn; at++) {
              for (let term = 1; term < 20; term++) {
                this.applied({ lsn: at as Lsn, term: term as Term });
              }
            }
          },
      ),
  },
  {
    name: "entries are applied one beyond the commit mark",
    plant: () =>
      replaced(
        Applying.prototype,
        "applyTo",
        (original) =>
          function (this: unknown, lsn) {
            original.call(this, lsn + 1);
          },
      ),
  },
  {
    name: "a new leader does not wait until all is applied",
    plant: () => replaced(RunningNode.prototype, "drained", () => async () => {}),
  },
  {
    name: "the writer goes on with the scratch of an earlier lead",
    plant: () => {
      const sessions = new Map<unknown, unknown>();
      return replaced(
        ModelWriter.prototype,
        "open",
        (original) =>
          async function (this: ModelWriter) {
            await original.call(this);
            const kept = sessions.get(this.world);
            if (kept !== undefined) this.session = kept as typeof this.session;
            sessions.set(this.world, this.session);
          },
      );
    },
  },
  {
    name: "what was read in the writer is told without asking whether this node leads",
    plant: () => replaced(RunningNode.prototype, "confirmLead", () => async () => {}),
  },
  {
    name: "the checksum after a change forgets pages that are dropped",
    plant: () =>
      replaced(
        HeadTable.prototype,
        "push",
        (original) =>
          function (this: unknown, lsn, changes) {
            return original.call(this, lsn, { ...changes, pageCount: 1_000 });
          },
      ),
  },
  {
    // To leave out the second look alone would be harmless: the first comes after the request. This is the bug.
    name: "the lease is not looked at again: what was found holds for another second",
    plant: () => {
      const foundMsByLead = new WeakMap<Leading, number>();
      return replaced(
        Leading.prototype,
        "hasLease",
        (original) =>
          function (this: Leading, nowMs: number) {
            const has = original.call(this, nowMs) === true;
            if (has) foundMsByLead.set(this, nowMs);
            return has || nowMs - (foundMsByLead.get(this) ?? Number.NEGATIVE_INFINITY) < 1_000;
          },
      );
    },
  },
  {
    name: "a linearizable read on a follower asks nobody",
    plant: () =>
      replaced(
        Reads.prototype,
        "run",
        (original) =>
          function (this: unknown, unit, options) {
            return original.call(this, unit, { ...options, consistency: { type: "session" } });
          },
      ),
  },
  {
    name: "a read index is this node's own commit mark",
    plant: () =>
      replaced(
        Node.prototype,
        "readIndex",
        () =>
          async function (this: Node) {
            return this.status().committedLsn;
          },
      ),
  },
  {
    name: "nobody waits for a position",
    plant: () => replaced(Waiters.prototype, "wait", () => async () => {}),
  },
  {
    name: "a position is reached one entry early",
    plant: () =>
      replaced(
        Waiters.prototype,
        "reach",
        (original) =>
          function (this: unknown, lsn) {
            original.call(this, lsn + 1);
          },
      ),
  },
  {
    name: "a damaged database is not repaired",
    plant: () => replaced(RunningNode.prototype, "onDatabaseState", () => () => {}),
  },
  {
    name: "the position row is forgotten",
    plant: () =>
      replaced(ModelServed.prototype, "position", () => () => ({ lsn: 0 as Lsn, term: 0 as Term })),
  },
  {
    name: "pages of an entry are not compared with its checksum",
    plant: () =>
      replaced(
        Database.prototype,
        "change",
        (original) =>
          async function (this: Database, entry) {
            // One page of one entry in a hundred is lost on its way.
            if (entry.kind === "payload" && entry.lsn % 100 === 50) {
              const { served } = this;
              const before = served?.apply;
              if (served !== undefined && before !== undefined) {
                served.apply = (set, position) =>
                  before.call(
                    served,
                    {
                      ...set,
                      pgnos: set.pgnos.slice(1),
                      pages: set.pages.slice(set.pageSize),
                      hashes: set.hashes.slice(2),
                    },
                    position,
                    undefined,
                  );
                await original.call(this, entry);
                served.apply = before;
                return;
              }
            }
            await original.call(this, entry);
          },
      ),
  },
  {
    name: "page sync drops the last pages it was sent",
    plant: () =>
      replaced(
        ModelStagedPatch.prototype,
        "finish",
        (original) =>
          function (this: ModelStagedPatch, wanted) {
            this.written.clear();
            return original.call(this, wanted);
          },
      ),
  },
  {
    name: "a leader that the log does not name is not let in",
    plant: () =>
      replaced(
        Neighbours.prototype,
        "admits",
        () =>
          function (this: Neighbours, id) {
            return this.all().some((member) => member.id === id);
          },
      ),
  },
];
