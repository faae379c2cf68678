/**
 * Large work on a cluster of real processes, and whether anybody else noticed: for `test/process/large.test.ts` and
 * `npm run proof -- --only large`.
 *
 * Each step says how long it took, what went wrong, how often the leader changed, for how long a node answered nobody
 * (its event loop was held up), and the memory of the nodes. It throws nothing: what counts as wrong is in `faults`.
 */

import { readFileSync } from "node:fs";
import { messageOf } from "../../src/base/errors.ts";
import { sleep, type TestCluster } from "./cluster.ts";

export type Step = {
  readonly step: string;
  readonly seconds: number;
  readonly leaderChanges: number;
  /** The longest that a node took to answer a request for its state. */
  readonly longestSilenceMs: number;
  /** Highest resident memory of each node so far. */
  readonly rssMiB: readonly number[];
  readonly faults: readonly string[];
};

type Request = Readonly<Record<string, unknown>>;
type Answer = { readonly baton: string | null; readonly base_url: string | null; errors: string[] };

/** One megabyte of what does not compress. */
const megabyte = "randomblob(1000000)";

export class LargeWork {
  readonly steps: Step[] = [];
  readonly #cluster: TestCluster;
  readonly #tell: (line: string) => void;

  constructor(cluster: TestCluster, tell: (line: string) => void) {
    this.#cluster = cluster;
    this.#tell = tell;
  }

  get faults(): readonly string[] {
    return this.steps.flatMap(({ step, faults }) => faults.map((fault) => `${step}: ${fault}`));
  }

