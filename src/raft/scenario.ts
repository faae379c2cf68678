/**
 * Scenario files: a story of a cluster, told in commands and answered by what happened. Blocks are separated by blank
 * lines; in a block, commands stand above `---` and the transcript below. Lines that begin with `#` are prose.
 *
 *   cluster voters=1,2,3 witnesses=4 learners=5 leader=1   all running; node 1 leads and everyone has settled
 *   start 6                  a new node, no member of anything, as a joiner starts
 *   write 1 a b              node 1 is asked to append two payloads at once
 *   settle                   messages are delivered and disks written until nothing moves; no time passes
 *   tick 200 2,3             time passes for all in steps of 10 ms; only the named nodes (all, if none) notice
 *   campaign 2               time passes until node 2 stands; the others notice it only when spoken to
 *   isolate 2 · cut 1 2 · heal     messages from or to a node, or between two, are dropped · no more of that
 *   deliver 1 2 · drop 1 2   only what waits between these two: delivered, or lost
 *   keep x 1 2 · replay x    what waits from 1 to 2 is taken aside under a name · is delivered, again if repeated
 *   hold 1 · release 1       the disk of node 1 stalls: no Ready is finished · goes on
 *   crash 1 · restart 1 · wipe 1   the disk stays · the node is back · it is back with an empty disk
 *   link-lost 2 1            node 2 notices that its connection to node 1 broke
 *   transfer 1 2 · add 1 4 learner · remove 1 3 · kind 1 4 voter    asked of node 1
 *   read 2 7 · lease 1       node 2 asks for read index number 7 · does node 1 hold a lease?
 *   damage 2                 node 2's database is damaged: it must not lead
 *   compact 1 5 · sync 1 3   the log of node 1 drops up to LSN 5 · page sync from 1 to 3
 *   status                   one line per node
 *
 * Positions print as `lsn@term`, sends as `from→to`. Heartbeats and their answers print only where they bring news:
 * another commit mark, a refusal.
 */

import { assert } from "../base/assert.ts";
import {
  type Entry,
  formatPosition,
  lsn,
  type MemberKind,
  type Membership,
  type NodeId,
  nodeId,
} from "../vocabulary.ts";
import { decodeMembership } from "./membership.ts";
import type { Proposal, Ready } from "./raft.ts";
import { type Packet, ToyCluster, type ToyNode } from "./toy-cluster.ts";

const tickMs = 10;

/** Runs a scenario file and returns it with the transcripts that really came out. */
export function runScenario(text: string): string {
  const scenario = new Scenario();
  const blocks = text.trimEnd().split(/\n\n+/);
  const answered = blocks.map((block) => {
    const lines = block.split("\n");
    const end = lines.indexOf("---");
    const asked = end < 0 ? lines : lines.slice(0, end);
    const commands = asked.filter((line) => line !== "" && !line.startsWith("#"));
    if (commands.length === 0) return asked.join("\n");
    const transcript = commands.flatMap((command) => scenario.run(command));
    return [...asked, "---", ...transcript].join("\n");
  });
  return `${answered.join("\n\n")}\n`;
}

class Scenario {
  readonly #cluster: ToyCluster;
  #lines: string[] = [];
  /** On the wire, oldest first. */
  #packets: Packet[] = [];
  readonly #kept = new Map<string, Packet[]>();
  /** Directed pairs. */
  readonly #cuts = new Set<string>();
  readonly #held = new Set<NodeId>();
  /** What was last printed about a node or a link, so that only news is. */
  readonly #printed = new Map<string, string>();

