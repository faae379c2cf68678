/**
 * A lane over which a program outside the cluster copies the database: `Upgrade: paceline-copy` on a node's API port,
 * then the frames of a page sync (sync/messages.ts). The same rules as between nodes, without a handshake: who may
 * talk SQL to the port may read everything anyway.
 *
 * Not here: what is done with the pages (archive/), and how fast they are sent (sync/throttle.ts).
 */

import type { Duplex } from "node:stream";
import { ProtocolError } from "../base/errors.ts";
import type { Clock } from "../host/clock.ts";
import { acceptUpgrade, dialUpgrade, type Wire } from "../host/sockets.ts";
import { limits } from "../limits.ts";
import { nodeId } from "../vocabulary.ts";
import { type Channel, LaneChannel } from "./channel.ts";
import { FrameDecoder } from "./frames.ts";
import { Lane } from "./lane.ts";

/** Value of the `Upgrade` header. */
export const copyProtocol = "paceline-copy";

/** The node's side, for a request that the HTTP server has read. `onEnd` is called once, however it ends. */
export function acceptCopy(
  socket: Duplex,
  head: Uint8Array,
  clock: Clock,
  onEnd: () => void,
): Channel {
  return channelOver(acceptUpgrade(socket, head, copyProtocol), clock, onEnd);
}

/** The copying side. Throws ProtocolError when the node does not agree, and the system's error when there is none. */
export async function dialCopy(
  address: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<Channel> {
  const late = new AbortController();
  const cancel = clock.after(limits.handshakeMs, () =>
    late.abort(new ProtocolError(`${address} does not answer`)),
  );
  try {
    const wire = await dialUpgrade(address, copyProtocol, AbortSignal.any([signal, late.signal]));
    return channelOver(wire, clock, () => {});
  } finally {
    cancel();
  }
}

function channelOver(wire: Wire, clock: Clock, onEnd: () => void): Channel {
  const opened = {
    type: "opened" as const,
    peer: { id: nodeId("copy"), instance: "", clusterId: undefined, lane: "sync" as const },
    wire,
    decoder: new FrameDecoder(limits.peerFrameBytesMax),
  };
  return new LaneChannel(new Lane(opened, { clock, limits }), { clock, limits }, onEnd);
}
