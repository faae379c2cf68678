/**
 * `npm start`: a cluster of three real nodes on this machine, in the foreground.
 *
 * Data stay between runs. Nothing is restarted by itself: whoever kills a node wants to see what happens then. Ctrl-C
 * stops all, a second one kills them. Not here: the processes (local/local-cluster.ts); what a node is (start.ts).
 */

import { resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, CommanderError } from "commander";
import { messageOf } from "../base/errors.ts";
import { interrupted } from "./local/interrupt.ts";
import { busyPorts, LocalCluster, type LocalNode } from "./local/local-cluster.ts";
import { RoleWatch, readyText } from "./local/role-watch.ts";
import { Failure, misuse, printFailure, type Terminal } from "./terminal.ts";

/** Three nodes elect in about a second; a cold machine takes longer to start them. */
const firstLeaderMs = 60_000;
const watchEveryMs = 250;

type Flags = { readonly dir: string; readonly port: string };

let cluster: LocalCluster | undefined;
/** The nodes are being stopped. */
let isStopping = false;
const ending = interrupted(["SIGINT", "SIGTERM", "SIGHUP"], () => {
  cluster?.killAll();
  process.exit(130);
});
const terminal: Terminal = {
  in: process.stdin,
  out: process.stdout,
  err: process.stderr,
  signal: ending,
};
process.exitCode = await main().catch((error: unknown) => printFailure(terminal, error));

async function main(): Promise<number> {
  const program = new Command("npm start --")
    .description(
      "Runs a cluster of three nodes on this machine, to try things out. Ctrl-C stops it.",
    )
    .option("--dir <dir>", "where the nodes keep their data, also between runs", ".data/cluster")
    .option("--port <port>", "port of the first node; the others take the next two", "7001")
    .exitOverride();
  try {
    program.parse();
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
  const flags = program.opts<Flags>();
  const first = Number(flags.port);
  if (!Number.isInteger(first) || first < 1 || first > 65_533) {
    throw misuse(`--port: "${flags.port}" is not a port`, "For example: npm start -- --port 7101");
  }
  const ports = [first, first + 1, first + 2];
  const busy = await busyPorts(ports);
  if (busy.length > 0) {
    const which = busy.length === 1 ? `port ${busy[0]} is` : `ports ${busy.join(", ")} are`;
    throw new Failure(
      `${which} in use on this machine; is a cluster running already?`,
      `Choose others: npm start -- --port ${first + 100} --dir ${flags.dir}-${first + 100}`,
    );
  }
  cluster = openCluster(resolve(flags.dir), ports);
  say(`starting three nodes; their data and logs are in ${flags.dir}/`);
  cluster.startAll();
  try {
    return await watch(cluster);
  } catch (error) {
    if (error instanceof Failure) say(error.message);
    throw error;
  } finally {
    await stop(cluster);
  }
}

function openCluster(dir: string, ports: readonly number[]): LocalCluster {
  try {
    return new LocalCluster(dir, ports, { onExit: sayExit });
  } catch (error) {
    throw new Failure(`cannot use ${dir}: ${messageOf(error)}`, "Choose another: --dir DIR");
  }
}

/** Until Ctrl-C, or until no node is left. */
async function watch(cluster: LocalCluster): Promise<number> {
  const roles = new RoleWatch(cluster);
  const patienceMs = performance.now() + firstLeaderMs;
  let isReady = false;
  while (!ending.aborted) {
    if (cluster.running.length === 0) throw new Failure("no node is running any more");
    const lines = await roles.look();
    if (!isReady && roles.leader !== undefined) {
      isReady = true;
      process.stdout.write(`${readyText(cluster, roles)}\n`);
    } else if (isReady) {
      for (const line of lines) say(line);
    } else if (performance.now() > patienceMs) {
      const hint = `The logs of the nodes are in ${cluster.dir}.`;
      throw new Failure(`the nodes have elected no leader within ${firstLeaderMs / 1000} s`, hint);
    }
    await sleep(watchEveryMs, undefined, { signal: ending }).catch(() => undefined);
  }
  return 0;
}

async function stop(cluster: LocalCluster): Promise<void> {
  isStopping = true;
  if (cluster.running.length === 0) return;
  process.stdout.write("\n");
  say("stopping the nodes … (Ctrl-C again kills them)");
  const killed = await cluster.stopAll();
  const hard = killed.length === 0 ? "" : `; ${killed.join(", ")} had to be killed`;
  say(`stopped${hard}. The data stay: \`npm start\` goes on with them.`);
}

function sayExit(node: LocalNode, how: string): void {
  if (isStopping || ending.aborted) return;
  say(`${node.id} has ended (${how}); the other nodes go on. Its log: ${node.logPath}`);
  for (const line of node.lastLines()) say(`  ${node.id} │ ${line}`);
}

function say(text: string): void {
  process.stdout.write(`${new Date().toTimeString().slice(0, 8)}  ${text}\n`);
}
