/**
 * Makes the data directory of the first node of a new cluster from a backup. The new cluster has an id of its own and
 * one member; others join it and copy its pages. Its log goes on where the backup's ended, one term later, so that
 * positions never repeat.
 *
 * The directory is built under another name and renamed in the end: it is there completely or not at all.
 */

import { randomBytes } from "node:crypto";
import { readdir, rename, rm, rmdir } from "node:fs/promises";
import { dirname } from "node:path";
import { ClientError } from "../base/errors.ts";
import { parseHash } from "../base/hash.ts";
import { StagedImage } from "../db/served/staging.ts";
import type { Disk } from "../host/disk.ts";
import { LogStore } from "../log/log-store.ts";
import { Identity } from "../node/identity.ts";
import { type NodeId, term } from "../vocabulary.ts";
import { lockPage } from "../wal/page-size.ts";
import { type BackupLabel, labelOf, readImage, snapshotOf } from "./backup-file.ts";
import { type Carried, carriedSettings } from "./carried-settings.ts";

export type RestoreOptions = {
  readonly path: string;
  readonly dir: string;
  readonly disk: Disk;
  readonly id: NodeId;
  /** `host:port` at which the node will listen. */
  readonly address: string;
  /** Settings in place of those that the backup carries, as people name them. */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  onProgress(pagesDone: number, pagesTotal: number): void;
};

export type RestoreReport = Carried & { readonly label: BackupLabel; readonly clusterId: string };

/**
 * Throws CorruptionError for a file that is no whole backup, ClientError BAD_REQUEST for a directory in use and for
 * settings that cannot be.
 */
export async function restoreBackup(options: RestoreOptions): Promise<RestoreReport> {
  const { dir, disk, path, id, address } = options;
  await refuseUsed(dir);
  const carried = carriedSettings(await labelOf(path), options.settings ?? {});
  const draft = `${dir}.restoring`;
  await rm(draft, { recursive: true, force: true });
  await disk.makeDirectory(draft);
  const image = { staged: undefined as StagedImage | undefined };
  let isInPlace = false;
  try {
    const label = await readImage(path, async (first, pages, { pageSize, pageCount }) => {
      image.staged ??= await StagedImage.open(draft, { pageSize, seed: "nothing" });
      const count = pages.byteLength / pageSize;
      for (const [from, to] of aroundLockPage(first, first + count, pageSize)) {
        const pgnos = Uint32Array.from({ length: to - from }, (_, i) => from + i);
        await image.staged.write(
          pgnos,
          pages.subarray((from - first) * pageSize, (to - first) * pageSize),
        );
      }
      options.onProgress(first + count - 1, pageCount);
    });
    const { pageCount } = label;
    const checksum = parseHash(label.checksum);
    const member = { id, kind: "voter" as const, address };
    const base = snapshotOf(label, { membership: [member], settings: carried.settings });
    await image.staged!.finish({ pageCount, checksum, position: base });
    image.staged = undefined;
    const log = await LogStore.open(disk, `${draft}/log`, base);
    await log.persist({
      hardState: { term: term(label.term + 1), vote: undefined, born: true },
      entries: [],
    });
    await log.close();
    const clusterId = randomBytes(12).toString("hex");
    const identity = await Identity.open(disk, draft, { id, witness: false }, randomHex);
    await identity.adopt(clusterId);
    await rename(draft, dir);
    isInPlace = true;
    await disk.syncDirectory(dirname(dir));
    return { label, clusterId, ...carried };
  } finally {
    await image.staged?.close();
    if (!isInPlace) await rm(draft, { recursive: true, force: true });
  }
}

/** The pages [from, to) in runs that leave out the page that never has content. */
function aroundLockPage(from: number, to: number, pageSize: number): [number, number][] {
  const locked = lockPage(pageSize);
  const runs: [number, number][] =
    from <= locked && locked < to
      ? [
          [from, locked],
          [locked + 1, to],
        ]
      : [[from, to]];
  return runs.filter(([first, end]) => first < end);
}

const randomHex = (bytes: number) => randomBytes(bytes).toString("hex");

async function refuseUsed(dir: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(dir);
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return;
    throw error;
  }
  if (names.length > 0) {
    throw new ClientError(
      "BAD_REQUEST",
      `${dir} is not empty; a restored node begins with a directory of its own`,
    );
  }
  await rmdir(dir);
}
