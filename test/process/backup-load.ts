/** What a backup from a follower costs the leader: the same clients, in turns with and without one. */

import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { sleep, type TestCluster } from "./cluster.ts";
import { Load } from "./load.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export type BackupCost = {
  /** Acknowledged writes per second, one number per turn. */
  readonly without: readonly number[];
  readonly during: readonly number[];
  /** Median over the turns of "during" divided by the mean of the turns without it before and after. */
  readonly share: number;
};

/** Turns of `turnMs`, half of them while `paceline backup` copies a follower. */
export async function backupUnderLoad(
  cluster: TestCluster,
  options: { clients: number; turnMs: number; turns: number; rate: string | undefined },
): Promise<BackupCost> {
  const leader = await cluster.leader();
  const follower = cluster.nodes.find((node) => node.id !== leader)!;
  await Load.prepare(cluster.url(leader));
  const load = new Load(() => [cluster.url(leader)], options.clients);
  const without: number[] = [];
  const during: number[] = [];
  const turn = async () => {
    await sleep(500);
    const count = load.written.ok.size;
    await sleep(options.turnMs);
    return ((load.written.ok.size - count) * 1_000) / options.turnMs;
  };
  await sleep(2_000);
  without.push(await turn());
  for (let i = 0; i < options.turns; i++) {
    const file = join(cluster.dir, "cost.backup");
    const rate = options.rate === undefined ? [] : ["--rate", options.rate];
    const args = [main, "backup", "--url", cluster.url(follower.id), ...rate, file];
    const copying = spawn(process.execPath, args, { stdio: "ignore" });
    const ended = new Promise<void>((resolve) => copying.once("exit", () => resolve()));
    await sleep(500);
    during.push(await turn());
    if (copying.exitCode !== null) throw new Error("the backup ended within the turn");
    copying.kill("SIGKILL");
    await ended;
    for (const suffix of ["", ".partial"]) rmSync(file + suffix, { force: true });
    without.push(await turn());
  }
  await load.stop();
  await cluster.settled();
  for (const url of cluster.urls) await load.check(url);
  const shares = during.map((rate, i) => rate / ((without[i]! + without[i + 1]!) / 2));
  const share = shares.sort((a, b) => a - b)[Math.floor(shares.length / 2)]!;
  return { without: without.map(Math.round), during: during.map(Math.round), share };
}
