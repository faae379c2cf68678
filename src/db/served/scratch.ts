/**
 * Makes the leader's scratch database: a hard link to the served file under a second name, with a WAL of its own that
 * starts as a copy of the served one [D2].
 *
 * Rule 2 of D2: every page that a served checkpoint may still write into the shared file must be in the scratch WAL;
 * otherwise the file changes under the writer. Starting with an empty WAL breaks that, and the database with it.
 *
 * Rule 1, that the scratch WAL is never checkpointed, is kept by the writer process. The file that is made here is
 * opened only there [rule 3].
 */

import { link, mkdir, open, rm } from "node:fs/promises";
import { messageOf, StorageError } from "../../base/errors.ts";
import { frameBytes, frameOffset } from "../../wal/format.ts";
import type { Descriptors } from "./descriptors.ts";
import type { Layout } from "./layout.ts";

const chunkFrames = 256;

/** The published part of the served WAL: frames 1 to mxFrame. */
export type WalExtent = { readonly pageSize: number; readonly mxFrame: number };

/** Throws away the old scratch and makes a new one. Nothing may be applied or truncated meanwhile. */
export async function makeScratch(
  layout: Layout,
  files: Descriptors,
  extent: WalExtent,
): Promise<void> {
  try {
    await discardScratch(layout);
    await mkdir(layout.scratchDir, { recursive: true });
    await copyWal(`${layout.scratch}-wal`, files, extent);
    await link(layout.db, layout.scratch);
  } catch (cause) {
    if (cause instanceof StorageError) throw cause;
    throw new StorageError(`cannot make the scratch database: ${messageOf(cause)}`, { cause });
  }
}

/** Removes what a writer left behind; its process has ended, or works on files without a name from now on. */
export async function discardScratch(layout: Layout): Promise<void> {
  await rm(layout.scratchDir, { recursive: true, force: true });
}

async function copyWal(path: string, files: Descriptors, extent: WalExtent): Promise<void> {
  if (extent.mxFrame === 0) return;
  const end = frameOffset(extent.mxFrame + 1, extent.pageSize);
  const chunk = new Uint8Array(chunkFrames * frameBytes(extent.pageSize));
  const handle = await open(path, "wx");
  try {
    for (let at = 0; at < end; at += chunk.byteLength) {
      const part = chunk.subarray(0, Math.min(chunk.byteLength, end - at));
      const n = await files.read("wal", part, at);
      if (n < part.byteLength) throw new StorageError(`served WAL ends at ${at + n}, not ${end}`);
      await handle.write(part, 0, part.byteLength, at);
    }
  } finally {
    await handle.close();
  }
}
