/**
 * What the machine must offer, checked before anything is touched: a SQLite without the WAL-reset bug, a
 * little-endian processor, a local file system, and hard links.
 */

import { link, rm, statfs, writeFile } from "node:fs/promises";
import { endianness } from "node:os";
import { join } from "node:path";
import { versions } from "node:process";
import { messageOf, StorageError } from "../../base/errors.ts";

/** The first SQLite without the WAL-reset bug [sqlite-facts 1.13]. */
export const sqliteVersionMin = "3.51.3";

/** Magic numbers of statfs(2) on which shared memory or locks do not work between processes. */
const remoteFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x01021997, "9p"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x5346414f, "AFS"],
]);

/** Whether dotted version `a` is at least `b`. */
export function isVersionAtLeast(a: string, b: string): boolean {
  const [x, y] = [a, b].map((text) => text.split(".").map(Number));
  for (let i = 0; i < 3; i++) {
    const difference = (x?.[i] ?? 0) - (y?.[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Throws StorageError that says what is missing. `dir` exists. */
export async function checkPlatform(dir: string): Promise<void> {
  const sqlite = versions["sqlite"] ?? "0";
  if (!isVersionAtLeast(sqlite, sqliteVersionMin)) {
    throw new StorageError(
      `SQLite ${sqlite} can lose commits when a WAL is reset: need ${sqliteVersionMin} or later`,
    );
  }
  if (endianness() !== "LE") throw new StorageError("big-endian machines are not supported");
  const { type } = await statfs(dir);
  const remote = remoteFileSystems.get(type >>> 0);
  if (remote !== undefined) {
    throw new StorageError(`${dir} is on ${remote}: SQLite's WAL needs a local file system`);
  }
  await checkHardLinks(dir);
}

async function checkHardLinks(dir: string): Promise<void> {
  const [one, two] = [join(dir, "link-probe-1"), join(dir, "link-probe-2")];
  try {
    await rm(two, { force: true });
    await writeFile(one, "");
    await link(one, two);
  } catch (cause) {
    throw new StorageError(`${dir} does not allow hard links: ${messageOf(cause)}`, { cause });
  } finally {
    await rm(one, { force: true });
    await rm(two, { force: true });
  }
}
