/**
 * Replaying, in the process: what was recorded of an entry is run on a scratch database, and the pages that it changed
 * are read back. The rules of a scratch are those of the writer (writer-child.ts).
 */

import { CorruptionError, StorageError } from "../../../base/errors.ts";
import { decodeTransactions } from "../../../changes/steps-codec.ts";
import type { EntryId } from "../../../vocabulary.ts";
import { Replayer } from "../../record/replayer.ts";
import { checkedPageSize, openScratch } from "../connection.ts";
import type { PageCapture, WriterChildPorts } from "../writer-child.ts";
import type { FromWriter } from "../writer-messages.ts";

export class ReplayScratch {
  readonly #ports: WriterChildPorts;
  readonly #replayer: Replayer;
  readonly #capture: PageCapture;

  constructor(path: string, tables: readonly string[] | undefined, ports: WriterChildPorts) {
    this.#ports = ports;
    const db = openScratch(path);
    this.#capture = ports.openCapture(path, checkedPageSize(db));
    this.#replayer = new Replayer(db, tables);
  }

  run(position: EntryId, section: Uint8Array): { reply: FromWriter; body: Uint8Array | undefined } {
    try {
      this.#replayer.replay(decodeTransactions(section), position);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      return { reply: { type: "differs", message: error.message }, body: undefined };
    }
    const set = this.#capture.capture();
    if (set === undefined) throw new StorageError("the scratch WAL has no frames of an entry");
    const { walFrames: frames } = this.#capture;
    return { reply: { type: "replayed", frames }, body: this.#ports.encodeOwn(set) };
  }
}
