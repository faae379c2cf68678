/** Mutants of names in directories, and of where a damaged log ends. */

import { CorruptionError } from "../../base/errors.ts";
import type { Disk } from "../../host/disk.ts";
import { LogStore } from "../../log/log-store.ts";
import { SlowDisk } from "../slow-disk.ts";
import { type Mutant, replaced } from "./mutant.ts";

/** Cuts the log where `error` says that it is damaged; false when it does not say so. */
async function cutAt(error: unknown, disk: Disk): Promise<boolean> {
  if (!(error instanceof CorruptionError)) return false;
  const [, path, offset] = /^(\S+\.segment) at offset (\d+): /.exec(error.message) ?? [];
  if (path === undefined) return false;
  const file = await disk.open(path, "open");
  await file.truncate(Number(offset));
  await file.syncData();
  await file.close();
  const dir = path.slice(0, path.lastIndexOf("/"));
  for (const name of await disk.list(dir)) {
    const other = `${dir}/${name}`;
    if (other.endsWith(".segment") && other > path) await disk.remove(other);
  }
  return true;
}

export const fileMutants: readonly Mutant[] = [
  {
    name: "a file is renamed and its directory not synced",
    plant: () => replaced(SlowDisk.prototype, "syncDirectory", () => async () => {}),
  },
  {
    name: "the log is cut at the first bad checksum, whatever was written behind it",
    plant: () =>
      replaced(
        LogStore,
        "open",
        (original) =>
          async function (this: typeof LogStore, disk: Disk, ...rest) {
            for (let cuts = 0; ; cuts++) {
              try {
                return await original.call(this, disk, ...rest);
              } catch (error) {
                if (cuts === 20 || !(await cutAt(error, disk))) throw error;
              }
            }
          },
      ),
  },
];
