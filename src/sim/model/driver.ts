/**
 * The simulated twin of node/real-driver.ts: files and processes of one node, on the model database.
 */

import { CorruptionError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { DatabaseDriver } from "../../node/driver.ts";
import { birth } from "./lists.ts";
import type { Image } from "./pages.ts";
import { ModelReaders, ModelWriter } from "./processes.ts";
import { ModelServed, type ModelWorld } from "./served.ts";
import { ModelStagedImage, ModelStagedPatch } from "./staged.ts";

export function modelDriver(world: ModelWorld): DatabaseDriver {
  const { files } = world;
  const processes = {
    pace: world.pace,
    dies: world.writerDies,
    image: (): Image => {
      if (files.image === undefined) throw new CorruptionError("there is no database");
      return files.image;
    },
  };
  return {
    lock: () => () => {},
    exists: () => files.file !== undefined,
    open: async () => {
      await world.pace("read");
      const served = new ModelServed(world);
      await served.syncWal();
      return served;
    },
    create: async (_dir, image) => {
      await world.pace("sync");
      world.onEffect("rename");
      files.file = pagesOf(image.pages);
      files.wal = [];
      files.synced = 0;
    },
    genesisImage: () => ({ pageSize: limits.pageSize, pages: bytesOf(birth(world.lists)) }),
    openReaders: () => new ModelReaders(processes),
    contentOf: async () => {
      throw new Error("log kind pages is all that is simulated");
    },
    spawnReplay: () => {
      throw new Error("log kind pages is all that is simulated");
    },
    spawnWriter: () => new ModelWriter(processes),
    stageImage: async () => new ModelStagedImage(world),
    stagePatch: async (_dir, served, damaged) =>
      new ModelStagedPatch(world, served as ModelServed, damaged),
  };
}

function bytesOf(image: Image): Uint8Array {
  const bytes = new Uint8Array(image.length * limits.pageSize);
  for (const [i, page] of image.entries()) bytes.set(page, i * limits.pageSize);
  return bytes;
}

function pagesOf(bytes: Uint8Array): Image {
  const { pageSize } = limits;
  return Array.from(
    { length: bytes.byteLength / pageSize },
    (_, i) => new Uint8Array(bytes.subarray(i * pageSize, (i + 1) * pageSize)),
  );
}
