/**
 * `npm run bench`: the first figures of Paceline, each beside the raw limit of the same machine in the same run. See
 * --help, below.
 *
 * A three-node cluster of real processes on loopback, client included, all on this machine's cores. Figures are
 * measured, not asserted; docs/performance.md has the last ones that were kept.
 */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { TestCluster } from "../test/process/cluster.ts";
import { rowsOf } from "../test/process/sql.ts";
import { CommandLine } from "../tools/command-line.ts";
import { failoverTimes } from "./failover.ts";
import { httpLoad, pipelineOf } from "./http-load.ts";
import { inProcessWrites } from "./in-process.ts";
import { lagTimes } from "./lag.ts";
import { rawFigures } from "./raw.ts";

const help = `npm run bench: figures of Paceline, each beside the raw limit of the same machine in the same run: writes,
reads, lag, memory, failover. A cluster of three real nodes on loopback and its clients, all on this machine's cores.

  npm run bench -- [--seconds S] [--kills N] [--json FILE]

  --seconds S  how long each figure is measured (default 5)
  --kills N    so many leaders are killed for the figures of failover (default 5)
  --json FILE  the figures go there, too
  --help

Example: npm run bench -- --seconds 2 --json figures.json

Nothing is asserted; docs/performance.md has the last figures that were kept. Exit status: 0; 2 for wrong options.
`;

const line = new CommandLine("bench", help, {
  seconds: { type: "string", default: "5" },
  json: { type: "string" },
  kills: { type: "string", default: "5" },
});
const { values } = line;
const seconds = line.number("seconds", { min: 0.1, max: 3_600, whole: false });
const kills = line.number("kills", { min: 1 });
const dir = mkdtempSync(join(tmpdir(), "paceline-bench-"));
const figures: Record<string, unknown> = {
  node: process.version,
  sqlite: process.versions.sqlite,
  cpu: cpus()[0]?.model,
  cores: cpus().length,
  seconds,
};
const tell = (line: string) => console.log(line);

tell("raw node:sqlite and disk …");
const raw = rawFigures(dir, Math.min(seconds, 3));
figures["raw"] = raw;
tell(`  single-row transactions     ${round(raw.insertsPerSecond)}/s (WAL, synchronous=FULL)`);
tell(`  64 rows per transaction     ${round(raw.groupedInsertsPerSecond)} rows/s`);
tell(`  point reads                 ${round(raw.readsPerSecond)}/s`);
tell(`  write 4 KiB + fdatasync     ${raw.syncMs.toFixed(3)} ms`);

tell("one node in this process, no network …");
const inProcess = await inProcessWrites(join(dir, "in-process"), seconds);
figures["inProcess"] = inProcess;
for (const { callers, perSecond } of inProcess) {
  tell(
    `  ${String(callers).padStart(3)} callers    ${round(perSecond)} writes/s  (${ratio(perSecond)})`,
  );
}

tell("three nodes on loopback …");
const cluster = await TestCluster.start();
const leader = await cluster.leader();
const leaderUrl = cluster.url(leader);
const follower = cluster.nodes.find((n) => n.id !== leader)!;
await rowsOf(leaderUrl, "CREATE TABLE bench (id INTEGER PRIMARY KEY, k TEXT, v TEXT)");
await rowsOf(leaderUrl, "CREATE INDEX k ON bench (k)");
const insert = (client: number, n: number) =>
  pipelineOf("INSERT INTO bench (k, v) VALUES (?, ?)", [
    `key-${client}-${n}-${Math.random()}`,
    "x".repeat(100),
  ]);
const inserts: Record<string, unknown>[] = [];
for (const clients of [1, 8, 32, 64]) {
  const result = await httpLoad({ urls: [leaderUrl], clients, seconds, body: insert });
  inserts.push({ clients, ...result });
  tell(
    `  ${String(clients).padStart(3)} clients    ${round(result.perSecond)} inserts/s  ` +
      `p50 ${result.p50Ms.toFixed(1)} ms  p99 ${result.p99Ms.toFixed(1)} ms  (${ratio(result.perSecond)})` +
      (result.errors > 0 ? `  ${result.errors} ERRORS` : ""),
  );
}
figures["inserts"] = inserts;

const count = Number((await rowsOf(leaderUrl, "SELECT max(id) FROM bench"))[0]![0]);
const reads: Record<string, unknown>[] = [];
for (const clients of [8, 32]) {
  const result = await httpLoad({
    urls: [cluster.url(follower.id)],
    clients,
    seconds,
    body: () =>
      pipelineOf("SELECT k, v FROM bench WHERE id = ?", [1 + Math.floor(Math.random() * count)]),
  });
  reads.push({ clients, ...result });
  tell(
    `  ${String(clients).padStart(3)} clients    ${round(result.perSecond)} point reads/s on a follower  ` +
      `p50 ${result.p50Ms.toFixed(1)} ms  p99 ${result.p99Ms.toFixed(1)} ms`,
  );
}
figures["reads"] = reads;

const lag = await lagTimes(leaderUrl, join(follower.dir, "db", "main.sqlite"), 500);
figures["lag"] = lag;
tell(
  `  lag           p50 ${lag.p50Ms.toFixed(2)} ms  p99 ${lag.p99Ms.toFixed(2)} ms  ` +
    "from the client's acknowledgement to the row in the follower's file",
);
figures["memory"] = await memory(cluster);
tell(
  `  memory        ${JSON.stringify(figures["memory"])} MiB resident, by process of the leader and a follower`,
);

tell("failover …");
const failover = await failoverTimes(cluster, kills);
figures["failover"] = failover;
tell(
  `  SIGKILL of the leader, ${failover.timesMs.length} times: median ${round(failover.p50Ms)} ms, ` +
    `longest ${round(failover.maxMs)} ms from last ok to next ok`,
);
await cluster.stop();
rmSync(dir, { recursive: true, force: true });
if (values.json !== undefined) {
  writeFileSync(values.json, `${JSON.stringify(figures, undefined, 2)}\n`);
  tell(`written to ${values.json}`);
}

function round(x: number): string {
  return Math.round(x).toLocaleString("en-US");
}

function ratio(perSecond: number): string {
  return `${(perSecond / raw.insertsPerSecond).toFixed(2)} of raw`;
}

/** Resident memory of a node's processes, by what they are. */
async function memory(of: TestCluster): Promise<Record<string, number[]>> {
  const lead = await of.leader();
  const other = of.nodes.find((n) => n.id !== lead)!.id;
  const byRole: Record<string, number[]> = {};
  for (const [name, id] of [
    ["leader", lead],
    ["follower", other],
  ] as const) {
    const pid = of.pid(id);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(/\s+/);
    byRole[name] = [pid, ...children.filter((c) => c !== "").map(Number)].map(residentMiB);
  }
  return byRole;
}

function residentMiB(pid: number): number {
  const line = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Math.round(Number(line?.[1] ?? 0) / 1024);
}
