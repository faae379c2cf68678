/** Where mutants are hunted: one scenario per ground, all of them clean for the program as it is. */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Prng } from "../../src/base/prng.ts";
import { ForeignWriteError } from "../../src/db/served/applier.ts";
import { Served } from "../../src/db/served/served.ts";
import { firstWords } from "../../src/sim/mutants/check-name.ts";
import { consensusMutants } from "../../src/sim/mutants/consensus.ts";
import { type Scenario, sqliteStory, story, storyMutants } from "../../src/sim/mutants/hunt.ts";
import type { Mutant } from "../../src/sim/mutants/mutant.ts";
import { applierStory } from "../../test/db/applier-story.ts";
import { leadStory } from "../../test/db/lead-story.ts";
import { genesis, Leader, openBank, temporaryDirectory, transfer } from "../../test/db/leader.ts";
import { ForeignReader, foreignWrite } from "./foreign.ts";
import { leadMutants } from "./leading.ts";
import { pagingMutants } from "./paging.ts";

/** All of them, each a kind of bug that somebody has shipped once. */
export const mutants: readonly Mutant[] = [...storyMutants, ...pagingMutants, ...leadMutants];

/** Main module of a writer process with a mutant in it. */
const plantedWriter = fileURLToPath(new URL("planted-writer.ts", import.meta.url));

type Ground = { readonly scenario: Scenario; readonly seedsMax: number };

/** What hunts a mutant, and with how many seeds at most. */
export function groundOf({ ground, plantInWriter }: Mutant): Ground {
  if (ground === "lead") {
    const main = plantInWriter === undefined ? undefined : plantedWriter;
    return { scenario: (seed) => leading(seed, main), seedsMax: 12 };
  }
  if (ground === "pages") return { scenario: pageStory, seedsMax: 8 };
  if (ground === "foreign") return { scenario: foreigners, seedsMax: 1 };
  if (ground === "sqlite") return { scenario: sqliteStory, seedsMax: 20 };
  return { scenario: story, seedsMax: 400 };
}

async function pageStory(seed: number): Promise<string | undefined> {
  const found = await applierStory(seed);
  return found === undefined ? undefined : firstWords(found.replace(/^after \d+ \w+: /, ""));
}

async function leading(seed: number, main: string | undefined): Promise<undefined> {
  await leadStory(seed, main);
}

/**
 * Other processes at the served database: one that reads in a long transaction, through which its log may not start
 * over, and one that tries to write. It must be refused, and must not be overlooked.
 */
async function foreigners(seed: number): Promise<string | undefined> {
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
  const reader = new ForeignReader();
  try {
    await take((c) => openBank(c, 20));
    await take((c) => transfer(c, prng, 20));
    const before = await reader.begin(served.path);
    for (const mode of ["restart", "truncate", "restart"] as const) {
      await take((c) => transfer(c, prng, 20));
      await served.checkpoint(mode);
    }
    await take((c) => transfer(c, prng, 20));
    if ((await reader.again()) !== before) return "a foreign read transaction sees other rows";
    if (!foreignWrite(served.path)) return undefined;
    const isSeen = await take((c) => transfer(c, prng, 20)).then(
      () => false,
      (error) => error instanceof ForeignWriteError,
    );
    return isSeen ? "a foreign process wrote" : "a foreign process wrote, and nobody saw it";
  } finally {
    reader.end();
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
