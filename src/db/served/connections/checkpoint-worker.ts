/**
 * The thread that runs PASSIVE checkpoints of the served database, so that their reads, writes and fsyncs do not
 * hold up the event loop. It has a connection of its own and does nothing else with it.
 *
 * `synchronous = NORMAL` makes SQLite sync the WAL before it copies from it and the database before the WAL is
 * reused.
 */

import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../../base/assert.ts";
import { messageOf } from "../../../base/errors.ts";

/** What the thread answers to "passive": SQLite's row, or why there is none. */
export type CheckpointReply =
  | { readonly type: "done"; readonly log: number; readonly checkpointed: number }
  | { readonly type: "failed"; readonly message: string };

const port = parentPort;
assert(port !== null, "checkpoint-worker.ts is the main module of a thread");
const connection = new DatabaseSync(String(workerData), { timeout: 0 });
connection.exec("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL");

port.on("message", (request: "passive" | "close") => {
  if (request === "passive") return port.postMessage(checkpoint());
  connection.close();
  port.close();
});

function checkpoint(): CheckpointReply {
  try {
    const row = connection.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
    return { type: "done", log: Number(row?.["log"]), checkpointed: Number(row?.["checkpointed"]) };
  } catch (error) {
    return { type: "failed", message: messageOf(error) };
  }
}
