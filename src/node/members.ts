/**
 * Who belongs to the cluster: adding, removing, promoting. One change at a time, through the log [Raft thesis §4.1].
 *
 * A new node comes in as a learner that is marked for promotion: it is brought up to date without counting towards
 * any majority, and when it has nearly caught up the leader makes it a voter. So adding a node never weakens a
 * cluster while the node is still empty.
 */

import { ClientError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import type { MembershipChange, Proposal, RaftStatus } from "../raft/raft.ts";
import { isCaretaker, priorityOf } from "../raft/rule/priority.ts";
import type { Member, NodeId, Priority } from "../vocabulary.ts";
import { besideWitness } from "./rule/settings-change.ts";
import type { Writes } from "./write/writes.ts";

export type MemberPorts = {
  readonly clock: Clock;
  readonly writes: Writes;
  status(): RaftStatus;
  changeMembership(change: MembershipChange): Proposal;
  isUp(node: NodeId): boolean;
  onEvent(line: string): void;
};

/** A learner this close to the end of the log is made a voter. */
const promoteWithinEntries = 1_000;

export class Members {
  readonly #ports: MemberPorts;
  /** A change is on its way. */
  #changing = false;

  constructor(ports: MemberPorts) {
    this.#ports = ports;
  }

  /** On the leader. Resolves when the change is committed. Throws ClientError MEMBERSHIP_REFUSED or _BUSY. */
  async add(member: Member): Promise<void> {
    const { membership, settings } = this.#ports.status();
    if (member.kind === "witness" && settings.coordinator === "manual") {
      throw refused(
        "a witness elects leaders; under coordinator=manual there is nothing for it to do",
      );
    }
    const next = [...membership.filter((m) => m.id !== member.id), grownUp(member)];
    const exclusion = besideWitness(settings, next);
    if (exclusion !== undefined) throw refused(exclusion);
    const same = membership.find((m) => m.id === member.id);
    if (same?.address === member.address && isWhatIsAsked(same, member)) return;
    if (same !== undefined) {
      throw refused(
        same.address === member.address
          ? `${member.id} is a member already, a ${same.kind}; to make it a ${next.at(-1)!.kind}, remove it, and ` +
              "let it join again with an empty --dir"
          : `a node "${member.id}" is a member already, at ${same.address}. If it has moved with its data, start it ` +
              `with --listen ${member.address}: it tells the others by itself. If its data are gone, first: ` +
              `paceline remove ${member.id}`,
      );
    }
    const atAddress = membership.find((m) => m.address === member.address);
    if (atAddress !== undefined) {
      throw refused(`${member.address} is the address of member "${atAddress.id}" already`);
    }
    await this.#change({ type: "add", member });
    this.#ports.onEvent(`${member.id} joins as ${member.kind} at ${member.address}`);
  }

  /** On the leader: a member was reached at another address than the log says. */
  moved(id: NodeId, address: string): void {
    if (this.#changing) return;
    this.#change({ type: "address", id, address }).then(
      () => this.#ports.onEvent(`${id} has moved to ${address}`),
      // It is told again in a second.
      () => {},
    );
  }

  /** On the leader. Resolves when the change is committed. */
  async remove(id: NodeId): Promise<void> {
    const { membership } = this.#ports.status();
    const member = membership.find((m) => m.id === id);
    if (member === undefined) {
      const known = membership.map((m) => m.id).join(", ");
      throw refused(`there is no member "${id}"; members are ${known}`);
    }
    const left = membership.filter((m) => m.kind === "voter" && m.id !== id && !isCaretaker(m));
    if (left.length === 0) {
      throw refused(`without ${id} there is no voter with a database that may lead`);
    }
    await this.#change({ type: "remove", id });
    this.#ports.onEvent(`${id} is no longer a member`);
  }

  /** On the leader. Resolves when the change is committed. */
  async setPriority(id: NodeId, priority: Priority): Promise<void> {
    const { membership } = this.#ports.status();
    const member = membership.find((m) => m.id === id);
    if (member === undefined) {
      const known = membership.map((m) => m.id).join(", ");
      throw refused(`there is no member "${id}"; members are ${known}`);
    }
    if (priorityOf(member) === priority) return;
    if (member.kind !== "voter") {
      throw refused(`${id} is a ${member.kind}; only voters lead, so only they have a priority`);
    }
    const others = membership.filter((m) => m.kind === "voter" && m.id !== id && !isCaretaker(m));
    if (priority === "never" && others.length === 0) {
      throw refused(`${id} is the only voter that may lead; a cluster needs one`);
    }
    await this.#change({ type: "priority", id, priority });
    this.#ports.onEvent(`the priority of ${id} is ${priority}`);
  }

  /** On the leader, now and then: learners that have caught up become voters. */
  tick(): void {
    if (this.#changing) return;
    const status = this.#ports.status();
    if (status.role !== "leader") return;
    for (const member of status.membership) {
      if (member.kind !== "learner" || member.promote !== true) continue;
      const progress = status.progress.find((p) => p.id === member.id);
      if (progress === undefined || progress.mode !== "stream") continue;
      if (progress.matchLsn + promoteWithinEntries < status.last.lsn) continue;
      if (!this.#ports.isUp(member.id)) continue;
      this.#change({ type: "kind", id: member.id, kind: "voter" }).then(
        () => this.#ports.onEvent(`${member.id} has caught up and is a voter now`),
        () => {},
      );
      return;
    }
  }

  async #change(change: MembershipChange): Promise<void> {
    const { clock, writes } = this.#ports;
    const giveUpMs = clock.nowMs() + limits.requestWaitMs;
    this.#changing = true;
    try {
      for (;;) {
        const proposal = await this.#propose(change);
        if (proposal.accepted) {
          await writes.outcomes.of(proposal.entry, proposal.entry.body.byteLength);
          return;
        }
        if (proposal.why === "not-leader") {
          throw new ClientError("NOT_LEADER", "this node does not lead; ask the leader");
        }
        if (proposal.why === "membership-refused") {
          throw refused(
            "the members as they are now do not allow the change; see `paceline status`",
          );
        }
        if (clock.nowMs() > giveUpMs) {
          throw new ClientError(
            "MEMBERSHIP_BUSY",
            `the change cannot begin (${proposal.why}); one change at a time, repeat it shortly`,
          );
        }
        await new Promise<void>((resolve) => clock.after(50, resolve));
      }
    } finally {
      this.#changing = false;
    }
  }

  #propose(change: MembershipChange): Promise<Proposal> {
    return new Promise((resolve) => {
      this.#ports.writes.between(() => resolve(this.#ports.changeMembership(change)));
    });
  }
}

/** A joiner asks again and again; a learner may have become a voter meanwhile. */
function isWhatIsAsked(present: Member, asked: Member): boolean {
  return present.kind === asked.kind || (present.kind === "voter" && asked.promote === true);
}

/** A member as it will be in the end. */
function grownUp(member: Member): Member {
  return member.promote === true ? { ...member, kind: "voter" } : member;
}

function refused(message: string): ClientError {
  return new ClientError("MEMBERSHIP_REFUSED", message);
}
