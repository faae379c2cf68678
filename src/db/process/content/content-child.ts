/** A process that reads the content of the served database once, and answers with its checksums. */

import { messageOf } from "../../../base/errors.ts";
import { takeUp } from "../child.ts";
import { openServed } from "../connection.ts";
import { readContent } from "./content-reading.ts";

/** Serves the parent until killed. */
export function runContentChild(): void {
  const { channel } = takeUp((path) => {
    try {
      channel.send({ content: readContent(openServed(String(path))) });
    } catch (error) {
      channel.send({ failed: messageOf(error) });
    }
  });
}