  constructor() {
    this.#cluster = new ToyCluster(1, {
      onSent: (packet) => this.#onSent(packet),
      onReady: (node, ready) => this.#onReady(node, ready),
      onSpread: () => {},
    });
  }

  run(command: string): readonly string[] {
    this.#lines = [];
    const [verb, ...args] = command.split(/\s+/) as [string, ...string[]];
    if (verb === "cluster") this.#create(args);
    else {
      const action = this.#actions[verb];
      assert(action !== undefined, `unknown verb ${verb}`);
      action(args);
    }
    this.#work();
    return this.#lines;
  }

  readonly #actions: Readonly<Record<string, (args: readonly string[]) => void>> = {
    start: ([id]) => this.#cluster.add(nodeId(id!), []),
    write: ([id, ...bodies]) => {
      for (const body of bodies) this.#propose(this.#node(id!), body);
    },
    settle: () => this.#settle(),
    tick: ([ms, ids]) => this.#tick(Number(ms), ids?.split(",")),
    campaign: ([id]) => this.#campaign(this.#node(id!)),
    isolate: ([id]) => {
      for (const other of this.#cluster.nodes.keys()) this.#cut(id!, other);
    },
    cut: ([a, b]) => this.#cut(a!, b!),
    heal: () => this.#cuts.clear(),
    deliver: ([a, b]) => this.#take(a!, b!).forEach((packet) => void this.#deliver(packet)),
    drop: ([a, b]) => void this.#take(a!, b!),
    keep: ([name, a, b]) => void this.#kept.set(name!, this.#take(a!, b!)),
    replay: ([name]) => this.#kept.get(name!)!.forEach((packet) => void this.#deliver(packet)),
    hold: ([id]) => void this.#held.add(nodeId(id!)),
    release: ([id]) => void this.#held.delete(nodeId(id!)),
    crash: ([id]) => this.#crash(this.#node(id!)),
    restart: ([id]) => this.#node(id!).start(),
    wipe: ([id]) => {
      this.#crash(this.#node(id!));
      this.#node(id!).wipe({ ...this.#node(id!).disk.base });
      this.#node(id!).start();
    },
    "link-lost": ([id, lost]) => {
      this.#node(id!).raft.linkLost(nodeId(lost!), this.#node(id!).nowMs);
    },
    transfer: ([id, to]) => {
      const node = this.#node(id!);
      this.#refusal(node, node.raft.transferTo(nodeId(to!), node.nowMs));
    },
    add: ([at, id, kind]) => {
      const member = { id: nodeId(id!), kind: kind as MemberKind, address: `${id}:1` };
      const node = this.#node(at!);
      this.#proposal(node, node.raft.changeMembership({ type: "add", member }, node.nowMs));
    },
    remove: ([at, id]) => {
      const node = this.#node(at!);
      const change = { type: "remove", id: nodeId(id!) } as const;
      this.#proposal(node, node.raft.changeMembership(change, node.nowMs));
    },
    kind: ([at, id, kind]) => {
      const node = this.#node(at!);
      const change = { type: "kind", id: nodeId(id!), kind: kind as MemberKind } as const;
      this.#proposal(node, node.raft.changeMembership(change, node.nowMs));
    },
    read: ([id, number]) => {
      const node = this.#node(id!);
      this.#refusal(node, node.raft.readIndex(Number(number), node.nowMs));
    },
    lease: ([id]) => {
      const node = this.#node(id!);
      this.#say(`${id} ${node.raft.hasLease(node.nowMs) ? "has the lease" : "has no lease"}`);
    },
    damage: ([id]) => this.#node(id!).raft.setElectable(false),
    compact: ([id, upTo]) => this.#node(id!).compact(lsn(Number(upTo))),
    sync: ([from, to]) => this.#sync(this.#node(from!), this.#node(to!)),
    status: () => this.#cluster.nodes.forEach((node) => void this.#status(node)),
  };

  #create(args: readonly string[]): void {
    const named = new Map(args.map((arg) => arg.split("=") as [string, string]));
    const kinds: [string, MemberKind][] = [
      ["voters", "voter"],
      ["witnesses", "witness"],
      ["learners", "learner"],
    ];
    const members = kinds.flatMap(([name, kind]) =>
      (named.get(name)?.split(",") ?? []).map((id) => ({
        id: nodeId(id),
        kind,
        address: `${id}:1`,
      })),
    );
    const membership: Membership = members.sort((a, b) => (a.id < b.id ? -1 : 1));
    for (const { id } of membership) this.#cluster.add(id, membership);
    const leader = named.get("leader");
    if (leader === undefined) return;
    this.#campaign(this.#node(leader));
    this.#settle();
    this.#tick(100);
    this.#lines = [`${leader} leads`];
  }

  #node(id: string): ToyNode {
    return this.#cluster.node(nodeId(id));
  }

  #propose(node: ToyNode, body: string): void {
    const bytes = new TextEncoder().encode(body);
    this.#proposal(node, node.raft.propose("payload", bytes, node.nowMs));
  }

  #proposal(node: ToyNode, proposal: Proposal): void {
    if (!proposal.accepted) this.#refusal(node, proposal.why);
  }

  #refusal(node: ToyNode, why: string | undefined): void {
    if (why !== undefined) this.#say(`${node.id} refuses: ${why}`);
  }

  #settle(): void {
    this.#work();
    for (let n = 0; this.#packets.length > 0; n++) {
      assert(n < 10_000, "a cluster that never settles");
      this.#deliver(this.#packets.shift()!);
    }
  }

  #tick(ms: number, ids?: readonly string[]): void {
    for (let passed = 0; passed < ms; passed += tickMs) {
      this.#cluster.nowMs += tickMs;
      const awake = this.#cluster.up().filter((node) => ids?.includes(node.id) ?? true);
      for (const node of awake) {
        node.raft.tick(node.nowMs);
        this.#drain(node);
      }
      const others = this.#packets.filter(({ envelope }) => !this.#isAwake(awake, envelope.to));
      this.#packets = this.#packets.filter(({ envelope }) => this.#isAwake(awake, envelope.to));
      this.#settleAmong(awake);
      this.#packets.unshift(...others);
    }
  }

  #isAwake(awake: readonly ToyNode[], id: NodeId): boolean {
    return awake.some((node) => node.id === id);
  }

  /** Delivers among the awake; what is for the others waits. */
  #settleAmong(awake: readonly ToyNode[]): void {
    const waiting: Packet[] = [];
    while (this.#packets.length > 0) {
      const packet = this.#packets.shift()!;
      if (this.#isAwake(awake, packet.envelope.to)) this.#deliver(packet);
      else waiting.push(packet);
    }
    this.#packets = waiting;
  }

  #campaign(node: ToyNode): void {
    const before = node.raft.status();
    for (let n = 0; n < 1_000; n++) {
      this.#cluster.nowMs += tickMs;
      node.raft.tick(node.nowMs);
      const { role, term } = node.raft.status();
      if (role === "candidate" || term !== before.term) break;
    }
    this.#drain(node);
  }

  #cut(a: string, b: string): void {
    this.#cuts.add(`${a}${b}`).add(`${b}${a}`);
  }

  #take(from: string, to: string): Packet[] {
    const isBetween = ({ envelope }: Packet) => envelope.from === from && envelope.to === to;
    const taken = this.#packets.filter(isBetween);
    this.#packets = this.#packets.filter((packet) => !isBetween(packet));
    return taken;
  }

  #deliver(packet: Packet): void {
    const { from, to } = packet.envelope;
    const node = this.#cluster.nodes.get(to);
    if (this.#cuts.has(`${from}${to}`) || !node?.isUp) return;
    node.step(packet);
    this.#drain(node);
  }

  #crash(node: ToyNode): void {
    node.crash();
    this.#packets = this.#packets.filter(({ envelope }) => envelope.from !== node.id);
    this.#held.delete(node.id);
    this.#say(`${node.id} is down`);
  }

  #sync(from: ToyNode, to: ToyNode): void {
    const snapshot = from.snapshot(from.disk.committedLsn);
    const done = to.install(snapshot) ? "starts at" : "does not need";
    this.#say(`${to.id} ${done} snapshot ${formatPosition(snapshot)}`);
    const report = { type: "snapshot-done", lsn: snapshot.lsn } as const;
    from.raft.reportProgress(to.id, report, from.nowMs);
  }

  /** Everyone does what there is to do, except those whose disk stalls. */
  #work(): void {
    for (const node of this.#cluster.up()) this.#drain(node);
  }

  #drain(node: ToyNode): void {
    if (this.#held.has(node.id)) node.begin();
    else node.drain();
    this.#role(node);
  }

  #role(node: ToyNode): void {
    const { role, term, leader, membership } = node.raft.status();
    const whom = leader === undefined || leader === node.id ? "" : ` of ${leader}`;
    this.#news(`${node.id} role`, `${node.id} ${role}${whom} term=${term}`);
    const members = membership.map(({ id, kind }) => `${id}${kind === "voter" ? "" : `:${kind}`}`);
    this.#news(`${node.id} members`, `${node.id} members ${members.join(" ")}`);
  }

  #onReady(node: ToyNode, ready: Ready): void {
    this.#role(node);
    const { hardState, entries, committedLsn, reads, snapshotsWanted } = ready;
    if (hardState !== undefined) {
      const vote = `vote=${hardState.vote ?? "none"}${hardState.born ? "" : " unborn"}`;
      this.#news(`${node.id} hard`, `${node.id} persists term=${hardState.term} ${vote}`);
    }
    if (entries.length > 0) this.#say(`${node.id} persists ${describe(entries)}`);
    if (committedLsn > 0) {
      this.#news(`${node.id} commit`, `${node.id} committed ${committedLsn}`);
    }
    for (const read of reads) this.#say(`${node.id} read ${read.id} at ${read.lsn ?? "refused"}`);
    for (const id of snapshotsWanted) this.#say(`${node.id} wants page sync for ${id}`);
  }

  #onSent(packet: Packet): void {
    const { from, to } = packet.envelope;
    const isCut = this.#cuts.has(`${from}${to}`);
    const isUp = this.#cluster.nodes.get(to)?.isUp ?? false;
    const fate = isCut || !isUp ? " dropped" : "";
    const text = `${from}→${to} ${describeMessage(packet)}`;
    const { message } = packet.envelope;
    // A heartbeat and its answer are news only when they differ from the last ones.
    const isHeartbeat = message.type === "append" && packet.entries.length === 0;
    if (isHeartbeat) this.#news(`${from}${to} beat`, text, fate);
    else if (message.type === "appended") this.#news(`${from}${to} beaten`, text, fate);
    else this.#say(text + fate);
    if (fate === "") this.#packets.push(packet);
  }

  #status(node: ToyNode): void {
    if (!node.isUp) {
      this.#say(`${node.id} down`);
      return;
    }
    const { role, term, last, committedLsn, progress, born } = node.raft.status();
    const birth = born ? "" : " unborn";
    this.#say(
      `${node.id} ${role} term=${term} last=${formatPosition(last)} committed=${committedLsn}${birth}`,
    );
    for (const { id, mode, matchLsn } of progress) {
      this.#say(`  ${id} ${mode} match=${matchLsn}`);
    }
  }

  #news(key: string, text: string, suffix = ""): void {
    if (this.#printed.get(key) === text) return;
    this.#printed.set(key, text);
    this.#say(text + suffix);
  }

  #say(line: string): void {
    this.#lines.push(line);
  }
}

