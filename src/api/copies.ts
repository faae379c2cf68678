/**
 * Programs that copy this node's database: `paceline backup`. A bounded number at a time; the others are told to come
 * back.
 *
 * Not here: the lane (peer/copying.ts), which pages travel (sync/), what becomes of them (archive/).
 */

import type { Duplex } from "node:stream";
import { limits } from "../limits.ts";
import type { RunningNode } from "../node/running-node.ts";
import { acceptCopy } from "../peer/copying.ts";

export class Copies {
  readonly #running: RunningNode;
  #open = 0;

  constructor(running: RunningNode) {
    this.#running = running;
  }

  /** Takes the connection of a request that asks for the upgrade, before anything was answered. */
  accept(socket: Duplex, head: Uint8Array): void {
    const { clock, database, pageSyncing, tables } = this.#running.parts;
    const isWhole = tables === undefined;
    const isReady = database.whole !== undefined && isWhole;
    if (!isReady || this.#open >= limits.copiesMax) {
      socket.on("error", () => {});
      const why = isReady
        ? "busy with other copies"
        : `no ${isWhole ? "whole" : "complete"} database here`;
      socket.end(`HTTP/1.1 503 ${why}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`);
      return;
    }
    this.#open += 1;
    const channel = acceptCopy(socket, head, clock, () => {
      this.#open -= 1;
    });
    pageSyncing.send("a backup", channel);
  }
}
