/** A process that reads the content of the served database once, and answers with its checksums. */

import { messageOf } from "../../../base/errors.ts";
import type { Lsn } from "../../../vocabulary.ts";
import { takeUp } from "../child.ts";
import { openServed } from "../connection.ts";
import { readContent } from "./content-reading.ts";

/** Serves the parent until killed. */
export function runContentChild(): void {
  const { channel } = takeUp((head) => {
    const { path, at } = head as { path: string; at?: Lsn };
    try {
      channel.send({ content: readContent(openServed(path), at) });
    } catch (error) {
      channel.send({ failed: messageOf(error) });
    }
  });
}
