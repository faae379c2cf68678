/**
 * `npm run proof`: the long versions of the process tests, with figures. See --help, below.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { applierStory } from "../test/db/applier-story.ts";
import { backupUnderLoad } from "../test/process/backup-load.ts";
import { type ClusterOptions, TestCluster } from "../test/process/cluster.ts";
import { paceline } from "../test/process/command.ts";
import { assertIdenticalFiles, type FaultReport, runFaults } from "../test/process/faults.ts";
import { importLarge } from "../test/process/import-large.ts";
import { kindStory } from "../test/process/kind-story.ts";
import { LargeWork } from "../test/process/large-work.ts";
import { awayTooLong, fill, flipAndRepair, joinUnderLoad } from "../test/process/page-sync.ts";
import { buildNorthwind, chinook, missingData } from "../test/process/real-data.ts";
import { switchovers } from "../test/process/switchover.ts";
import { CommandLine } from "../tools/command-line.ts";

const everything =
  "leader,follower,all,pause,witness,switchover,join,repair,away,backup,pages,kinds,import,large";

const allKinds = "pages,rows,statements,triggers";

const help = `npm run proof: the long versions of the process tests, with figures. Half an hour on two cores; all
traffic stays on loopback.

  npm run proof -- [options]

  --only A,B        only these proofs; there are
                    ${everything}
  --kills N         how often the leader is killed, or gives the lead away (default 20); other faults come in proportion
  --clients N       clients that write (default 32)
  --megabytes N     size of the database that is copied: join, repair, away, backup, import (default 500)
  --stories N       random databases beside stock SQLite: pages (default 200)
  --transactions N  for each log kind: kinds (default 100000)
  --kinds A,B       log kinds: kinds (default ${allKinds})
  --minutes N       for how long transactions of 50 MB follow each other: large (default 10)
  --json FILE       the figures go there, too
  --help

Example: npm run proof -- --only leader,witness --kills 5

Exit status: 0 when all held; 1 on any violation (an acknowledged write missing, a refused one present, copies that
differ, a stale linearizable read; an error or another leader in large work); 2 for wrong options.
`;

const line = new CommandLine("proof", help, {
  only: { type: "string", default: everything },
  stories: { type: "string", default: "200" },
  transactions: { type: "string", default: "100000" },
  kinds: { type: "string", default: allKinds },
  kills: { type: "string", default: "20" },
  clients: { type: "string", default: "32" },
  megabytes: { type: "string", default: "500" },
  minutes: { type: "string", default: "10" },
  json: { type: "string" },
});
const { values } = line;
const only = line.names("only", everything.split(","));
const kinds = line.names("kinds", allKinds.split(","));
const clients = line.number("clients", { min: 1 });
const kills = line.number("kills", { min: 1 });
const bytes = line.number("megabytes", { min: 1 }) * 1_000_000;
const stories = line.number("stories", { min: 1 });
const transactions = line.number("transactions", { min: 1 });
const minutes = line.number("minutes", { min: 0 });
const report: Record<string, unknown> = {};
const tell = (line: string) => console.log(line);

const proofs: Record<string, () => Promise<unknown>> = {
  leader: () => faultProof("killLeader", kills),
  follower: () => faultProof("killFollower", Math.ceil(kills / 2)),
  all: () => faultProof("killAll", Math.ceil(kills / 4)),
  pause: () => faultProof("pauseLeader", Math.ceil(kills / 4)),
  witness: () => faultProof("killLeader", kills, { nodes: 3, witnesses: 1 }),
  switchover: switchoverProof,
  join: joinProof,
  repair: repairProof,
  away: awayProof,
  pages: pagesProof,
  backup: backupProof,
  kinds: kindsProof,
  large: largeProof,
  import: importProof,
};

for (const name of only) {
  tell(`\n=== ${name}`);
  report[name] = await proofs[name]!();
  tell(JSON.stringify(report[name]));
}
if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify(report, undefined, 2)}\n`);

/** Each log kind on the same workload and the same real databases. */
async function kindsProof(): Promise<unknown> {
  const dir = mkdtempSync(join(tmpdir(), "paceline-kinds-"));
  const files = missingData === false ? [chinook, buildNorthwind(dir)] : [];
  const results: unknown[] = [];
  for (const kind of kinds) {
    const result = await kindStory(kind, { transactions, clients, files });
    tell(JSON.stringify(result));
    results.push(result);
  }
  rmSync(dir, { recursive: true, force: true });
  return results;
}

