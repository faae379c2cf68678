/**
 * Replication lag as a reader of the replica file sees it: from the moment the client has its acknowledgement to the
 * moment the row is in the follower's file, read by stock node:sqlite.
 */

import { DatabaseSync } from "node:sqlite";
import { sleep } from "../test/process/cluster.ts";
import { rowsOf } from "../test/process/sql.ts";
import { percentile } from "./http-load.ts";

export type LagTimes = { readonly p50Ms: number; readonly p99Ms: number; readonly writes: number };

export async function lagTimes(
  leaderUrl: string,
  replica: string,
  writes: number,
): Promise<LagTimes> {
  await rowsOf(leaderUrl, "CREATE TABLE lag (n INTEGER PRIMARY KEY)");
  await sleep(300);
  const reader = new DatabaseSync(replica, { readOnly: true });
  const newest = reader.prepare("SELECT max(n) AS n FROM lag");
  const times: number[] = [];
  for (let n = 1; n <= writes; n++) {
    await rowsOf(leaderUrl, "INSERT INTO lag VALUES (?)", [n]);
    const ackedMs = performance.now();
    while (Number(newest.get()!["n"] ?? 0) < n) await sleep(0);
    times.push(performance.now() - ackedMs);
  }
  reader.close();
  times.sort((a, b) => a - b);
  return { p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99), writes };
}
