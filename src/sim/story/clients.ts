/**
 * Clients: each asks one node after the other, one request at a time, remembers the position it has seen, and goes
 * elsewhere when it is refused. What it did and saw goes into the history.
 *
 * Probes stay at their node and ask it for nothing but linearizable reads: a leader that is cut off, or wakes from a
 * long pause, is asked at once and again and again, while the others write elsewhere.
 */

import { ClientError } from "../../base/errors.ts";
import type { Prng } from "../../base/prng.ts";
import type { SqlRequest } from "../../db/sql/request.ts";
import type { Consistency, RunAnswer, RunOptions } from "../../node/route/run.ts";
import type { EntryId } from "../../vocabulary.ts";
import { listCapacity } from "../model/lists.ts";
import { isError, listIn, sql, statement } from "../model/sql.ts";
import type { Append, History } from "./history.ts";
import type { SimNode } from "./node.ts";
import type { Watch } from "./watch.ts";
import type { World } from "./world.ts";

/** The node did not live to answer, or the client did not wait any longer. */
class NoAnswer extends Error {}

/** A client gives up after so long. */
const patienceMs = 20_000;

export class Clients {
  readonly #world: World;
  readonly #history: History;
  readonly #watch: Watch;
  #nextValue = 1;
  readonly #asked: number[] = [];
  /** Clients that have a request under way. */
  busy = 0;
  #stopped = false;

  constructor(world: World, history: History, watch: Watch) {
    this.#world = world;
    this.#history = history;
    this.#watch = watch;
  }

  begin(prng: Prng): void {
    const { clients } = this.#world.parameters;
    for (let i = 0; i < clients; i++) void this.#live(i, prng.child());
    const { nodes, parameters } = this.#world;
    if (parameters.probeMs === undefined) return;
    // One that reads in the writer waits there for the fate of what others write: it would be all that is seen.
    for (const [i, node] of nodes.entries()) {
      void this.#probe(clients + 2 * i, node, prng.child(), false);
      void this.#probe(clients + 2 * i + 1, node, prng.child(), true);
    }
  }

  /** No new requests. */
  stop(): void {
    this.#stopped = true;
  }

  async #live(client: number, prng: Prng): Promise<void> {
    const { parameters, nodes } = this.#world;
    const one = this.#client(client, prng);
    let node = nodes[client % nodes.length]!;
    for (;;) {
      await this.#think(prng, parameters.thinkMs);
      if (this.#stopped) return;
      if (!node.isUp || prng.chance(0.1)) node = nodes[prng.integer(0, nodes.length)]!;
      if (!node.isUp) continue;
      this.busy++;
      const isServed = await one.request(node);
      this.busy--;
      if (!isServed) node = nodes[prng.integer(0, nodes.length)]!;
    }
  }

  async #probe(client: number, node: SimNode, prng: Prng, inWriter: boolean): Promise<void> {
    const one = this.#client(client, prng);
    for (;;) {
      await this.#think(prng, this.#world.parameters.probeMs!);
      if (this.#stopped) return;
      if (!node.isUp) continue;
      this.busy++;
      await one.read(node, { type: "linearizable" }, inWriter);
      this.busy--;
    }
  }

  #client(number: number, prng: Prng): Client {
    return new Client(number, prng, this.#world, {
      history: this.#history,
      watch: this.#watch,
      value: () => this.#nextValue++,
      asked: this.#asked,
    });
  }

  #think(prng: Prng, meanMs: number): Promise<void> {
    return this.#world.scheduler.pause(prng.exponential(meanMs));
  }
}

type Book = {
  readonly history: History;
  readonly watch: Watch;
  value(): number;
  /** Appends asked for, by list: one that is full refuses in the middle of a transaction, which proves nothing. */
  readonly asked: number[];
};

class Client {
  readonly #number: number;
  readonly #prng: Prng;
  readonly #world: World;
  readonly #book: Book;
  #token: EntryId | undefined;

  constructor(number: number, prng: Prng, world: World, book: Book) {
    this.#number = number;
    this.#prng = prng;
    this.#world = world;
    this.#book = book;
  }

