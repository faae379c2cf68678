/**
 * A closed loop of clients over HTTP: each sends its next request when it has its answer. Latencies in milliseconds,
 * throughput in requests per second, for a fixed time after a warm-up.
 */

import { Pool } from "undici";

export type LoadResult = {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
};

export type LoadOptions = {
  readonly urls: readonly string[];
  readonly clients: number;
  readonly seconds: number;
  /** The body of a client's n-th request. */
  body(client: number, n: number): string;
};

/** Runs the clients against the URLs in turn. An answer that is not a 200 with an ok result counts as an error. */
export async function httpLoad(options: LoadOptions): Promise<LoadResult> {
  const { urls, clients, seconds } = options;
  const pools = urls.map((url) => new Pool(url, { connections: clients, pipelining: 1 }));
  const latencies: number[] = [];
  let errors = 0;
  const startMs = performance.now();
  const warmMs = startMs + Math.min(1_000, seconds * 200);
  const endMs = warmMs + seconds * 1_000;
  const client = async (id: number) => {
    const pool = pools[id % pools.length]!;
    for (let n = 0; performance.now() < endMs; n++) {
      const body = options.body(id, n);
      const sentMs = performance.now();
      const response = await pool.request({
        path: "/v2/pipeline",
        method: "POST",
        body,
        headers: { "content-type": "application/json" },
      });
      const text = await response.body.text();
      const nowMs = performance.now();
      if (response.statusCode !== 200 || text.includes('"type":"error"')) errors++;
      else if (sentMs >= warmMs && nowMs <= endMs) latencies.push(nowMs - sentMs);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, id) => client(id)));
  await Promise.all(pools.map((pool) => pool.close()));
  const sorted = latencies.sort((a, b) => a - b);
  return {
    perSecond: sorted.length / seconds,
    p50Ms: percentile(sorted, 0.5),
    p99Ms: percentile(sorted, 0.99),
    errors,
  };
}

/** Of an ascending list; NaN when it is empty. */
export function percentile(sorted: readonly number[], p: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN;
}

/** One statement as a pipeline that closes its stream. */
export function pipelineOf(sql: string, args: readonly (string | number)[]): string {
  return JSON.stringify({
    requests: [
      {
        type: "execute",
        stmt: {
          sql,
          args: args.map((value) =>
            typeof value === "string"
              ? { type: "text", value }
              : { type: "integer", value: String(value) },
          ),
        },
      },
      { type: "close" },
    ],
  });
}
