/**
 * Reading copies in full and comparing them.
 *
 *   pages     every node reads its pages and says where it was and what the checksum was then; this node knows the
 *             checksums that it had itself at its newest positions
 *   rows      under a logical log kind pages differ between nodes. All nodes then read their rows at one position, a
 *             little ahead, so that they meet there while writes go on; a copy that differs from the leader's is told
 *             so, and copies the pages that differ
 *
 * A node that stays behind by intention is not waited for: where it cannot be compared, its own log has said at each
 * entry what the checksum of its pages must be.
 */

import { messageOf } from "../../base/errors.ts";
import { formatHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { Lsn, Member } from "../../vocabulary.ts";
import { compareContents } from "./content.ts";
import type { NodeVerdict, VerifyReport, VerifyWish } from "./node-status.ts";
import type { ReportPorts } from "./status-report.ts";

/** How often all nodes try to read their rows at one position. */
const meetingsMax = 4;
/** Over which the pace of writes is measured the first time; each further time twice as long. */
const paceMs = 200;
/** So many times as far ahead the meeting is: processes that read rows must have started until then. */
const aheadFactor = 4;

export class Verification {
  readonly #ports: ReportPorts;
  readonly #checksumAt: (lsn: Lsn) => string | undefined;

  /** `checksumAt`: of this copy, at one of its newest positions. */
  constructor(ports: ReportPorts, checksumAt: (lsn: Lsn) => string | undefined) {
    this.#ports = ports;
    this.#checksumAt = checksumAt;
  }

  /** The part of this node. */
  async here({ pagesOnly, rowsAt, differs }: VerifyWish): Promise<NodeVerdict> {
    const { self, database, identity, content } = this.#ports;
    const served = database.served;
    const late = this.#ports.delay === undefined ? {} : { delayed: true };
    const base = { id: self, reachable: true, damaged: [], ...late };
    const unread = { lsn: undefined, checksum: undefined, pages: undefined };
    if (identity.witness) return { ...base, ...unread, problem: undefined };
    if (served === undefined) return { ...base, ...unread, problem: "no database here yet" };
    const { settings, role } = this.#ports.raft();
    const isLogical = settings.logKind !== "pages";
    if (differs !== undefined && isLogical && role !== "leader") database.markDamaged(differs);
    const { damage } = database;
    if (differs !== undefined) return { ...base, ...unread, problem: damage };
    if (rowsAt !== undefined)
      return { ...base, ...unread, content: await content(rowsAt), problem: damage };
    const { pages, damaged } = await served.scrub();
    if (damaged.length > 0) {
      database.markDamaged(`${damaged.length} pages differ from their checksums`, damaged);
    }
    const rows = isLogical && pagesOnly !== true ? { content: await content() } : {};
    return {
      ...{ ...base, ...rows, damaged, pages },
      lsn: this.#ports.applied().lsn,
      checksum: formatHash(served.checksum()),
      problem: database.damage,
    };
  }

  async all(): Promise<VerifyReport> {
    const { self } = this.#ports;
    const { membership, settings, leader } = this.#ports.raft();
    const isLogical = settings.logKind !== "pages";
    const nodes = await this.#askAll(membership, { pagesOnly: isLogical });
    const newest = Math.max(...nodes.map((node) => node.lsn ?? 0)) as Lsn;
    await this.#ports.reached(newest).catch(() => {});
    const reference = isLogical ? (leader ?? self) : self;
    const judged = isLogical
      ? await this.#judgeRows(membership, nodes)
      : nodes.map((node) => this.#judge(node));
    const identical = judged.every((n) => n.reachable && n.problem === undefined);
    return { identical, comparedWith: reference, nodes: judged };
  }

  #askAll(members: readonly Member[], wish: VerifyWish): Promise<NodeVerdict[]> {
    return Promise.all(members.map((member) => this.#ask(member, wish)));
  }

  async #ask(member: Member, wish: VerifyWish): Promise<NodeVerdict> {
    const { self, forwarder } = this.#ports;
    try {
      if (member.id === self) return await this.here(wish);
      return await forwarder.verify(member.address, wish);
    } catch (error) {
      return unreachable(member, messageOf(error));
    }
  }

  /** Compares another node's checksum with what this node had at the same position. */
  #judge(node: NodeVerdict): NodeVerdict {
    const { problem, lsn, checksum, id } = node;
    if (problem !== undefined || lsn === undefined) return node;
    if (id === this.#ports.self) return { ...node, comparedAt: lsn };
    const here = this.#checksumAt(lsn);
    if (here === checksum) return { ...node, comparedAt: lsn };
    if (here === undefined && node.delayed === true) return node;
    if (here === undefined) return { ...node, problem: `no checksum to compare with at ${lsn}` };
    return { ...node, problem: `checksum ${checksum} at ${lsn}, here it was ${here}` };
  }

  /** Compares rows, and tells copies that differ from the leader's to become it. */
  async #judgeRows(
    members: readonly Member[],
    nodes: readonly NodeVerdict[],
  ): Promise<NodeVerdict[]> {
    const { leader } = this.#ports.raft();
    const isRead = (id: string) =>
      nodes.some((n) => n.id === id && n.problem === undefined && n.pages != null);
    const whole = members.filter(({ id }) => isRead(id));
    const contents = await this.#meet(whole);
    const read = nodes.map((node) => {
      const content = contents.get(node.id);
      return content === undefined ? node : { ...node, content };
    });
    const judged = compareContents(read, leader);
    for (const { id, differs } of judged) {
      const member = members.find((each) => each.id === id);
      if (differs && id !== leader && member !== undefined) {
        const why = judged.find((node) => node.id === id)!.verdict.problem;
        await this.#ask(member, { differs: why });
      }
    }
    return judged.map(({ verdict }) => verdict);
  }

  /** The rows of all, at one position if they can be had so. */
  async #meet(members: readonly Member[]): Promise<Map<string, NodeVerdict["content"]>> {
    for (let meeting = 1; ; meeting++) {
      const rowsAt = await this.#meetingPoint(paceMs * 2 ** (meeting - 1), meeting % 2 === 0);
      const verdicts = await this.#askAll(members, { rowsAt });
      const prompt = verdicts.filter(({ delayed }) => delayed !== true);
      const isMet = prompt.every(({ content }) => content?.tables !== undefined);
      if (isMet || meeting === meetingsMax) {
        return new Map(verdicts.map(({ id, content }) => [id as string, content]));
      }
    }
  }

  /** Where this node will be in a moment, if writes go on as they do; here, if there are none. */
  async #meetingPoint(measuredMs: number, isRare: boolean): Promise<Lsn> {
    const before = this.#ports.applied().lsn;
    await new Promise<void>((resolve) => this.#ports.clock.after(measuredMs, resolve));
    const now = this.#ports.applied().lsn;
    // A write now and then shows in no measurement, and may come in between: every other time it is waited for.
    const pace = Math.max(now - before, isRare ? 1 : 0);
    return (now + pace * aheadFactor) as Lsn;
  }
}

function unreachable(member: Member, why: string): NodeVerdict {
  return {
    id: member.id,
    reachable: false,
    lsn: undefined,
    checksum: undefined,
    pages: undefined,
    damaged: [],
    problem: `no answer from ${member.address} within ${limits.requestWaitMs} ms: ${why}`,
  };
}
