/** What `npm run chaos` can be told. */

import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { allFaults } from "./faults/all.ts";

export const help = `npm run chaos -- [options]

Runs a cluster of real node processes on this machine under load, breaks things, heals them, and checks that nothing
that was acknowledged is lost, that nothing refused appears, that no linearizable read is stale, and that all copies
end byte-identical. All traffic stays on loopback, in a network namespace of the run's own where that is possible.

  --minutes M      how long faults go on (default 1; the final checks come on top)
  --seed S         the same order and strength of faults again; what the cluster makes of them still differs
  --nodes N        nodes of the cluster (default 3)
  --clients N      clients that insert (default 16)
  --only A,B       only these types of faults; without, each type comes once before any comes again
  --json FILE      write the summary there, too
  --dir DIR        where the run's directory is made (default: the system's temporary directory)
  --keep           keep the run's directory even when all is well
  --power-cuts N   the durability rig instead: N power cuts of a single node under load
  --no-fsync       with --power-cuts: the control that must lose data, with a node that does not sync
  --help

As root on Linux with a C compiler, nodes get disks of their own (ext4 in a file), so that power cuts, full and failing
disks are possible too; without, these faults are left out and the run says so.

The summary is one line of JSON at the end of standard output:
  { ok, seed, seconds, faults, faultsByType, acked, failed, unknown, reads, lost, risen, stale, torn, diverged,
    anomalies, stuck, crashes, violations,
    failoverMs: { count, p50, p90, p99, max, histogram: [{ upToMs, count }] }, … }
    lost       acknowledged writes that a node lacks at the end      risen   refused writes that are there
    stale      linearizable or session reads that were too old       torn    reads of half a transaction
    diverged   copies that differ from each other or from their checksums
    anomalies  proofs, such as cycles, that list transactions were not strictly serializable
    stuck      no progress though a majority was healthy             crashes nodes that ended by themselves
    failoverMs as clients saw it: from the last acknowledgement before a fault of the leader to the next one

Exit status: 0 when ok; 1 when there was any violation; 2 when the run itself could not go on.

Types of faults:
${wrapped(Object.keys(allFaults))}
`;

export type ChaosOptions = {
  readonly minutes: number;
  readonly seed: number;
  readonly nodes: number;
  readonly clients: number;
  readonly only: readonly string[];
  readonly json: string | undefined;
  readonly dir: string;
  readonly keep: boolean;
  readonly powerCuts: number | undefined;
  readonly noFsync: boolean;
  readonly help: boolean;
};

/** Throws an Error with a message for people. */
export function parseOptions(args: readonly string[]): ChaosOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: "string", default: "1" },
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      nodes: { type: "string", default: "3" },
      clients: { type: "string", default: "16" },
      only: { type: "string" },
      json: { type: "string" },
      dir: { type: "string", default: tmpdir() },
      keep: { type: "boolean", default: false },
      "power-cuts": { type: "string" },
      "no-fsync": { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const only = values.only?.split(",") ?? Object.keys(allFaults);
  const unknown = only.find((name) => !(name in allFaults));
  if (unknown !== undefined) throw new Error(`--only: there is no fault "${unknown}"; see --help`);
  const cuts = values["power-cuts"];
  return {
    minutes: parseNumber("minutes", values.minutes, 0),
    seed: parseNumber("seed", values.seed, 0),
    nodes: parseNumber("nodes", values.nodes, 3),
    clients: parseNumber("clients", values.clients, 1),
    only,
    json: values.json,
    dir: values.dir,
    keep: values.keep,
    powerCuts: cuts === undefined ? undefined : parseNumber("power-cuts", cuts, 1),
    noFsync: values["no-fsync"],
    help: values.help,
  };
}

function parseNumber(flag: string, text: string, min: number): number {
  const n = Number(text);
  if (text.trim() === "" || !Number.isFinite(n) || n < min) {
    throw new Error(`--${flag}: "${text}" is not a number of at least ${min}`);
  }
  return n;
}

function wrapped(names: readonly string[]): string {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + name.length < 110)
      lines[lines.length - 1] += ` ${name}`;
    else lines.push(`  ${name}`);
  }
  return lines.join("\n");
}