  /** Lists with room for one more value each, or undefined. */
  #roomyLists(count: number): readonly number[] | undefined {
    const lists = this.#someLists(count);
    const { asked } = this.#book;
    if (lists.some((list) => (asked[list] ?? 0) >= listCapacity())) return undefined;
    for (const list of lists) asked[list] = (asked[list] ?? 0) + 1;
    return lists;
  }

  /** One request, or one transaction of several. False when the node would not or could not. */
  async request(node: SimNode): Promise<boolean> {
    const draw = this.#prng.integer(0, 100);
    if (this.#prng.chance(this.#world.parameters.reading)) {
      return draw < 15 ? this.#readSession(node) : this.#read(node);
    }
    if (draw < 60) return this.#append(node, 1);
    if (draw < 75) return this.#append(node, 2);
    if (draw < 80) return this.#interactive(node);
    if (draw < 85) return this.#deferred(node);
    return draw < 94 ? this.#fill(node) : this.#wrong(node);
  }

  async #append(node: SimNode, count: number): Promise<boolean> {
    const lists = this.#roomyLists(count);
    if (lists === undefined) return true;
    const append = this.#open(lists);
    const steps = append.lists.map((list) => statement(sql.append, list, append.value));
    const requests =
      steps.length === 1 ? steps : [statement(sql.begin), ...steps, statement(sql.commit)];
    return this.#settle(append, node, async () => this.#run(node, requests));
  }

  /** A transaction whose requests come one by one; some of them are given up. */
  async #interactive(node: SimNode): Promise<boolean> {
    const lists = this.#roomyLists(2);
    if (lists === undefined) return true;
    const append = this.#open(lists);
    const [first, second] = append.lists.map((list) => statement(sql.append, list, append.value));
    const givesUp = this.#prng.chance(0.3);
    const forgets = this.#prng.chance(0.1);
    return this.#settle(append, node, async () => {
      const begun = await this.#run(node, [statement(sql.begin), first!]);
      await this.#world.scheduler.pause(this.#prng.integer(0, 200));
      // Nobody will ever hear of it again; the node must end it.
      if (forgets) throw new ClientError("TRANSACTION_TIMEOUT", "forgotten");
      const rest = givesUp ? [statement(sql.rollback)] : [second!, statement(sql.commit)];
      const ended = await this.#run(node, rest, { session: begun.session });
      if (givesUp) throw new ClientError("TRANSACTION_TIMEOUT", "rolled back");
      return { ...ended, results: [...begun.results, ...ended.results] };
    });
  }

  /**
   * A transaction that reads one list and, some time after, writes to two: wherever the others wrote meanwhile, it must
   * come to nothing, and what it reads behind its own write is what it read before it.
   */
  async #deferred(node: SimNode): Promise<boolean> {
    const lists = this.#roomyLists(2);
    if (lists === undefined) return true;
    const append = this.#open(lists);
    const [list] = lists;
    const appends = append.lists.map((each) => statement(sql.append, each, append.value));
    return this.#settle(append, node, async () => {
      const begun = await this.#run(node, [
        statement(sql.beginDeferred),
        statement(sql.read, list!),
      ]);
      await this.#world.scheduler.pause(this.#prng.integer(0, 200));
      const written = await this.#run(node, appends, { session: begun.session });
      if (written.results.some(isError)) {
        const { session } = written;
        if (session !== undefined) await this.#run(node, [statement(sql.rollback)], { session });
        throw new ClientError("TRANSACTION_TIMEOUT", "something was committed since");
      }
      const rest = [statement(sql.read, list!), statement(sql.commit)];
      const ended = await this.#run(node, rest, { session: written.session });
      const [before, after] = [listIn(begun.results[1]!)!, listIn(ended.results[0]!)!];
      if (after.join() !== [...before, append.value].join()) {
        this.#world.violated("I23", `${append.value} was written to a list that had changed`);
      }
      return ended;
    });
  }

  async #fill(node: SimNode): Promise<boolean> {
    const pages = this.#prng.integer(0, 24);
    return this.#attempt(node, async () => {
      await this.#run(node, [statement(sql.fill, this.#book.value(), pages)]);
    });
  }

  /** A statement that fails within a transaction that is then rolled back. */
  async #wrong(node: SimNode): Promise<boolean> {
    const lists = this.#roomyLists(1);
    if (lists === undefined) return true;
    const append = this.#open(lists);
    return this.#settle(append, node, async () => {
      const answer = await this.#run(node, [
        statement(sql.begin),
        statement(sql.append, append.lists[0]!, append.value),
        statement(sql.wrong, append.value),
        statement(sql.rollback),
      ]);
      return answer;
    });
  }

  async #read(node: SimNode): Promise<boolean> {
    const consistency = this.#someConsistency();
    // In the writer a read is as fresh as can be.
    const inWriter = consistency.type === "linearizable" && this.#prng.chance(0.3);
    return this.read(node, consistency, inWriter);
  }

  async read(node: SimNode, consistency: Consistency, inWriter: boolean): Promise<boolean> {
    const lists = this.#someLists(this.#prng.chance(0.4) ? 2 : 1);
    const reads = lists.map((list) => statement(sql.read, list));
    const begin = statement(inWriter ? sql.begin : sql.beginRead);
    const isPlain = lists.length === 1 && !inWriter;
    const requests = isPlain ? reads : [begin, ...reads, statement(sql.commit)];
    return this.#attempt(node, async () => {
      const invokedMs = this.#world.scheduler.nowMs;
      const token = this.#token;
      const answer = await this.#run(node, requests, { consistency });
      const exact = !inWriter;
      this.#note({ node, consistency, invokedMs, token, exact, lists, answers: [answer] });
    });
  }

  /** A read transaction whose requests come one by one: all of one moment. */
  async #readSession(node: SimNode): Promise<boolean> {
    const lists = this.#someLists(2);
    const consistency = this.#someConsistency();
    return this.#attempt(node, async () => {
      const invokedMs = this.#world.scheduler.nowMs;
      const token = this.#token;
      const begin = [statement(sql.beginRead), statement(sql.read, lists[0]!)];
      const first = await this.#run(node, begin, { consistency });
      await this.#world.scheduler.pause(this.#prng.integer(0, 300));
      const rest = lists.slice(1).map((list) => statement(sql.read, list));
      const second = await this.#run(node, [...rest, statement(sql.commit)], {
        consistency,
        session: first.session,
      });
      const answers = [first, second];
      this.#note({ node, consistency, invokedMs, token, exact: true, lists, answers });
    });
  }

  #note(read: {
    readonly node: SimNode;
    readonly consistency: Consistency;
    readonly invokedMs: number;
    readonly token: EntryId | undefined;
    readonly exact: boolean;
    readonly lists: readonly number[];
    readonly answers: readonly RunAnswer[];
  }): void {
    const { node, consistency, lists, answers, ...rest } = read;
    const shown = answers.flatMap((answer) => answer.results.map(listIn));
    const values = shown.filter((list) => list !== undefined);
    // What this event has committed has not been looked at yet.
    this.#book.watch.noteCommits();
    this.#book.history.reads.push({
      ...rest,
      client: this.#number,
      node: node.id,
      consistency: consistency.type,
      maxLagMs: consistency.type === "bounded" ? consistency.maxLagMs : undefined,
      position: answers[0]!.position,
      committedLsn: this.#book.watch.committedLsn,
      lists: lists.map((list, i) => ({ list, values: values[i]! })),
    });
  }

  #open(lists: readonly number[]): Append {
    const append: Append = {
      value: this.#book.value(),
      lists,
      client: this.#number,
      invokedMs: this.#world.scheduler.nowMs,
      endedMs: undefined,
      outcome: "open",
      why: "",
      position: undefined,
    };
    this.#book.history.appends.push(append);
    return append;
  }

  async #settle(append: Append, node: SimNode, run: () => Promise<RunAnswer>): Promise<boolean> {
    try {
      const answer = await run();
      append.position = answer.position;
      const failed = answer.results.some(isError);
      append.outcome = failed ? "refused" : "acked";
      append.why = failed ? "statement failed" : "";
      return true;
    } catch (error) {
      append.why = error instanceof ClientError ? error.code : String(error);
      const isUnknown = error instanceof NoAnswer || append.why === "UNKNOWN_OUTCOME";
      append.outcome = isUnknown ? "unknown" : "refused";
      this.#tell(node, `${append.value}: ${append.outcome}, ${append.why}`);
      return false;
    } finally {
      append.endedMs = this.#world.scheduler.nowMs;
      if (append.outcome === "acked") {
        const at = `${append.position!.lsn}@${append.position!.term}`;
        this.#tell(node, `${append.value} in ${append.lists.join("+")}: acked at ${at}`);
      }
    }
  }

  async #attempt(node: SimNode, run: () => Promise<void>): Promise<boolean> {
    try {
      await run();
      return true;
    } catch (error) {
      this.#tell(node, error instanceof ClientError ? error.code : String(error));
      return false;
    }
  }

  async #run(
    node: SimNode,
    requests: readonly SqlRequest[],
    options: Partial<RunOptions> = {},
  ): Promise<RunAnswer> {
    const { running, life } = node;
    if (running === undefined || life?.alive !== true) throw new NoAnswer("the node is down");
    const { promise: over, reject } = Promise.withResolvers<never>();
    over.catch(() => {});
    const onDeath = () => reject(new NoAnswer("the node died"));
    node.onDeath.add(onDeath);
    const abort = new AbortController();
    const cancel = this.#world.scheduler.after(patienceMs, () => {
      abort.abort();
      reject(new NoAnswer("the client gave up"));
    });
    const { promise: arrived, resolve } = Promise.withResolvers<void>();
    // The request arrives when the node runs; while it is paused, it waits.
    this.#world.scheduler.after(0, resolve, life);
    try {
      const answer = await Promise.race([
        over,
        arrived.then(() =>
          running.parts.routing.run(
            { requests },
            {
              consistency: { type: "session" },
              minPosition: this.#token,
              session: undefined,
              deadlineMs: undefined,
              signal: abort.signal,
              ...options,
            },
          ),
        ),
      ]);
      const { position } = answer;
      if (this.#token === undefined || position.lsn > this.#token.lsn) this.#token = position;
      return answer;
    } finally {
      cancel();
      node.onDeath.delete(onDeath);
    }
  }

  #someLists(count: number): readonly number[] {
    const { lists } = this.#world.parameters;
    const first = this.#prng.integer(0, lists);
    if (count === 1) return [first];
    return [first, (first + this.#prng.integer(1, lists)) % lists];
  }

  #someConsistency(): Consistency {
    const draw = this.#prng.integer(0, 10);
    if (draw < 4) return { type: "linearizable" };
    if (draw < 5) return { type: "leader" };
    if (draw < 8) return { type: "session" };
    if (draw < 9) return { type: "stale" };
    return { type: "bounded", maxLagMs: 500 };
  }

  #tell(node: SimNode, line: string): void {
    this.#world.tell(`c${this.#number}`, `→${node.id} ${line}`);
  }
}
