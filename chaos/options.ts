/** What `npm run chaos` can be told. */

import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { allFaults } from "./faults/all.ts";
import type { Plant } from "./load/hrana.ts";

export const help = `npm run chaos -- [options]

Runs a cluster of real node processes on this machine under load, breaks things, heals them, and checks that nothing
that was acknowledged is lost, that nothing refused appears, that no linearizable read is stale, and that all copies
end byte-identical. All traffic stays on loopback, in a network namespace of the run's own where that is possible.

  --minutes M      how long faults go on (default 1; the final checks come on top)
  --seed S         the same order and strength of faults again; what the cluster makes of them still differs
  --nodes N        nodes of the cluster (default 3)
  --clients N      clients that insert (default 48)
  --only A,B       only these types of faults; without, each type comes once before any comes again
  --json FILE      write the summary there, too
  --history FILE   write everything that clients did and saw there, as JSON lines (docs/proof.md)
  --check FILE     no run: the checks again over such a file
  --dir DIR        where the run's directory is made (default: the system's temporary directory)
  --keep           keep the run's directory even when all is well
  --power-cuts N   the durability rig instead: N power cuts of a single node under load
  --no-fsync       with --power-cuts: the control that must lose data, with a node that does not sync
  --plant LIE      plant a fault in the rig, to see it turn red; see below
  --help

As root on Linux with a C compiler, nodes get disks of their own (ext4 in a file), so that power cuts, full and failing
disks are possible too; without, these faults are left out and the run says so.

The summary is one line of JSON at the end of standard output; docs/proof.md describes its fields.

Lies to plant, each of which must end with exit status 1:
  lost-write       one write in a hundred is never sent and counts as acknowledged
  stale-reads      linearizable reads are asked for as stale ones, as by a node that does not look whether it leads
  no-fsync         fsync on the nodes does nothing and says that it did; shows with --only power-cut-all

Exit status: 0 when ok; 1 when there was any violation; 2 when the run itself could not go on.

Types of faults:
${wrapped(Object.keys(allFaults))}
`;

const plants = ["lost-write", "stale-reads", "no-fsync"] as const;

export type ChaosOptions = {
  readonly minutes: number;
  readonly seed: number;
  readonly nodes: number;
  readonly clients: number;
  readonly only: readonly string[];
  readonly json: string | undefined;
  readonly history: string | undefined;
  readonly check: string | undefined;
  readonly plant: Plant | "no-fsync" | undefined;
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
      clients: { type: "string", default: "48" },
      only: { type: "string" },
      json: { type: "string" },
      history: { type: "string" },
      check: { type: "string" },
      plant: { type: "string" },
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
    history: values.history,
    check: values.check,
    plant: parsePlant(values.plant),
    dir: values.dir,
    keep: values.keep,
    powerCuts: cuts === undefined ? undefined : parseNumber("power-cuts", cuts, 1),
    noFsync: values["no-fsync"],
    help: values.help,
  };
}

function parsePlant(text: string | undefined): ChaosOptions["plant"] {
  if (text === undefined) return undefined;
  const plant = plants.find((name) => name === text);
  if (plant === undefined) throw new Error(`--plant: ${plants.join(", ")}; not "${text}"`);
  return plant;
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
