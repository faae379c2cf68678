/** Asks a process of its own for the content of the served database: it may take minutes, and holds up nobody. */

import { StorageError } from "../../../base/errors.ts";
import type { Lsn } from "../../../vocabulary.ts";
import { SqlProcess } from "../sql-process.ts";
import type { ContentOrPosition } from "./content-reading.ts";

export type { ContentOrPosition };

/**
 * `main` is a module that calls runContentChild; `at` a position that is wanted (content-reading.ts). Throws
 * StorageError when the database cannot be read.
 */
export function contentOf(main: string, path: string, at?: Lsn): Promise<ContentOrPosition> {
  return new Promise((resolve, reject) => {
    const process = new SqlProcess(main, {
      onMessage: (head) => {
        const { content, failed } = head as { content?: ContentOrPosition; failed?: string };
        if (content === undefined) reject(new StorageError(`cannot read the content: ${failed}`));
        else resolve(content);
        process.kill("it has answered");
      },
      onGone: (why) => reject(new StorageError(`reading the content ended: ${why}`)),
    });
    process.send({ path, at });
  });
}
