/** Where mutants are hunted: one scenario per ground, all of them clean for the program as it is. */

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { Prng } from "../../src/base/prng.ts";
import { Served } from "../../src/db/served/served.ts";
import { consensusMutants } from "../../src/sim/mutants/consensus.ts";
import { type Scenario, sqliteStory, story, storyMutants } from "../../src/sim/mutants/hunt.ts";
import type { Mutant } from "../../src/sim/mutants/mutant.ts";
import { applierStory } from "../../test/db/applier-story.ts";
import { genesis, Leader, openBank, temporaryDirectory, transfer } from "../../test/db/leader.ts";
import { pagingMutants } from "./paging.ts";

/** All of them, each a kind of bug that somebody has shipped once. */
export const mutants: readonly Mutant[] = [...storyMutants, ...pagingMutants];

/** What hunts a mutant, and with how many seeds at most. */
export function groundOf({ ground }: Mutant): { scenario: Scenario; seedsMax: number } {
  if (ground === "pages") return { scenario: pageStory, seedsMax: 8 };
  if (ground === "foreign") return { scenario: foreignWriter, seedsMax: 1 };
  if (ground === "sqlite") return { scenario: sqliteStory, seedsMax: 20 };
  return { scenario: story, seedsMax: 100 };
}

async function pageStory(seed: number): Promise<string | undefined> {
  return (await applierStory(seed)) === undefined ? undefined : "pages beside SQLite";
}

/** Another process tries to write to the served database. It must be refused, and must not be overlooked. */
async function foreignWriter(seed: number): Promise<string | undefined> {
  using dir = temporaryDirectory();
  const prng = new Prng(seed);
  const image = genesis(dir.path);
  const leader = await Leader.start(join(dir.path, "leader"), image);
  await Served.create(join(dir.path, "copy"), image);
  const served = await Served.open(join(dir.path, "copy"));
  const take = async (work: Parameters<Leader["commit"]>[0]) => {
    const { set, position, checksum } = leader.commit(work);
    await served.apply(set, position, checksum);
  };
  try {
    await take((c) => openBank(c, 20));
    await take((c) => transfer(c, prng, 20));
    const sql = "UPDATE account SET balance = balance + 1 WHERE id = 1";
    const program = `const { DatabaseSync } = require("node:sqlite");
      new DatabaseSync(process.argv[1], { timeout: 0 }).exec(${JSON.stringify(sql)})`;
    const child = spawnSync(process.execPath, ["-e", program, served.path]);
    if (child.status === 0) return "a foreign process wrote";
    await take((c) => transfer(c, prng, 20));
    return undefined;
  } finally {
    await served.close().catch(() => undefined);
    leader.connection.close();
  }
}

/** The tests that know the broken code best, for what no seed notices. */
export function testsOf({ name, ground }: Mutant): readonly string[] {
  if (ground !== undefined)
    return ["src/db/served/*.test.ts", "src/db/scratch/*.test.ts", "src/wal/*.test.ts"];
  if (consensusMutants.some((mutant) => mutant.name === name)) {
    return ["src/raft/*.test.ts", "src/raft/*/*.test.ts"];
  }
  return [
    "src/log/*.test.ts",
    "src/sim/*.test.ts",
    "src/sim/log/*.test.ts",
    "src/node/**/*.test.ts",
  ];
}
