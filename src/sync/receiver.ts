/**
 * The receiving side of page sync: says what it has, writes what it is sent, and lets the image take effect when its
 * checksum proves that it is the sender's at one LSN.
 *
 * Nothing is believed. Every page is checked against the hash it came with, every hash is part of the checksum, and
 * the checksum is compared before `finish`. A sync that breaks leaves pages in the sink which are good in themselves;
 * the next one starts by comparing, so only what still differs moves.
 */

import { ProtocolError } from "../base/errors.ts";
import { formatHash, pageHash } from "../base/hash.ts";
import { limits } from "../limits.ts";
import { type Pgno, pgno } from "../vocabulary.ts";
import { Conversation } from "./conversation.ts";
import { HashTable, xorWords } from "./hash-table.ts";
import { type SyncMessage, syncVersion } from "./messages.ts";
import type { Channel, ImageId, PageBatch, PageSink } from "./ports.ts";
import type { SyncOptions, SyncProgress, SyncReport } from "./progress.ts";

type Answer = Extract<SyncMessage, { type: "answer" }>;

/** Groups hashed before the event loop gets a turn. */
const groupsPerTurn = 1024;

/**
 * Fills the sink with the other side's image and resolves when `finish` has. Throws ProtocolError when the channel
 * breaks or the other side breaks the rules, and what the sink throws; `finish` has not been called then, or is what
 * threw. The channel is closed in the end, by the other side if it hears of the end.
 */