function describe(entries: readonly Entry[]): string {
  const texts = entries.map((entry) => {
    const position = formatPosition(entry);
    if (entry.kind === "payload") return `${position}:${new TextDecoder().decode(entry.body)}`;
    if (entry.kind !== "membership") return `${position}:${entry.kind}`;
    const ids = decodeMembership(entry.body).map((member) => member.id);
    return `${position}:members=${ids.join()}`;
  });
  return `[${texts.join(" ")}]`;
}

function describeMessage({ envelope, entries }: Packet): string {
  const { message, term } = envelope;
  switch (message.type) {
    case "prevote":
      return `prevote? last=${formatPosition(message.last)} for term ${term + 1}${birthMark(message)}`;
    case "prevote-reply":
      return `prevote ${message.verdict} for term ${message.forTerm}`;
    case "vote": {
      const order = message.transfer ? " by order" : "";
      return `vote? last=${formatPosition(message.last)} term=${term}${order}${birthMark(message)}`;
    }
    case "vote-reply":
      return `vote ${message.verdict} term=${term}`;
    case "append":
      return `append after=${formatPosition(message.prev)} ${describe(entries)} commit=${message.committedLsn}`;
    case "appended":
      return `appended ${message.matchLsn}`;
    case "append-refused":
      return `append after ${message.prevLsn} refused, try ${formatPosition(message.hint)} term=${term}`;
    case "timeout-now":
      return "stand now";
    case "read":
      return `read ${message.id}?`;
    case "read-reply":
      return `read ${message.id} at ${message.lsn ?? "refused"}`;
  }
}

function birthMark(message: { readonly born: boolean }): string {
  return message.born ? "" : " unborn";
}
