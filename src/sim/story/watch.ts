/**
 * The invariants that can be seen on the nodes themselves, checked after every event of a node, each under its number
 * in docs/invariants.md. It looks with the eyes of someone who sees all machines at once.
 *
 * By a weak commit rule (isWeak) an election may drop what was committed. Then what is said here of committed entries
 * holds of safe ones, those on a majority, and an LSN alone does not name a state of the database.
 */

import { formatHash } from "../../base/hash.ts";
import { limits } from "../../limits.ts";
import type { RunningNode } from "../../node/running-node.ts";
import type { Envelope } from "../../raft/messages.ts";
import type { RaftStatus } from "../../raft/ready.ts";
import type { Lsn, NodeId, Term } from "../../vocabulary.ts";
import { formatPosition } from "../../vocabulary.ts";
import type { Content } from "../store.ts";
import type { Held, SimNode } from "./node.ts";
import { isWeak } from "./parameters.ts";
import type { Observer, World } from "./world.ts";

/** What was last seen of a node. */
type Seen = {
  readonly running: RunningNode;
  /** Core and log begin anew after a page sync, the one a moment before the other. */
  installing: boolean;
  /** A damaged database may be replaced by a whole one that is older. */
  mayGoBack: boolean;
  term: Term;
  leading: boolean;
  last: Lsn;
  committed: Lsn;
  applied: Lsn;
};

export class Watch implements Observer {
  readonly #world: World;
  readonly #leaderByTerm = new Map<Term, NodeId>();
  /** Term of every committed entry. */
  readonly #termByLsn = new Map<Lsn, Term>();
  /** Of all that are surely kept. */
  #keptLsn = 0 as Lsn;
  /** Of all that a leader has called safe. */
  #safeLsn = 0 as Lsn;
  /** Of all that were ever committed. */
  #committedLsn = 0 as Lsn;
  readonly #isWeak: boolean;
  readonly #chainByEntry = new Map<string, string>();
  readonly #checksumByEntry = new Map<string, string>();
  /** Last entries of everything that was ever given to a node's log in one go. */
  readonly #batchEndsByNode = new Map<SimNode, Set<string>>();
  readonly #seenByNode = new Map<SimNode, Seen>();
  /** The database as it was after each change. */
  readonly contentByLsn = new Map<Lsn, Content>();
  /** Terms that had a leader. */
  get terms(): number {
    return this.#leaderByTerm.size;
  }

  constructor(world: World) {
    this.#world = world;
    this.#isWeak = isWeak(world.parameters);
  }

  get committedLsn(): Lsn {
    return this.#committedLsn;
  }

