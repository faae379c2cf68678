/**
 * The history of a run: every operation of every client and every fault, on the one clock of this process, in the
 * order in which this process saw them. The format is that of src/sim/checkers/history.ts, with keys of families:
 *
 *   row/C         one insert each (`add`), and looks for rows that were acknowledged (`look`)
 *   register/K    a register with one writer that counts up
 *   cell-G/N      the N-th register of group G with several writers: read, write, cas
 *   list/N        transactions on the N-th set of lists: append and read
 *   bank/N        transfers between the accounts of the N-th bank, and reads of all of them
 *   session/N     appends and reads of sessions that go from node to node
 *   fault         process "faults"; op is the type, node the target; ok when mended and writes go on
 *
 * The value with which a read is invoked is its consistency, linearizable when it has none; the LSN with which it is
 * invoked is the position that it asks for.
 *
 * Nothing is kept: an event goes to the sinks (a file, the checks) and is forgotten here.
 */

import { closeSync, openSync, writeSync } from "node:fs";
import { encodeHistory, type HistoryEvent } from "../../src/sim/checkers/history.ts";

export type Sink = (event: HistoryEvent) => void;

export type Told = Pick<HistoryEvent, "process" | "op" | "type"> &
  Partial<Pick<HistoryEvent, "key" | "value" | "node" | "term" | "lsn">>;

export class History {
  readonly #sinks: readonly Sink[];

  constructor(sinks: readonly Sink[]) {
    this.#sinks = sinks;
  }

  /** Stamps an event with the time and passes it on. */
  tell({ process, op, type, key, value, node, term, lsn }: Told): void {
    const atNs = Math.round(performance.now() * 1e6);
    const event: HistoryEvent = { process, op, key, value, type, atNs, node, term, lsn };
    for (const sink of this.#sinks) sink(event);
  }
}

const chunkBytes = 256 * 1024;

/** A file of JSON lines. Writes in large pieces; `close` writes the rest. */
export class HistoryFile {
  readonly #fd: number;
  #lines = "";

  constructor(path: string) {
    this.#fd = openSync(path, "w");
  }

  add(event: HistoryEvent): void {
    this.#lines += encodeHistory([event]);
    if (this.#lines.length >= chunkBytes) this.#flush();
  }

  close(): void {
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    writeSync(this.#fd, this.#lines);
    this.#lines = "";
  }
}
