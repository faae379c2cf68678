/**
 * The baton: what a client of a stream gives back to go on with it. Base64url, without padding, of
 *
 *   offset  size  field
 *        0     1  1; or 2: the stream is plain, nothing is lost with it but what follows here
 *        1    16  stream id, random
 *       17     4  sequence, big-endian: how often the stream was used; every answer carries a new one
 *       21     1  length n of the node id
 *       22     n  node id, ASCII
 *    22 + n    16  HMAC-SHA256 of everything before, cut to 16 bytes
 *
 * The key comes from the cluster's secret, so every node can tell a baton of another node, or of its own life before a
 * restart, from a forged one.
 *
 * Not here: which streams there are (streams.ts).
 */

import { createHmac, timingSafeEqual } from "node:crypto";
import { type ConnectionState, parseConnection } from "../../db/stream/connection-state.ts";
import { type NodeId, nodeId } from "../../vocabulary.ts";

export type Baton = {
  /** 32 hex digits. */
  readonly streamId: string;
  readonly sequence: number;
  readonly node: NodeId;
  /** The stream that it was given for had nothing that a new one would not have, but for `connection`. */
  readonly plain: boolean;
  readonly connection?: ConnectionState | undefined;
};

const versions = { bound: 1, plain: 2 } as const;
const idBytes = 16;
const fixedBytes = 22;
const macBytes = 16;
/** Each setting has a name of at most 32 characters and a number. */
const connectionBytesMax = 2 * 1024;
/** 32 characters of node id, everything, in base64. */
const charsMax = Math.ceil(((fixedBytes + 32 + connectionBytesMax + macBytes) * 4) / 3);

export class BatonSeal {
  readonly #key: Uint8Array;

  constructor(secret: string) {
    this.#key = createHmac("sha256", secret).update("paceline baton 1").digest();
  }

  seal(baton: Baton): string {
    const { plain, connection } = baton;
    const kept = plain && connection !== undefined ? JSON.stringify(connection) : "";
    const open = Buffer.alloc(fixedBytes + baton.node.length + Buffer.byteLength(kept));
    open.writeUInt8(baton.plain ? versions.plain : versions.bound, 0);
    open.write(baton.streamId, 1, idBytes, "hex");
    open.writeUInt32BE(baton.sequence, 1 + idBytes);
    open.writeUInt8(baton.node.length, fixedBytes - 1);
    open.write(baton.node + kept, fixedBytes, "latin1");
    return Buffer.concat([open, this.#mac(open)]).toString("base64url");
  }

  /** Undefined when it was not made with this secret. Takes the same time whatever is wrong with the seal. */
  open(text: string): Baton | undefined {
    if (text.length > charsMax) return undefined;
    const bytes = Buffer.from(text, "base64url");
    // Base64 has several spellings for the same bytes; only ours is good.
    if (bytes.length < fixedBytes + macBytes || bytes.toString("base64url") !== text) {
      return undefined;
    }
    const open = bytes.subarray(0, bytes.length - macBytes);
    if (!timingSafeEqual(this.#mac(open), bytes.subarray(open.length))) return undefined;
    const version = open[0];
    if (version !== versions.bound && version !== versions.plain) return undefined;
    const nodeEnd = fixedBytes + open[fixedBytes - 1]!;
    const kept = open.toString("latin1", nodeEnd);
    return {
      streamId: open.toString("hex", 1, 1 + idBytes),
      sequence: open.readUInt32BE(1 + idBytes),
      node: nodeId(open.toString("latin1", fixedBytes, nodeEnd)),
      plain: version === versions.plain,
      connection: kept === "" ? undefined : parseConnection(JSON.parse(kept)),
    };
  }

  #mac(open: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key).update(open).digest().subarray(0, macBytes);
  }
}