export async function receivePages(
  channel: Channel,
  sink: PageSink,
  options: SyncOptions,
): Promise<SyncReport> {
  const conversation = new Conversation(channel, options.clock);
  const onAbort = (): void => conversation.close("aborted");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  if (options.signal?.aborted) onAbort();
  const receiving = new Receiving(conversation, sink, options);
  try {
    const image = await receiving.run();
    conversation.send({ type: "done" });
    conversation.leave();
    return { ...receiving.progress(), image };
  } catch (error) {
    conversation.fail(error);
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}

class Receiving {
  readonly #conversation: Conversation;
  readonly #sink: PageSink;
  readonly #options: SyncOptions;
  /** What the sink holds, page by page. */
  #table = new HashTable();
  /** What was offered. */
  readonly #offeredCount: number;
  #pageSize: number;
  #round = 0;
  #pagesDone = 0;
  /** Pages of this round that are still to come, as the sender said. */
  #pagesLeft = 0;

  constructor(conversation: Conversation, sink: PageSink, options: SyncOptions) {
    this.#conversation = conversation;
    this.#sink = sink;
    this.#options = options;
    this.#offeredCount = sink.pageCount();
    this.#pageSize = sink.pageCount() === 0 ? 0 : sink.pageSize();
  }

  async run(): Promise<ImageId> {
    await this.#offer();
    const answer = await this.#conversation.next("answer");
    await this.#onAnswer(answer);
    for (;;) {
      const message = await this.#conversation.next("round", "pages", "final");
      if (message.type === "final") return this.#onFinal(message.image);
      if (message.type === "pages") await this.#onPages(message);
      else {
        if (message.round <= this.#round) throw new ProtocolError("rounds run backwards");
        this.#round = message.round;
        this.#pagesLeft = message.pages;
      }
      this.#options.onProgress?.(this.progress());
    }
  }

  progress(): SyncProgress {
    const pagesTotal = this.#pagesDone + this.#pagesLeft;
    const { bytesMoved } = this.#conversation;
    return { round: this.#round, pagesDone: this.#pagesDone, pagesTotal, bytesMoved };
  }

  async #offer(): Promise<void> {
    const groups = Math.ceil(this.#offeredCount / limits.syncGroupPages);
    const groupHashes = new Uint32Array(2 * groups);
    for (let group = 0; group < groups; group++) {
      if (group % groupsPerTurn === groupsPerTurn - 1) await this.#turn();
      const { from, to } = this.#groupRange(group);
      const words = this.#sink.hashesOf(from, to);
      for (let page: number = from; page < to; page++) {
        const at = 2 * (page - from);
        this.#table.set(page, words[at]!, words[at + 1]!);
      }
      const { high, low } = xorWords(words);
      groupHashes[2 * group] = high;
      groupHashes[2 * group + 1] = low;
    }
    this.#conversation.send({
      type: "offer",
      version: syncVersion,
      pageSize: this.#pageSize,
      pageCount: this.#offeredCount,
      groupPages: limits.syncGroupPages,
      groupHashes,
    });
  }

  async #onAnswer(answer: Answer): Promise<void> {
    const isOurs = answer.pageSize === this.#pageSize;
    const groups = isOurs ? Math.ceil(this.#offeredCount / limits.syncGroupPages) : 0;
    if (answer.groups.length > 0 && answer.groups.at(-1)! >= groups) {
      throw new ProtocolError(`asked for group ${answer.groups.at(-1)} of ${groups}`);
    }
    if (!isOurs) this.#table = new HashTable();
    this.#pageSize = answer.pageSize;
    await this.#sink.begin({ pageSize: answer.pageSize, pageCount: answer.pageCount });
    for (let at = 0; at < answer.groups.length; at += limits.syncHashGroups) {
      const asked = [...answer.groups.subarray(at, at + limits.syncHashGroups)];
      const ranges = asked.map((group) => this.#groupRange(group));
      const words = ranges.map(({ from, to }) => this.#table.slice(from, to));
      this.#conversation.send({ type: "hashes", hashes: joined(words) });
      await this.#conversation.drained();
    }
  }

  async #onPages(batch: PageBatch): Promise<void> {
    const count = batch.pgnos.length;
    if (count > limits.syncMessagePages || batch.pages.byteLength !== count * this.#pageSize) {
      throw new ProtocolError(`${batch.pages.byteLength} bytes for ${count} pages`);
    }
    for (let at = 0; at < count; at++) {
      const page = batch.pages.subarray(at * this.#pageSize, (at + 1) * this.#pageSize);
      const wanted = { high: batch.hashes[2 * at]!, low: batch.hashes[2 * at + 1]! };
      if (!isPage(pgno(batch.pgnos[at]!), page, wanted)) {
        throw new ProtocolError(`page ${batch.pgnos[at]} is not what its hash says`);
      }
    }
    await this.#sink.write(batch);
    for (let at = 0; at < count; at++) {
      this.#table.set(batch.pgnos[at]!, batch.hashes[2 * at]!, batch.hashes[2 * at + 1]!);
    }
    this.#pagesDone += count;
    this.#pagesLeft = Math.max(0, this.#pagesLeft - count);
  }

  async #onFinal(image: ImageId): Promise<ImageId> {
    this.#table.dropAbove(image.pageCount);
    const checksum = this.#table.checksum();
    if (checksum.high !== image.checksum.high || checksum.low !== image.checksum.low) {
      throw new ProtocolError(
        `checksum of the pages is ${formatHash(checksum)}, the sender's ${formatHash(image.checksum)}`,
      );
    }
    this.#pagesLeft = 0;
    await this.#sink.finish(image);
    return image;
  }

  #groupRange(group: number): { from: Pgno; to: Pgno } {
    const from = group * limits.syncGroupPages + 1;
    const to = Math.min(from + limits.syncGroupPages, this.#offeredCount + 1);
    return { from: pgno(from), to: pgno(to) };
  }

  #turn(): Promise<void> {
    return new Promise<void>((resolve) => {
      this.#options.clock.after(0, resolve);
    });
  }
}

/** A page that was never written has no hash and only zeros. */
function isPage(number: Pgno, page: Uint8Array, wanted: { high: number; low: number }): boolean {
  if (wanted.high === 0 && wanted.low === 0) return page.every((byte) => byte === 0);
  const actual = pageHash(number, page);
  return actual.high === wanted.high && actual.low === wanted.low;
}

function joined(lists: readonly Uint32Array[]): Uint32Array {
  const words = new Uint32Array(lists.reduce((sum, list) => sum + list.length, 0));
  let at = 0;
  for (const list of lists) {
    words.set(list, at);
    at += list.length;
  }
  return words;
}