async function faultProof(
  kind: Parameters<typeof runFaults>[0],
  times: number,
  cluster: ClusterOptions = {},
): Promise<unknown> {
  const result: FaultReport = await runFaults(kind, { clients, times, tell, cluster });
  const sorted = [...result.pausesMs].sort((a, b) => a - b);
  return {
    faults: times,
    clients,
    medianMs: sorted[Math.floor(sorted.length / 2)],
    longestMs: sorted.at(-1),
    ...result,
    lost: 0,
  };
}

async function switchoverProof(): Promise<unknown> {
  const { gapsMs, quietMs, ...rest } = await switchovers({ clients, times: kills, tell });
  const figures = { medianMs: median(gapsMs), longestMs: Math.max(...gapsMs) };
  return {
    switchovers: kills,
    clients,
    ...figures,
    quietMedianMs: median(quietMs),
    gapsMs,
    ...rest,
  };
}

function median(values: readonly number[]): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function joinProof(): Promise<unknown> {
  const cluster = await TestCluster.start();
  try {
    await fill(cluster, bytes);
    const result = await joinUnderLoad(cluster, { clients, beforeMs: 15_000 });
    const alone = (result.writesPerSecondBefore + result.writesPerSecondAfter) / 2;
    const share = result.writesPerSecondDuring / alone;
    const verified = await paceline("verify", "--url", cluster.urls[0]!, "--json");
    if (verified.code !== 0) throw new Error(verified.stdout + verified.stderr);
    return { ...result, share: Number(share.toFixed(3)) };
  } finally {
    await cluster.stop();
  }
}

async function repairProof(): Promise<unknown> {
  return await onFilledCluster((cluster) => flipAndRepair(cluster, 100));
}

async function awayProof(): Promise<unknown> {
  return await onFilledCluster(async (cluster) => {
    const written = 40_000_000;
    return { written, ...(await awayTooLong(cluster, () => fill(cluster, written))) };
  });
}

async function backupProof(): Promise<unknown> {
  return await onFilledCluster((cluster) =>
    backupUnderLoad(cluster, { clients, turnMs: 8_000, turns: 9, rate: undefined }),
  );
}

/** A large database and a short log; afterwards all files must be identical. */
async function onFilledCluster<T>(work: (cluster: TestCluster) => Promise<T>): Promise<T> {
  const cluster = await TestCluster.start({ args: ["--keep-log", "8MiB"] });
  try {
    await fill(cluster, bytes);
    await cluster.settled();
    const result = await work(cluster);
    await cluster.settled();
    await cluster.stop({ keep: true });
    assertIdenticalFiles(cluster);
    return result;
  } finally {
    await cluster.stop();
  }
}

/** A file with full-text indexes and values of 50 MB, half and half, through a follower. */
async function importProof(): Promise<unknown> {
  const cluster = await TestCluster.start();
  try {
    // With its indexes, a text takes three times its size.
    const textBytes = bytes / 6;
    const blobs = Math.max(1, Math.round(bytes / 2 / 50_000_000));
    return await importLarge(cluster, { textBytes, blobs, blobBytes: 50_000_000 }, tell);
  } finally {
    await cluster.stop();
  }
}

/** Large work on an idle cluster: nobody but its client notices. */
async function largeProof(): Promise<unknown> {
  const cluster = await TestCluster.start();
  try {
    const work = new LargeWork(cluster, tell);
    await work.prepare();
    for (const megabytes of [50, 100, 200]) await work.transaction(megabytes);
    await work.transaction(300, "TRANSACTION_TOO_LARGE");
    await work.statement("DELETE FROM large");
    await work.interactiveRows(100_000);
    await work.batch(50_000);
    await work.transaction(200);
    await work.statement("VACUUM");
    await work.statement("DELETE FROM large");
    await work.series(50, minutes);
    await cluster.settled();
    if (work.faults.length > 0) throw new Error(work.faults.join("\n"));
    return work.steps;
  } finally {
    await cluster.stop();
  }
}

/** Random databases beside stock SQLite (test/db/applier-story.ts). */
async function pagesProof(): Promise<unknown> {
  for (let seed = 1; seed <= stories; seed++) {
    const wrong = await applierStory(seed);
    if (wrong !== undefined) throw new Error(`story ${seed}: ${wrong}`);
  }
  return { stories };
}
