/**
 * Changing what the cluster has agreed on: the commit rule and its like. One change at a time, through the log; in
 * force, for everybody, once a majority has it.
 *
 * Settings that contradict each other, or the members that there are, are refused here with what to choose instead:
 * a cluster that waits for a copy that nobody can make should be nobody's surprise.
 *
 * Not here: what the settings do (raft/rule/), how they are written down (raft/rule/settings.ts).
 */

import { ClientError, messageOf, ProtocolError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { Proposal, RaftStatus } from "../../raft/raft.ts";
import { isWeak } from "../../raft/rule/commit-rule.ts";
import { settingsFrom } from "../../raft/rule/settings.ts";
import type { Membership, NodeId, Settings } from "../../vocabulary.ts";
import type { Writes } from "../write/writes.ts";

export type SettingsPorts = {
  readonly clock: Clock;
  readonly writes: Writes;
  status(): RaftStatus;
  changeSettings(settings: Settings): Proposal;
  isUp(node: NodeId): boolean;
  onEvent(line: string): void;
};

/** What this version can do. The words for the rest are taken, so that a newer node is understood. */
const supportedLogKinds: readonly Settings["logKind"][] = [
  "pages",
  "rows",
  "statements",
  "triggers",
];
const supportedCoordinators: readonly Settings["coordinator"][] = ["quorum", "manual"];

export class SettingsChange {
  readonly #ports: SettingsPorts;

  constructor(ports: SettingsPorts) {
    this.#ports = ports;
  }

  /**
   * On the leader. Puts `wanted` over the settings in force; resolves with all of them once they are. Throws
   * ClientError: BAD_REQUEST for what are no settings, SETTINGS_REFUSED for contradictions, MEMBERSHIP_BUSY.
   */
  async change(wanted: Readonly<Record<string, unknown>>): Promise<Settings> {
    const status = this.#ports.status();
    const next = mergedSettings(wanted, status.settings);
    if (JSON.stringify(next) === JSON.stringify(status.settings)) return next;
    const isUp = (id: NodeId) => id === status.id || this.#ports.isUp(id);
    const away = status.membership.filter((m) => m.kind !== "learner" && !isUp(m.id));
    if (next.coordinator !== status.settings.coordinator && away.length > 0) {
      const text = `every voter must hear who decides who leads, and ${away[0]!.id} cannot be reached`;
      throw new ClientError("SETTINGS_REFUSED", `${text}; start or remove it first`);
    }
    const contradiction = contradictionIn(next, status.membership, isUp);
    if (contradiction !== undefined) throw new ClientError("SETTINGS_REFUSED", contradiction);
    await this.#propose(next);
    this.#ports.onEvent(`settings are now ${JSON.stringify(next)}`);
    return next;
  }

  async #propose(next: Settings): Promise<void> {
    const { clock, writes } = this.#ports;
    const giveUpMs = clock.nowMs() + limits.requestWaitMs;
    for (;;) {
      const proposal = await new Promise<Proposal>((resolve) => {
        writes.between(() => resolve(this.#ports.changeSettings(next)));
      });
      if (proposal.accepted) {
        return writes.outcomes.of(proposal.entry, proposal.entry.body.byteLength);
      }
      if (proposal.why === "not-leader") {
        throw new ClientError("NOT_LEADER", "this node does not lead; ask the leader");
      }
      if (clock.nowMs() > giveUpMs) {
        throw new ClientError(
          "MEMBERSHIP_BUSY",
          `the change cannot begin (${proposal.why}); one change at a time, repeat it shortly`,
        );
      }
      await new Promise<void>((resolve) => clock.after(50, resolve));
    }
  }
}

/** `before` with what `wanted` says instead. A rule that can lose writes also records what it would lose. */
export function mergedSettings(
  wanted: Readonly<Record<string, unknown>>,
  before: Settings,
): Settings {
  refuseUnknown(wanted, before);
  if (typeof wanted["record"] === "object" && wanted["record"] !== null) {
    refuseUnknown(wanted["record"], before.record);
  }
  try {
    const next = settingsFrom(wanted, before);
    const mayLose = next.commitRule === "leader" || next.commitRule === "one";
    const isNews = next.commitRule !== before.commitRule && wanted["record"] === undefined;
    return mayLose && isNews ? { ...next, record: { statements: true, changes: true } } : next;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ClientError("BAD_REQUEST", messageOf(error));
  }
}

function refuseUnknown(wanted: object, known: object): void {
  const unknown = Object.keys(wanted).find((key) => !Object.hasOwn(known, key));
  if (unknown === undefined) return;
  const names = Object.keys(known).join(", ");
  throw new ClientError("BAD_REQUEST", `there is no setting "${unknown}"; there are ${names}`);
}

/**
 * Why a rule that may lose what it acknowledged does not go with the witness among these members, and what does. By
 * such a rule an old leader must be brought back by pages of the new one. Beside a witness the new one may have no
 * pages, and the last whole copy would be gone [decisions/0008].
 */
export function besideWitness(settings: Settings, membership: Membership): string | undefined {
  const witness = membership.find((member) => member.kind === "witness");
  if (witness === undefined || !isWeak(settings, membership)) return undefined;
  return (
    `${witness.id} is a witness, which may lead and has no database to bring an old leader back with: rules that may ` +
    "lose writes (leader; one among more than three voters; degrading to them) do not go with it. " +
    "Choose commitRule=quorum, one or all, or have a voter with a database in its place"
  );
}

/** What cannot be, for people; undefined when all is well. */
export function contradictionIn(
  settings: Settings,
  membership: RaftStatus["membership"],
  isUp: (node: NodeId) => boolean,
): string | undefined {
  const { commitRule, whenCopiesMissing, logKind, coordinator } = settings;
  const voters = membership.filter((member) => member.kind !== "learner");
  const away = voters.filter((voter) => !isUp(voter.id)).map((voter) => voter.id);
  if (!supportedLogKinds.includes(logKind)) return `this version has no log kind ${logKind} yet`;
  if (!supportedCoordinators.includes(coordinator)) {
    return `this version has no coordinator ${coordinator} yet`;
  }
  const witness = membership.find((member) => member.kind === "witness");
  if (coordinator === "manual" && witness !== undefined) {
    return (
      `${witness.id} is a witness: it is there to elect leaders, and cannot be promoted with what it alone may ` +
      "have. Remove it before leaders are appointed by hand"
    );
  }
  const exclusion = besideWitness(settings, membership);
  if (exclusion !== undefined) return exclusion;
  if (commitRule === "quorum" && whenCopiesMissing === "degrade" && coordinator === "quorum") {
    return (
      "rule quorum cannot degrade: without a majority nobody leads. " +
      "Choose whenCopiesMissing=wait or fail, or commitRule=one or all"
    );
  }
  if (commitRule === "one" && voters.length < 2) {
    return "rule one needs a second voter; add one, or choose commitRule=leader";
  }
  if (commitRule === "all" && whenCopiesMissing === "wait" && away.length > 0) {
    return (
      `rule all would wait for ${away.join(", ")}, which cannot be reached; start or remove it first, ` +
      "or choose whenCopiesMissing=degrade"
    );
  }
  return undefined;
}
