/**
 * What the tests of the modes of replication have in common: a cluster with a commit rule, writes that are remembered
 * by what became of them, faults, and the two ledgers that must cover every acknowledged write: the database, and what
 * was discarded.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { sleep, TestCluster } from "./cluster.ts";
import { execute, rowsOf } from "./sql.ts";

/** A cluster of three whose links can be broken, with a table `t (n INTEGER PRIMARY KEY, how TEXT)`. */
export async function startMode(...args: string[]): Promise<TestCluster> {
  const cluster = await TestCluster.start({ linked: true, args });
  try {
    // All are there, or rule all would rightly refuse the first write.
    await cluster.settled();
    const sql = "CREATE TABLE t (n INTEGER PRIMARY KEY, how TEXT)";
    await rowsOf(cluster.url(await cluster.leader()), sql);
    await cluster.settled();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

/** Writes with numbers of their own; what became of each is kept. */
export class Ledger {
  readonly ok = new Set<number>();
  readonly failed = new Set<number>();
  readonly unknown = new Set<number>();
  #next = 1;

  /** One write; resolves with what became of it. */
  async write(url: string, timeoutMs = 15_000): Promise<"ok" | "failed" | "unknown"> {
    const n = this.#next++;
    const sql = "INSERT INTO t VALUES (?, ?)";
    const outcome = await execute(url, sql, [n, "written"], { timeoutMs });
    this[outcome.type].add(n);
    return outcome.type;
  }

  /** Writes one after the other through whatever node runs, until `stop` is called. */
  run(urls: () => readonly string[], clients = 4): { stop(): Promise<void> } {
    let isRunning = true;
    const client = async (at: number): Promise<void> => {
      for (let i = at; isRunning; i++) {
        const all = urls();
        const url = all[i % all.length];
        if (url === undefined || (await this.write(url)) !== "ok") await sleep(10);
      }
    };
    const done = Promise.all(Array.from({ length: clients }, (_, at) => client(at)));
    return {
      stop: async () => {
        isRunning = false;
        await done;
      },
    };
  }
}

/** Numbers in the database of one node. */
export async function numbersIn(url: string): Promise<Set<number>> {
  const headers = { "paceline-consistency": "linearizable" };
  const rows = await rowsOf(url, "SELECT n FROM t", [], { headers });
  return new Set(rows.map(([n]) => n as number));
}

/** Numbers that statements in discarded/ of one node's directory insert. */
export function numbersDiscarded(dir: string): Set<number> {
  const numbers = new Set<number>();
  const folder = join(dir, "discarded");
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return numbers;
  }
  for (const name of names) {
    const text = readFileSync(join(folder, name, "statements.jsonl"), "utf8");
    for (const line of text.split("\n").filter((each) => each !== "")) {
      const { sql, args } = JSON.parse(line) as { sql: string; args: { value: string }[] };
      if (sql.startsWith("INSERT INTO t ")) numbers.add(Number(args[0]!.value));
    }
  }
  return numbers;
}

/**
 * Every copy is the same, and holds all acknowledged writes but those in discarded/, and no refused one. Returns the
 * acknowledged ones that were lost. (A write that was discarded before it was answered may have been repeated by the
 * node that took it, and be there all the same.)
 */
export async function checkLedger(cluster: TestCluster, ledger: Ledger): Promise<number[]> {
  await cluster.settled();
  const discarded = new Set(cluster.nodes.flatMap(({ dir }) => [...numbersDiscarded(dir)]));
  const lost: number[] = [];
  for (const url of cluster.urls) {
    const found = await numbersIn(url);
    const missing = [...ledger.ok].filter((n) => !found.has(n));
    const silent = missing.filter((n) => !discarded.has(n));
    if (silent.length > 0) throw new Error(`${url} lacks ${silent.join()}, and nobody kept them`);
    const risen = [...ledger.failed].filter((n) => found.has(n));
    if (risen.length > 0) throw new Error(`${url} has ${risen.join()}, which were refused`);
    lost.push(...missing);
  }
  return [...new Set(lost)];
}

/** A node that does not lead. */
export async function followerOf(cluster: TestCluster): Promise<string> {
  const leader = await cluster.leader();
  return cluster.nodes.find((node) => node.id !== leader)!.id;
}

/** The leader and a follower are killed: the last node answers no write. Then they return. Returns what was lost. */
export async function killTwo(cluster: TestCluster, ledger: Ledger): Promise<number[]> {
  const leader = await cluster.leader();
  const follower = await followerOf(cluster);
  const last = cluster.nodes.find(({ id }) => id !== leader && id !== follower)!.id;
  await Promise.all([cluster.kill(leader), cluster.kill(follower)]);
  const before = ledger.ok.size;
  for (let i = 0; i < 3; i++) await ledger.write(cluster.url(last), 700);
  if (ledger.ok.size > before) throw new Error("one node of three acknowledged a write");
  cluster.restart(leader);
  cluster.restart(follower);
  return await checkLedger(cluster, ledger);
}

/** Resolves once another node than `old` leads. */
export async function newLeader(cluster: TestCluster, old: string): Promise<string> {
  for (const until = Date.now() + 15_000; Date.now() < until; ) {
    for (const { id } of cluster.nodes) {
      if (id === old || !cluster.isRunning(id)) continue;
      const status = await cluster.statusOf(id);
      if (status?.leader === id) return id;
    }
    await sleep(20);
  }
  throw new Error(`no other leader than ${old}`);
}