  started(node: SimNode, running: RunningNode): void {
    if (node.held !== undefined) this.checkKept(node, running, node.held);
    const { log, applying, node: loop } = running.parts;
    this.checkNothingSkipped(node, running);
    this.checkBatchEnd(node, running);
    const install = loop.install.bind(loop);
    loop.install = async (snapshot) => {
      const seen = this.#seenByNode.get(node);
      if (seen !== undefined) seen.installing = true;
      await install(snapshot);
      if (seen !== undefined) Object.assign(seen, { installing: false, mayGoBack: true });
    };
    this.#seenByNode.set(node, {
      running,
      ...{ installing: false, mayGoBack: false },
      ...{ term: 0 as Term, leading: false, last: log.last.lsn },
      ...{ committed: 0 as Lsn, applied: applying.applied.lsn },
    });
  }

  sends(node: SimNode, to: NodeId, message: unknown): void {
    if (typeof message === "object" && message !== null && "message" in message) {
      this.checkPromise(node, to, message as Envelope);
    }
  }

  /** What the event at hand has committed, before the event is over and the rest can be looked at. */
  noteCommits(): void {
    for (const node of this.#world.nodes) {
      // One that dies in this very event has committed what it has committed.
      if (node.running === undefined) continue;
      const seen = this.#seenByNode.get(node);
      const status = node.running.parts.node.status();
      this.#noteCommitted(status);
      if (!node.isUp || seen?.installing === true) continue;
      if (seen?.running !== node.running || this.#keptBy(status) <= seen.committed) continue;
      this.checkCommitted(node, status, seen);
    }
  }

  /** Called after every event of the node. */
  check(node: SimNode): void {
    const { running } = node;
    if (running === undefined || !node.isUp) return;
    const seen = this.#seenByNode.get(node);
    if (seen?.running !== running || seen.installing) return;
    const status = running.parts.node.status();
    const leading = status.role === "leader";
    if (leading) {
      this.checkOneLeader(node, status, seen);
      this.#checkMajority(node, status);
    }
    this.checkChain(node, running);
    this.checkReach(node, running);
    this.#noteCommitted(status);
    if (this.#keptBy(status) > seen.committed) this.checkCommitted(node, status, seen);
    const applied = running.parts.applying.applied.lsn;
    if (applied !== seen.applied) this.checkApplied(node, running, status);
    if (applied < seen.applied) {
      if (seen.mayGoBack || this.#isWeak) seen.mayGoBack = false;
      else this.#violated("I13", `${node.id} had applied ${seen.applied}, went back to ${applied}`);
    }
    Object.assign(seen, { term: status.term, leading, last: status.last.lsn, applied });
  }

  /** I1, and with it I8 at the moment of election and the leader's half of I2. */
  checkOneLeader(node: SimNode, status: RaftStatus, seen: Seen): void {
    const known = this.#leaderByTerm.get(status.term);
    if (known === undefined) {
      this.#leaderByTerm.set(status.term, node.id);
      this.checkComplete(node, status);
    } else if (known !== node.id) {
      this.#violated("I1", `${node.id} and ${known} both lead term ${status.term}`);
    }
    if (seen.leading && seen.term === status.term && status.last.lsn < seen.last) {
      this.#violated("I2", `leader ${node.id} went back from ${seen.last} to ${status.last.lsn}`);
    }
  }

  /**
   * I8: a new leader has every entry that was committed in an earlier term. One that wakes to find itself elected,
   * after a later leader has committed more, need not have that; it will commit nothing itself [Raft §5.4.3].
   */
  checkComplete(node: SimNode, status: RaftStatus): void {
    const at = this.#keptLsn;
    if (at === 0 || this.#termByLsn.get(at)! > status.term) return;
    const { log } = node.running!.parts;
    const found = log.termAt(at);
    if (found === this.#termByLsn.get(at) || log.base.lsn >= at) return;
    this.#violated(
      "I8",
      `${node.id} leads term ${status.term} without committed ${at}@${this.#termByLsn.get(at)} ` +
        `(it has ${formatPosition(log.last)})`,
    );
  }

  /** I15: the log still has every change that a power cut may take away from the database. */
  checkReach(node: SimNode, { parts }: RunningNode): void {
    const { base } = parts.log;
    if (base.lsn === 0 || node.isWitness || parts.database.whole === undefined) return;
    const unsafe = node.store.unsafeLsn();
    if (unsafe === undefined || base.lsn < unsafe) return;
    this.#violated(
      "I15",
      `the log of ${node.id} begins after ${base.lsn}, its database may still lose ${unsafe}`,
    );
  }

  /** I3: equal LSN and term mean an equal entry, and an equal chain of all before it. */
  checkChain(node: SimNode, running: RunningNode): void {
    const { last, lastChain } = running.parts.log;
    if (last.lsn === 0) return;
    const entry = formatPosition(last);
    const known = this.#chainByEntry.get(entry);
    if (known === undefined) this.#chainByEntry.set(entry, lastChain);
    else if (known !== lastChain) {
      this.#violated("I3", `${node.id} has chain ${lastChain} at ${entry}, another has ${known}`);
    }
  }

  /** I2: what is committed is committed for good, everywhere the same, and on a majority of disks. */
  checkCommitted(node: SimNode, status: RaftStatus, seen: Seen): void {
    const { log } = node.running!.parts;
    const from = Math.max(seen.committed, log.base.lsn) + 1;
    const isLeader = status.role === "leader";
    // A follower may know of a commit before the entry is on its own disk. A leader may commit before its own sync
    // has ended: then the entry is of its own term.
    const kept = this.#keptBy(status);
    const upTo = isLeader ? kept : (Math.min(kept, status.durableLsn) as Lsn);
    for (let at = from as Lsn; at <= upTo; at = (at + 1) as Lsn) {
      const here = at <= status.durableLsn ? log.termAt(at) : status.term;
      if (here === undefined) continue;
      const known = this.#termByLsn.get(at);
      if (known === undefined) this.#termByLsn.set(at, here);
      else if (known !== here) {
        this.#violated("I2", `${node.id} commits ${at}@${here}, committed was ${at}@${known}`);
      }
    }
    seen.committed = upTo;
    if (upTo <= this.#keptLsn) return;
    this.#keptLsn = upTo;
    // Where an operator appoints leaders, safe is more than a commit by majority.
    if (isLeader && kept > status.safeLsn && !this.#world.parameters.isManual) {
      this.#violated("I2", `${node.id} commits ${kept}, of which only ${status.safeLsn} is safe`);
    }
  }

  #keptBy({ committedLsn, safeLsn }: RaftStatus): Lsn {
    return this.#isWeak ? (Math.min(committedLsn, safeLsn) as Lsn) : committedLsn;
  }

  #noteCommitted({ committedLsn }: RaftStatus): void {
    if (committedLsn > this.#committedLsn) this.#committedLsn = committedLsn;
  }

  /**
   * I14: what a leader calls safe is on a majority of the voters who count at that moment. By a rule that wants more
   * copies it is committed later, and others may count by then.
   */
  #checkMajority(node: SimNode, status: RaftStatus): void {
    const at = this.#world.parameters.isManual ? status.committedLsn : status.safeLsn;
    if (at <= this.#safeLsn) return;
    this.#safeLsn = at;
    // A leader may commit before its own sync has ended: then the entry is of its own term.
    const wanted = node.running!.parts.log.termAt(at) ?? status.term;
    const voters = status.membership.filter((m) => m.kind !== "learner");
    const holding = voters.filter(({ id }) => {
      const other = this.#world.node(id);
      const log = other?.running?.parts.log ?? other?.held?.log;
      return log !== undefined && (log.base.lsn >= at || log.termAt(at) === wanted);
    });
    // A disk that was lost since does not tell against the commit.
    const lost = voters.filter(({ id }) => this.#world.node(id)?.impaired === true);
    if (2 * (holding.length + lost.length) > voters.length) return;
    const names = holding.map((m) => m.id).join(", ");
    this.#violated("I14", `${node.id} calls ${at}@${wanted} safe, which only ${names} hold`);
  }

  /** I12 and I5: only what is committed is applied, and it gives the same database everywhere. */
  checkApplied(node: SimNode, running: RunningNode, status: RaftStatus): void {
    const { applying, database, log } = running.parts;
    const { applied } = applying;
    // A node that fetched its pages may have them before it hears that their entries are committed.
    const upTo = Math.max(status.committedLsn, this.#committedLsn);
    if (applied.lsn > upTo) {
      this.#violated("I12", `${node.id} applied ${applied.lsn}, committed is ${upTo}`);
    }
    const committed = this.#termByLsn.get(applied.lsn);
    const isOther = committed !== undefined && committed !== applied.term;
    if (isOther && log.base.lsn !== applied.lsn && !this.#isWeak) {
      this.#violated("I12", `${node.id} applied ${formatPosition(applied)}, not @${committed}`);
    }
    const served = database.whole;
    if (served === undefined) return;
    const checksum = formatHash(served.checksum());
    const entry = formatPosition(applied);
    const known = this.#checksumByEntry.get(entry);
    if (known === undefined) {
      this.#checksumByEntry.set(entry, checksum);
      const content = node.store.content()!;
      this.contentByLsn.set(content.lsn, content);
    } else if (known !== checksum) {
      this.#violated("I5", `${node.id} has ${checksum} at ${entry}, another had ${known}`);
    }
  }

  /** I14: what a message promises is on the disk of its sender. */
  checkPromise(node: SimNode, to: NodeId, { term, message }: Envelope): void {
    const log = node.running?.parts.log;
    if (log === undefined) return;
    const { hardState } = log;
    if (message.type === "vote-reply" && message.verdict !== "refused") {
      if (hardState.term < term || (hardState.term === term && hardState.vote !== to)) {
        this.#violated("I14", `${node.id} votes for ${to} in ${term}, not yet on its disk`);
      }
    }
    // One of a term that is over says nothing any more.
    const isNow = hardState.term === term;
    if (
      message.type === "vote" &&
      (hardState.term < term || (isNow && hardState.vote !== node.id))
    ) {
      this.#violated("I14", `${node.id} stands in term ${term}, not yet on its disk`);
    }
    if (message.type === "appended" && isNow && message.matchLsn > log.last.lsn) {
      this.#violated("I14", `${node.id} says it has ${message.matchLsn}, it has ${log.last.lsn}`);
    }
  }

  /** I4: what the last run held, this one holds. */
  checkKept(node: SimNode, running: RunningNode, held: Held): void {
    const { log } = running.parts;
    const { last, hardState } = held;
    if (log.hardState.term < hardState.term) {
      this.#violated("I4", `${node.id} was in term ${hardState.term}, is in ${log.hardState.term}`);
    } else if (
      log.hardState.term === hardState.term &&
      hardState.vote !== undefined &&
      log.hardState.vote !== hardState.vote
    ) {
      this.#violated("I4", `${node.id} voted for ${hardState.vote}, forgot it`);
    }
    if (hardState.born && !log.hardState.born) this.#violated("I4", `${node.id} forgot its birth`);
    const isThere = log.base.lsn >= last.lsn || log.termAt(last.lsn) === last.term;
    if (isThere || log.last.term > last.term || this.#isWeak) return;
    this.#violated(
      "I4",
      `${node.id} had ${formatPosition(last)} on its disk, now it has ${formatPosition(log.last)}`,
    );
  }

  /** I16: a recovered log ends where one of its batches ended, or where it starts. */
  checkBatchEnd(node: SimNode, { parts: { log } }: RunningNode): void {
    const ends = this.#batchEndsByNode.get(node) ?? new Set<string>();
    this.#batchEndsByNode.set(node, ends);
    const last = formatPosition(log.last);
    if (log.last.lsn > log.base.lsn && !ends.has(last)) {
      this.#violated("I16", `the log of ${node.id} ends at ${last}, where no batch ended`);
    }
    const persist = log.persist.bind(log);
    log.persist = (step) => {
      const end = step.entries.at(-1);
      if (end !== undefined) ends.add(formatPosition(end));
      return persist(step);
    };
  }

  /** I15: where applying goes on, the database has everything before. */
  checkNothingSkipped(node: SimNode, { parts }: RunningNode): void {
    const { whole } = parts.database;
    if (whole === undefined || this.#isWeak) return;
    const { lsn } = whole.position();
    const to = parts.applying.applied.lsn;
    for (const change of this.contentByLsn.keys()) {
      if (change > lsn && change <= to) {
        this.#violated("I15", `${node.id} goes on from ${to}, its database lacks ${change}`);
      }
    }
  }

  /** I19, in part: space stays bounded. Why it is not; a transaction left open holds a view until it expires. */
  spaceOver(nodes: readonly SimNode[]): string | undefined {
    const { logRetentionBytes } = this.#world.parameters;
    const logMax = logRetentionBytes + 4 * limits.segmentBytesMax;
    for (const { id, running } of nodes) {
      if (running === undefined) continue;
      const { log, database } = running.parts;
      const frames = database.served?.walFrames ?? 0;
      if (log.bytes > logMax) return `${id} keeps ${log.bytes} bytes of log`;
      if (frames > 4 * limits.checkpointFrames) return `${id} has ${frames} frames`;
    }
    return undefined;
  }

  /** I5 at rest: the pages themselves, not what memory says of them. */
  async checkEqual(nodes: readonly SimNode[]): Promise<void> {
    const [first, ...others] = nodes;
    const wanted = first && (await pagesOf(first));
    if (wanted === undefined) return;
    for (const other of others) {
      const found = await pagesOf(other);
      if (found === wanted) continue;
      this.#violated("I5", `in the end ${other.id} has ${found}, ${first!.id} has ${wanted}`);
    }
  }

  /** I20: what stock SQLite says of every copy. */
  async checkSound(nodes: readonly SimNode[]): Promise<void> {
    for (const { id, store, running } of nodes) {
      const { node, writes } = running?.parts ?? {};
      if (node !== undefined && !node.leadership.leading && writes?.ready === true) {
        this.#violated("I13", `${id} does not lead and keeps a writer`);
      }
      for (const problem of await store.problems()) this.#violated("I20", `${id}: ${problem}`);
    }
  }

  #violated(invariant: string, text: string): void {
    this.#world.violated(invariant, text);
  }
}

async function pagesOf({ store }: SimNode): Promise<string | undefined> {
  const checksum = await store.checksum();
  return checksum && formatHash(checksum);
}
