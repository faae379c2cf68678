/**
 * A large database brought into a cluster through a follower: how fast, what it costs the leader, and whether every
 * node, and a backup of one, has what was in the file.
 */

import { readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { sleep, type TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { differences, makeSource, type Size } from "./import-story.ts";

export type LargeImport = {
  readonly sourceMB: number;
  readonly seconds: number;
  readonly megabytesPerSecond: number;
  /** Terms that began during the import. */
  readonly leaderChanges: number;
  /** Of one process, in MB. */
  readonly nodeRssMax: number;
  readonly childRssMax: number;
  readonly backupSeconds: number;
  readonly restoreSeconds: number;
};

/** Throws when a node, the backup or what was restored from it differs. */
export async function importLarge(
  cluster: TestCluster,
  size: Size,
  tell: (line: string) => void,
): Promise<LargeImport> {
  const source = join(cluster.dir, "source.sqlite");
  makeSource(source, size);
  const sourceMB = statSync(source).size / 1e6;
  tell(`the file has ${Math.round(sourceMB)} MB`);
  const leader = await cluster.leader();
  const follower = cluster.nodes.find(({ id }) => id !== leader)!;
  const watch = new Watch(cluster);
  const before = (await cluster.statusOf(leader))!.term;
  const seconds = await timed(["import", "--url", cluster.url(follower.id), source], tell);
  await watch.stop();
  const after = (await cluster.statusOf(await cluster.leader()))!.term;
  await cluster.settled(120_000);
  for (const node of cluster.nodes) same(source, join(node.dir, "db", "main.sqlite"));
  tell("all nodes have what was in the file");
  const backup = join(cluster.dir, "large.backup");
  const url = cluster.url(follower.id);
  const backupSeconds = await timed(["backup", "--url", url, "--rate", "1G", backup], tell);
  same(source, backup);
  const restored = join(cluster.dir, "restored");
  const where = ["--id", "r", "--dir", restored, "--listen", "127.0.0.1:1"];
  const restoreSeconds = await timed(["restore", ...where, backup], tell);
  same(source, join(restored, "db", "main.sqlite"));
  tell("and so have a backup of a follower, and what is restored from it");
  for (const path of [source, backup, restored]) rmSync(path, { recursive: true });
  return {
    sourceMB: Math.round(sourceMB),
    seconds: Number(seconds.toFixed(1)),
    megabytesPerSecond: Number((sourceMB / seconds).toFixed(1)),
    leaderChanges: after - before,
    nodeRssMax: watch.node,
    childRssMax: watch.child,
    backupSeconds: Number(backupSeconds.toFixed(1)),
    restoreSeconds: Number(restoreSeconds.toFixed(1)),
  };
}

async function timed(args: readonly string[], tell: (line: string) => void): Promise<number> {
  const start = performance.now();
  const ran = await paceline(...args);
  tell(`${ran.stderr.split("\n").slice(-40).join("\n")}${ran.stdout}`);
  if (ran.code !== 0) throw new Error(`${args[0]} failed`);
  return (performance.now() - start) / 1000;
}

function same(source: string, copy: string): void {
  const found = differences(source, copy);
  if (found.length > 0) throw new Error(`${copy} differs:\n${found.join("\n")}`);
}

/** The largest resident sets, seen four times a second. */
class Watch {
  node = 0;
  child = 0;
  #isOver = false;
  readonly #done: Promise<void>;

  constructor(cluster: TestCluster) {
    const pids = cluster.nodes.map(({ id }) => cluster.pid(id));
    this.#done = (async () => {
      while (!this.#isOver) {
        for (const pid of pids) {
          this.node = Math.max(this.node, residentMB(pid));
          for (const child of childrenOf(pid)) this.child = Math.max(this.child, residentMB(child));
        }
        await sleep(250);
      }
    })();
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }
}

function residentMB(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/status`, "utf8");
    return Math.round((Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0) * 1024) / 1e6);
  } catch {
    return 0;
  }
}

function childrenOf(pid: number): number[] {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    return tasks.flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8")
        .split(" ")
        .filter(Boolean)
        .map(Number),
    );
  } catch {
    return [];
  }
}