  /** One interactive transaction of so many megabytes, through a follower. */
  transaction(megabytes: number, expected?: string): Promise<void> {
    return this.#step(`one transaction of ${megabytes} MB`, async () => {
      const codes = await this.#fillTransaction(megabytes);
      return codes[0] === expected && codes.length <= 1 ? [] : [codes.join(", ") || "no error"];
    });
  }

  /** Transactions of so many megabytes, one after the other; the table is emptied in between. */
  series(megabytes: number, minutes: number): Promise<void> {
    return this.#step(`transactions of ${megabytes} MB for ${minutes} minutes`, async () => {
      const untilMs = Date.now() + minutes * 60_000;
      const faults: string[] = [];
      for (let n = 1; Date.now() < untilMs; n++) {
        faults.push(...(await this.#fillTransaction(megabytes)));
        if (n % 4 === 0) faults.push(...(await this.#run(["DELETE FROM large"])));
      }
      return faults;
    });
  }

  /** So many rows in one interactive transaction of 100 requests. */
  interactiveRows(rows: number): Promise<void> {
    return this.#step(`${rows} rows in one interactive transaction`, async () => {
      const insert = "INSERT INTO many (v) VALUES (hex(randomblob(50)))";
      const batch = {
        steps: Array.from({ length: rows / 100 }, () => ({ stmt: { sql: insert } })),
      };
      const requests = Array.from({ length: 100 }, () => [{ type: "batch", batch }]);
      return await this.#stream([
        [execute("BEGIN IMMEDIATE")],
        ...requests,
        [execute("COMMIT"), { type: "close" }],
      ]);
    });
  }

  /** So many inserts in one request. */
  batch(rows: number): Promise<void> {
    return this.#step(`a batch of ${rows} inserts`, async () => {
      const sql = "INSERT INTO many (v) VALUES (?)";
      const stmt = {
        sql_id: 1,
        args: [{ type: "text", value: "x".repeat(100) }],
        want_rows: false,
      };
      const steps = Array.from({ length: rows }, () => ({ stmt }));
      return await this.#stream([
        [
          { type: "store_sql", sql_id: 1, sql },
          { type: "batch", batch: { steps } },
          { type: "close" },
        ],
      ]);
    });
  }

  statement(sql: string): Promise<void> {
    return this.#step(sql, () => this.#run([sql]));
  }

  async prepare(): Promise<void> {
    const tables = [
      "CREATE TABLE large (id INTEGER PRIMARY KEY, v BLOB)",
      "CREATE TABLE many (id INTEGER PRIMARY KEY, v TEXT)",
    ];
    for (const sql of tables) await this.#run([sql]);
  }

  async #fillTransaction(megabytes: number): Promise<string[]> {
    const at = Math.min(10, megabytes);
    const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${at})`;
    const insert = `${rows} INSERT INTO large (v) SELECT ${megabyte} FROM n`;
    const inserts = Array.from({ length: megabytes / at }, () => [execute(insert)]);
    return await this.#stream([
      [execute("BEGIN IMMEDIATE")],
      ...inserts,
      [execute("COMMIT"), { type: "close" }],
    ]);
  }

  #run(statements: readonly string[]): Promise<string[]> {
    return this.#stream([[...statements.map(execute), { type: "close" }]]);
  }

  /** Requests of one stream, through a follower; gives the errors, and stops at the first. */
  async #stream(requests: readonly (readonly Request[])[]): Promise<string[]> {
    let base = await this.#follower();
    let baton: string | null = null;
    for (const each of requests) {
      const answer: Answer = await post(base, each, baton);
      if (answer.errors.length > 0) return answer.errors;
      base = answer.base_url ?? base;
      baton = answer.baton;
    }
    return [];
  }

  async #follower(): Promise<string> {
    const leader = await this.#cluster.leader();
    const other = this.#cluster.nodes.find(({ id }) => id !== leader) ?? this.#cluster.nodes[0]!;
    return this.#cluster.url(other.id);
  }

  async #step(step: string, work: () => Promise<readonly string[]>): Promise<void> {
    const watch = new Watch(this.#cluster);
    const startMs = performance.now();
    const faults = [...(await work().catch((error: unknown) => [messageOf(error)]))];
    const seconds = Number(((performance.now() - startMs) / 1_000).toFixed(1));
    const { leaderChanges, longestSilenceMs } = await watch.stop();
    if (leaderChanges > 0) faults.push(`${leaderChanges} changes of leader`);
    for (const { id } of this.#cluster.nodes) {
      if (this.#cluster.output(id).includes("[exit")) faults.push(`${id} has ended`);
    }
    const rssMiB = this.#cluster.nodes.map(({ id }) => rssOf(this.#cluster.pid(id)));
    const done: Step = { step, seconds, leaderChanges, longestSilenceMs, rssMiB, faults };
    this.steps.push(done);
    this.#tell(JSON.stringify(done));
  }
}

/** Asks every node for its state all the time. */
class Watch {
  readonly #cluster: TestCluster;
  readonly #loops: Promise<void>[];
  readonly #terms = new Set<number>();
  #longestSilenceMs = 0;
  #running = true;

  constructor(cluster: TestCluster) {
    this.#cluster = cluster;
    this.#loops = cluster.nodes.map(({ id }) => this.#watch(id));
  }

  async stop(): Promise<{ leaderChanges: number; longestSilenceMs: number }> {
    this.#running = false;
    await Promise.all(this.#loops);
    const leaderChanges = Math.max(0, this.#terms.size - 1);
    return { leaderChanges, longestSilenceMs: Math.round(this.#longestSilenceMs) };
  }

  async #watch(id: string): Promise<void> {
    do {
      const startMs = performance.now();
      const term = await termOf(this.#cluster.url(id));
      if (term !== undefined) this.#terms.add(term);
      this.#longestSilenceMs = Math.max(this.#longestSilenceMs, performance.now() - startMs);
      await sleep(50);
    } while (this.#running);
  }
}

async function termOf(url: string): Promise<number | undefined> {
  try {
    const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(30_000) });
    const text = await response.text();
    const [, term] = /^paceline_term(?:\{[^}]*\})? (\d+)/m.exec(text) ?? [];
    return term === undefined ? undefined : Number(term);
  } catch {
    return undefined;
  }
}

function rssOf(pid: number): number {
  const [, kib] = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kib) / 1_024);
}

function execute(sql: string): Request {
  return { type: "execute", stmt: { sql } };
}

async function post(
  base: string,
  requests: readonly Request[],
  baton: string | null,
): Promise<Answer> {
  const response = await fetch(`${base}/v2/pipeline`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ baton, requests }),
  });
  const text = await response.text();
  if (!response.ok) return { baton: null, base_url: null, errors: [text] };
  const { results, ...rest } = JSON.parse(text) as Answer & { results: Result[] };
  return { ...rest, errors: results.flatMap(errorsOf) };
}

type Failed = { readonly code: string; readonly message: string };
type Result = {
  readonly error?: Failed;
  readonly response?: { readonly result?: { readonly step_errors?: (Failed | null)[] } };
};

function errorsOf({ error, response }: Result): string[] {
  const steps = response?.result?.step_errors ?? [];
  const failed = [error, ...steps].find((each) => each !== undefined && each !== null);
  return failed === undefined ? [] : [failed.code];
}
