/**
 * One process per data directory. The lock is SQLite's own on a file of no other use, `<dir>/lock`: the system lets
 * go of it when the process ends, however it ends, so there is never a stale one to remove.
 */

import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { ClientError, messageOf } from "../../base/errors.ts";

/** Takes the directory. Returns what lets go of it. Throws ClientError when another process has it. */
export function lockDirectory(dir: string): () => void {
  const connection = new DatabaseSync(join(dir, "lock"), { timeout: 0 });
  try {
    connection.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    connection.close();
    throw new ClientError(
      "STORAGE",
      `${dir} is in use by another process (${messageOf(cause)}); stop that node first, ` +
        "or give this one a directory of its own",
      { cause },
    );
  }
  return () => connection.close();
}
