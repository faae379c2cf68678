/**
 * What every SQL process does first: take up its descriptors, and make sure that it never outlives its parent.
 *
 * A child whose event loop is free sees the channel close. One that is inside a statement sees nothing, and would
 * run an endless query, holding a read view of the served database, long after its node has died. So a thread of its
 * own looks from time to time whether the parent is still the parent.
 *
 * Ctrl-C reaches the whole group of processes; when to end is the parent's decision alone.
 */

import { Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { limits } from "../../limits.ts";
import { Channel } from "./channel.ts";
import { ProgressWriter } from "./progress.ts";

const channelFd = 3;
const progressFd = 4;

export type ChildEnd = { readonly channel: Channel; readonly progress: ProgressWriter };

/** Connects to the parent. */
export function takeUp(onMessage: (head: unknown, body: Uint8Array) => void): ChildEnd {
  const endMyself = () => process.kill(process.pid, "SIGKILL");
  process.on("SIGINT", () => {});
  process.on("SIGTERM", () => {});
  const parent = Number(process.argv[2]);
  if (process.ppid !== parent) endMyself();
  const socket = new Socket({ fd: channelFd, readable: true, writable: true });
  socket.on("error", endMyself);
  socket.on("end", endMyself);
  socket.on("close", endMyself);
  watchParent(parent);
  return { channel: new Channel(socket, onMessage), progress: new ProgressWriter(progressFd) };
}

function watchParent(parent: number): void {
  const source = `
    setInterval(() => {
      if (process.ppid !== ${parent}) process.kill(process.pid, "SIGKILL");
    }, ${limits.orphanPollMs});
  `;
  new Worker(source, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 8 } });
}
