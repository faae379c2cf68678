/**
 * The writer process itself: runs units on the scratch database, reads back the pages they changed, and sends them
 * encoded. It trusts its parent and nobody else; user SQL is watched by the authorizer.
 *
 * It never closes its connection, because a closing connection checkpoints [sqlite-facts 1.6]. It ends by SIGKILL.
 * What it cannot explain (a fault of ours, a disk that refuses) it reports and then does nothing more: its scratch is
 * of unknown content and will be thrown away.
 */

import { messageOf, StorageError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import type { PageSet } from "../../wal/page-set.ts";
import type { Recorded } from "../record/recording.ts";
import {
  diskTakesWrites,
  RunFailure,
  type RunFailureReason,
  type StorageSign,
  storageSign,
  tooLarge,
} from "../scratch/run-failure.ts";
import { TransactionEnded } from "../sql/client-transaction.ts";
import { GroupCommit } from "../sql/group-commit.ts";
import { sqlErrorFrom } from "../sql/sql-error.ts";
import { type ChildEnd, takeUp } from "./child.ts";
import { checkedPageSize, openScratch } from "./connection.ts";
import { ReplayScratch } from "./replay/replay-scratch.ts";
import type { FromWriter, RunRequest, ToWriter } from "./writer-messages.ts";

/** Reads back from the scratch WAL what was committed since the last call. */
export interface PageCapture {
  readonly walFrames: number;
  /** Of the open transaction, and perhaps more. */
  uncommittedBytes(): number;
  /** Undefined when nothing was committed; more bytes of pages than `bytesMax` are not read at all. */
  capture(): PageSet | undefined;
  capture(bytesMax: number): PageSet | "too-large" | undefined;
}

export type WriterChildPorts = {
  /** Called once the connection has read from the database, so that its -wal and -shm exist. */
  openCapture(scratchPath: string, pageSize: number): PageCapture;
  /** Undefined when what was recorded beside the pages is too large for an entry. */
  encode(
    set: PageSet,
    committedAtMs: number,
    recorded: Recorded | undefined,
  ): EncodedChange | undefined;
  /** Pages that go no further than the parent. */
  encodeOwn(set: PageSet): Uint8Array;
};

/** What goes into the log, and the pages if it goes without them. */
export type EncodedChange = { readonly body: Uint8Array; readonly pages?: Uint8Array | undefined };

/** Serves the parent until killed. */
export function runWriterChild(ports: WriterChildPorts): void {
  let scratch: Scratch | undefined;
  let replay: ReplayScratch | undefined;
  const answer = (message: ToWriter, section: Uint8Array): void => {
    switch (message.type) {
      case "open":
        scratch = new Scratch(message, ports, end);
        return send({ type: "opened", frames: scratch.frames });
      case "open-replay":
        replay = new ReplayScratch(message.path, message.tables, ports);
        return send({ type: "opened" });
      case "run": {
        if (scratch === undefined) throw new StorageError("the writer has no scratch database");
        const { reply, body } = scratch.run(message.request);
        return send(reply, body);
      }
      case "replay": {
        if (replay === undefined) throw new StorageError("the process has no scratch database");
        const { reply, body } = replay.run(message, section);
        return send(reply, body);
      }
    }
  };
  const end: ChildEnd = takeUp((head, body) => {
    try {
      answer(head as ToWriter, body);
    } catch (error) {
      end.progress.idle();
      if (sqlErrorFrom(error) === undefined && !(error instanceof RunFailure)) {
        process.stderr.write(`writer: ${error instanceof Error ? error.stack : String(error)}\n`);
      }
      send({ type: "failed", message: messageOf(error), reason: reasonOf(error) });
    }
  });
  const send = (message: FromWriter, body?: Uint8Array) => end.channel.send(message, body);
}

/** Why the run itself is to blame, if it is. */
export function reasonOf(error: unknown): RunFailureReason | undefined {
  if (error instanceof RunFailure) return error.reason;
  return error instanceof TransactionEnded ? "ended" : undefined;
}

/** The connection to one scratch database. It is never closed. */
export class Scratch {
  readonly #ports: WriterChildPorts;
  readonly #end: Pick<ChildEnd, "progress">;
  readonly #group: GroupCommit;
  readonly #capture: PageCapture;
  readonly #path: string;
  /** What SQLite said of the disk during the run at hand. */
  readonly #signs = new Set<StorageSign>();

  constructor(
    { path, recording }: Pick<Extract<ToWriter, { type: "open" }>, "path" | "recording">,
    ports: WriterChildPorts,
    end: Pick<ChildEnd, "progress">,
  ) {
    this.#ports = ports;
    this.#end = end;
    this.#path = path;
    const db = openScratch(path);
    const pageSize = checkedPageSize(db);
    this.#capture = ports.openCapture(path, pageSize);
    const watch = {
      onUnit: (unit: number) => end.progress.unit(unit),
      onStatement: () => end.progress.statement(),
      onUpkeep: () => end.progress.upkeep(),
      onError: (code: number) => {
        const sign = storageSign(code);
        if (sign !== undefined) this.#signs.add(sign);
      },
    };
    this.#group = new GroupCommit(db, watch, recording);
  }

  /** Committed, in the WAL. */
  get frames(): number {
    return this.#capture.walFrames;
  }

  /** Throws RunFailure, and then it is of no more use. */
  run(request: RunRequest): { reply: FromWriter; body: Uint8Array | undefined } {
    const { units, lsn, term, session, committedAtMs } = request;
    this.#signs.clear();
    const run = this.#group.run(units, { lsn, term }, session);
    const { outcomes, open, committed, recorded, warnings } = run;
    this.#end.progress.idle();
    this.#expectDisk();
    const encoded = committed ? this.#encoded(committedAtMs, recorded) : undefined;
    const more = this.#capture.uncommittedBytes();
    if (open && more > limits.transactionBytesMax) throw tooLarge();
    // What was rolled back and is this large would be taken for the next transaction's.
    const isUsedUp = more > limits.transactionBytesMax;
    const frames = isUsedUp ? limits.scratchFramesMax + 1 : this.#capture.walFrames;
    const pages = encoded?.pages;
    const body = pages === undefined ? encoded?.body : Buffer.concat([encoded!.body, pages]);
    const pagesBytes = pages?.byteLength ?? 0;
    return { reply: { type: "done", outcomes, open, frames, pagesBytes, warnings }, body };
  }

  #encoded(committedAtMs: number, recorded: Recorded | undefined): EncodedChange {
    const set = this.#capture.capture(limits.transactionBytesMax);
    if (set === undefined) {
      throw new StorageError("a transaction was committed but the scratch WAL has no frames of it");
    }
    const encoded =
      set === "too-large" ? undefined : this.#ports.encode(set, committedAtMs, recorded);
    if (encoded === undefined) throw tooLarge();
    return encoded;
  }

  #expectDisk(): void {
    const isDoubted = this.#signs.has("perhaps") && !diskTakesWrites(this.#path);
    if (!isDoubted && !this.#signs.has("failing")) return;
    throw new RunFailure("disk", "the disk of the leader is full or failing");
  }
}
