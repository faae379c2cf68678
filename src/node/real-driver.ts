/** The real database of a node: files, locks, processes. Its simulated twin is in sim/. */

import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { assert } from "../base/assert.ts";
import { contentOf } from "../db/process/content/content.ts";
import { ReaderPool } from "../db/process/reader-pool.ts";
import { ReplayProcess } from "../db/process/replay/replay.ts";
import { Writer } from "../db/process/writer.ts";
import { makeGenesisImage } from "../db/served/birth.ts";
import { lockDirectory } from "../db/served/dir-lock.ts";
import { layoutOf } from "../db/served/layout.ts";
import { Served } from "../db/served/served.ts";
import { StagedPatch } from "../db/served/staged-patch.ts";
import { StagedImage } from "../db/served/staging.ts";
import { limits } from "../limits.ts";
import type { DatabaseDriver } from "./driver.ts";

const writerMain = fileURLToPath(new URL("children/writer-main.ts", import.meta.url));
const contentMain = fileURLToPath(new URL("children/content-main.ts", import.meta.url));
const readerMain = fileURLToPath(new URL("children/reader-main.ts", import.meta.url));

export function realDriver(options: {
  readonly statementMs: number;
  readonly readers: number;
  /** Tables whose rows are kept; all when undefined. */
  readonly tables?: readonly string[] | undefined;
  onEvent?(line: string): void;
}): DatabaseDriver {
  const { statementMs, readers, tables, onEvent } = options;
  return {
    lock: lockDirectory,
    exists: (dir) => existsSync(layoutOf(dir).db) || existsSync(layoutOf(dir).ready),
    open: (dir, onForeignWrite) => Served.open(dir, { onForeignWrite }),
    create: (dir, image) => Served.create(dir, image),
    genesisImage: makeGenesisImage,
    openReaders: (dir) =>
      ReaderPool.open(readerMain, layoutOf(dir).db, readers, {
        statementMs,
        tables,
        ...(onEvent && { onEvent }),
      }),
    spawnWriter: () => Writer.spawn(writerMain, { statementMs }),
    contentOf: (dir, at) => contentOf(contentMain, layoutOf(dir).db, at),
    spawnReplay: () => ReplayProcess.spawn(writerMain, tables),
    stageImage: (dir) => StagedImage.open(dir, { pageSize: limits.pageSize, seed: "served-file" }),
    stagePatch: (dir, served, damaged) => {
      assert(served instanceof Served, "a staged patch belongs to a real database");
      return StagedPatch.open(dir, served, damaged);
    },
  };
}
