/**
 * Main module of a scratch host: what a writer process does, for the scratch databases of several simulated machines.
 * They are never closed, because a closing connection checkpoints, and never two of one file [D2 rule 3]: the parent
 * sees to that. It ends by SIGKILL.
 */

import { messageOf } from "../../base/errors.ts";
import { takeUp } from "../../db/process/child.ts";
import { reasonOf, Scratch } from "../../db/process/writer-child.ts";
import { writerPorts } from "../../node/children/writer-ports.ts";
import type { FromHost, ToHost } from "./scratch-messages.ts";

const scratchById = new Map<number, Scratch>();

const end = takeUp((head) => {
  const message = head as ToHost;
  try {
    if (message.type === "open") {
      scratchById.set(message.id, new Scratch(message, writerPorts, end));
      send({ type: "opened" });
      return;
    }
    const { reply, body } = scratchById.get(message.id)!.run(message.request);
    send(reply, body);
  } catch (error) {
    end.progress.idle();
    send({ type: "failed", message: messageOf(error), reason: reasonOf(error) });
  }
});

function send(message: FromHost, body?: Uint8Array): void {
  end.channel.send(message, body);
}
