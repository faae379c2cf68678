/**
 * `npm run chaos`: real processes, real sockets, real faults, on this one machine. See --help (options.ts).
 *
 * The run takes place in namespaces of its own (mounts, processes, network with nothing but loopback) where it may:
 * then nothing that it starts or mounts can outlive it, however it ends. This file enters them: the outer process
 * starts itself again inside and passes on signals and exit status.
 */

import { spawn, spawnSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { recheck } from "./history/recheck.ts";
import { type ChaosOptions, help, parseOptions } from "./options.ts";
import { runPowerCuts } from "./power-cuts.ts";
import { runChaos } from "./run.ts";

const insideFlag = "PACELINE_CHAOS_INSIDE";
const namespaces = [
  ...["--mount", "--propagation", "private", "--net", "--pid", "--mount-proc", "--kill-child"],
];

let options: ChaosOptions;
try {
  options = parseOptions(process.argv.slice(2));
} catch (error) {
  console.error(`chaos: ${(error as Error).message}\nnpm run chaos -- --help explains`);
  process.exit(2);
}
if (options.help) {
  console.log(help);
  process.exit(0);
}
if (options.check !== undefined) {
  const result = await recheck(options.check);
  console.log(JSON.stringify(result));
  process.exit(result.ok ? 0 : 1);
}
const inside = process.env[insideFlag] !== undefined;
if (!inside && canUnshare()) enterNamespaces();
else await run(options, inside);

function canUnshare(): boolean {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return false;
  return spawnSync("unshare", [...namespaces, "true"]).status === 0;
}

/** Processes inside are killed by the kernel when the first of them ends, and mounts go with the last one. */
function enterNamespaces(): void {
  const shell = `ip link set lo up 2>/dev/null; "$@"; exit $?`;
  const child = spawn(
    "unshare",
    [...namespaces, "sh", "-c", shell, "sh", process.execPath, ...process.argv.slice(1)],
    { stdio: ["pipe", "inherit", "inherit"], env: { ...process.env, [insideFlag]: "1" } },
  );
  let signals = 0;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      // The end of standard input asks for an early end; a second signal ends everything now.
      child.stdin?.end();
      if (++signals > 1) child.kill("SIGKILL");
    });
  }
  // Whoever started us was killed and could not say so.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) child.kill("SIGKILL");
  }, 500).unref();
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 2) : 2));
}

async function run(options: ChaosOptions, mountable: boolean): Promise<void> {
  const ends = new AbortController();
  const end = (): void => ends.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, end);
  if (mountable) process.stdin.on("end", end).resume();
  else console.log("not root on Linux: no mounts, no namespaces; some faults are left out");
  try {
    const ran = options.powerCuts === undefined ? runChaos : runPowerCuts;
    const { summary, dir } = await ran(options, { mountable }, ends.signal);
    if (options.json !== undefined) {
      writeFileSync(options.json, `${JSON.stringify(summary, undefined, 2)}\n`);
    }
    console.log(JSON.stringify(summary));
    if (summary.ok && !options.keep) rmSync(dir, { recursive: true, force: true });
    else console.log(`logs of the nodes and data are in ${dir}`);
    process.exit(summary.ok ? 0 : 1);
  } catch (error) {
    console.error("chaos: the run could not go on:", error);
    process.exit(2);
  }
}
