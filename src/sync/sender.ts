/**
 * The sending side of page sync: pre-copy rounds over a database that goes on changing.
 *
 * First the two sides find out which pages differ: hashes of groups, then of the pages in the groups that differ.
 * Then rounds. A round sends the pages that are to be sent, each as it is when its turn comes; pages that change after
 * their turn are noted and make the next round. When few enough are noted, a cut takes them all at one LSN, and with
 * them what the receiver now has is the image of that LSN.
 *
 * Invariant: from the moment changes are listened to, every page is as the receiver has it or will have it from what
 * was sent, or it is in `#pending`, or it is in `#dirty`. So no view is pinned, no writer waits, and the cut's
 * checksum proves at the end that this is true.
 *
 * Writers are not blocked but may be faster than the throttle. So the throttle doubles after each round that does not
 * leave less to do than it did.
 */

import { assert } from "../base/assert.ts";
import { ProtocolError } from "../base/errors.ts";
import { limits } from "../limits.ts";
import { pgno } from "../vocabulary.ts";
import { Conversation } from "./conversation.ts";
import { xorWords } from "./hash-table.ts";
import type { SyncMessage } from "./messages.ts";
import { PageBits } from "./page-bits.ts";
import type { Channel, Cut, ImageId, PageBatch, PageSource } from "./ports.ts";
import type { SyncOptions, SyncProgress, SyncReport } from "./progress.ts";
import { Throttle } from "./throttle.ts";

type Offer = Extract<SyncMessage, { type: "offer" }>;

/** Groups compared before the event loop gets a turn: a quarter of a million hashes. */
const groupsPerTurn = 1024;

/**
 * Sends what the other side lacks and resolves when it says that the image has taken effect there. Throws
 * ProtocolError when the channel breaks or the other side breaks the rules, and what the source throws. The channel
 * is closed in the end, and the source is no longer listened to.
 */
export async function sendPages(
  channel: Channel,
  source: PageSource,
  options: SyncOptions,
): Promise<SyncReport> {
  const conversation = new Conversation(channel, options.clock);
  const onAbort = (): void => conversation.close("aborted");
  options.signal?.addEventListener("abort", onAbort, { once: true });
  if (options.signal?.aborted) onAbort();
  const sending = new Sending(conversation, source, options);
  try {
    const image = await sending.run();
    conversation.close("done");
    return { ...sending.progress(), image };
  } catch (error) {
    conversation.fail(error);
    throw error;
  } finally {
    sending.stop();
    options.signal?.removeEventListener("abort", onAbort);
  }
}

class Sending {
  readonly #conversation: Conversation;
  readonly #source: PageSource;
  readonly #options: SyncOptions;
  readonly #throttle: Throttle;
  readonly #stopListening: () => void;
  /** Pages to be sent in this round. */
  #pending = new PageBits();
  /** Pages that changed after they were sent, or while they were being read, or that nobody planned to send. */
  #dirty = new PageBits();
  /** Of the database now. */
  #pageCount: number;
  #round = 0;
  #pagesDone = 0;

  constructor(conversation: Conversation, source: PageSource, options: SyncOptions) {
    this.#conversation = conversation;
    this.#source = source;
    this.#options = options;
    this.#throttle = new Throttle(
      options.clock,
      options.bytesPerSecond ?? limits.syncBytesPerSecond,
    );
    // Listened to before the first hash is read: see the invariant.
    this.#stopListening = source.onPagesChanged((pgnos, pageCount) =>
      this.#onChanged(pgnos, pageCount),
    );
    this.#pageCount = source.pageCount();
  }

  async run(): Promise<ImageId> {
    const offer = await this.#conversation.next("offer");
    await this.#compare(offer);
    await this.#rounds();
    const cut = await this.#source.cut(() => this.#dirty.take(this.#dirty.size));
    await this.#sendCut(cut);
    await this.#conversation.next("done");
    return cut.image;
  }

  stop(): void {
    this.#stopListening();
  }

  progress(): SyncProgress {
    const pagesTotal = this.#pagesDone + this.#pending.size;
    const { bytesMoved } = this.#conversation;
    return { round: this.#round, pagesDone: this.#pagesDone, pagesTotal, bytesMoved };
  }

  #onChanged(pgnos: Uint32Array, pageCount: number): void {
    for (const changed of pgnos) {
      if (changed <= pageCount && !this.#pending.has(changed)) this.#dirty.add(changed);
    }
    // New pages that were never written are not among the changed ones, but the receiver must know of them.
    for (let added = this.#pageCount + 1; added <= pageCount; added++) {
      if (!this.#pending.has(added)) this.#dirty.add(added);
    }
    if (pageCount < this.#pageCount) {
      this.#pending.deleteAbove(pageCount);
      this.#dirty.deleteAbove(pageCount);
    }
    this.#pageCount = pageCount;
  }

  /** Fills `#pending` with all that differs. */
  async #compare(offer: Offer): Promise<void> {
    const pageSize = this.#source.pageSize();
    const theirCount = offer.pageSize === pageSize ? offer.pageCount : 0;
    this.#pending.addRange(theirCount + 1, this.#pageCount + 1);
    const groups: number[] = [];
    for (let group = 0; group * offer.groupPages < theirCount; group++) {
      if (group % groupsPerTurn === groupsPerTurn - 1) await this.#turn();
      const { from, to } = groupRange(group, offer);
      // The other side's group may reach beyond our end; then it differs, page by page.
      const end = Math.min(to, this.#pageCount + 1);
      if (from >= end) break;
      const ours = xorWords(this.#source.hashesOf(pgno(from), pgno(end)));
      const theirs = xorWords(offer.groupHashes.subarray(2 * group, 2 * group + 2));
      if (ours.high !== theirs.high || ours.low !== theirs.low) groups.push(group);
    }
    const pageCount = this.#pageCount;
    this.#conversation.send({
      type: "answer",
      pageSize,
      pageCount,
      groups: Uint32Array.from(groups),
    });
    for (let at = 0; at < groups.length; ) at += await this.#onHashes(groups, at, offer);
  }

  /** Takes one message of hashes, for groups from index `at` on; says how many groups it covered. */
  async #onHashes(groups: readonly number[], at: number, offer: Offer): Promise<number> {
    const { hashes } = await this.#conversation.next("hashes");
    let taken = 0;
    let wordAt = 0;
    while (wordAt < hashes.length && at + taken < groups.length) {
      const { from, to } = groupRange(groups[at + taken]!, offer);
      const theirs = hashes.subarray(wordAt, wordAt + 2 * (to - from));
      if (theirs.length !== 2 * (to - from)) break;
      this.#comparePages(from, to, theirs);
      wordAt += theirs.length;
      taken += 1;
    }
    if (taken === 0 || wordAt !== hashes.length) {
      throw new ProtocolError(`${hashes.length} words of hashes do not fit the groups asked for`);
    }
    return taken;
  }

  #comparePages(from: number, to: number, theirs: Uint32Array): void {
    const end = Math.min(to, this.#pageCount + 1);
    if (from >= end) return;
    const ours = this.#source.hashesOf(pgno(from), pgno(end));
    for (let page = from; page < end; page++) {
      const word = 2 * (page - from);
      if (ours[word] === theirs[word] && ours[word + 1] === theirs[word + 1]) continue;
      this.#dirty.delete(page);
      this.#pending.add(page);
    }
  }

  async #rounds(): Promise<void> {
    for (;;) {
      this.#round += 1;
      const planned = this.#pending.size;
      this.#conversation.send({ type: "round", round: this.#round, pages: planned });
      this.#tell();
      while (this.#pending.size > 0) await this.#sendNext();
      const left = this.#dirty.size;
      if (left <= limits.syncFinalPagesMax) return;
      if (this.#round >= limits.syncRoundsMax) {
        throw new ProtocolError(`pages change faster than they are sent: ${left} of ${planned}`);
      }
      if (4 * left > 3 * planned) this.#throttle.double();
      this.#pending = this.#dirty;
      this.#dirty = new PageBits();
    }
  }

  async #sendNext(): Promise<void> {
    const count = Math.min(this.#pending.size, limits.syncMessagePages);
    // Paid before the pages are taken: those that change while we wait are then sent once, as they are afterwards.
    await this.#throttle.take(count * this.#source.pageSize());
    const pgnos = this.#pending.take(limits.syncMessagePages);
    if (pgnos.length === 0) return;
    const batch = await this.#source.readPages(pgnos);
    this.#sendBatch(withoutAbove(batch, this.#pageCount), this.#pageCount);
    await this.#conversation.drained();
  }

  async #sendCut(cut: Cut): Promise<void> {
    const { pageCount } = cut.image;
    this.#conversation.send({
      type: "round",
      round: this.#round + 1,
      pages: cut.pages.pgnos.length,
    });
    for (let at = 0; at < cut.pages.pgnos.length; at += limits.syncMessagePages) {
      this.#sendBatch(batchSlice(cut.pages, at, at + limits.syncMessagePages), pageCount);
      await this.#conversation.drained();
    }
    this.#conversation.send({ type: "final", image: cut.image });
  }

  #sendBatch(batch: PageBatch, pageCount: number): void {
    if (batch.pgnos.length === 0) return;
    assert(batch.pgnos.at(-1)! <= pageCount, "a page beyond the end was read");
    this.#conversation.send({ type: "pages", pageCount, ...batch });
    this.#pagesDone += batch.pgnos.length;
    this.#tell();
  }

  #tell(): void {
    this.#options.onProgress?.(this.progress());
  }

  #turn(): Promise<void> {
    return new Promise<void>((resolve) => {
      this.#options.clock.after(0, resolve);
    });
  }
}

/** Pages of a group that the other side has, half-open. */
function groupRange(group: number, offer: Offer): { from: number; to: number } {
  const from = group * offer.groupPages + 1;
  return { from, to: Math.min(from + offer.groupPages, offer.pageCount + 1) };
}

/** The database may have shrunk since the pages were read. */
function withoutAbove(batch: PageBatch, pageCount: number): PageBatch {
  let count = batch.pgnos.length;
  while (count > 0 && batch.pgnos[count - 1]! > pageCount) count -= 1;
  return batchSlice(batch, 0, count);
}

function batchSlice(batch: PageBatch, from: number, to: number): PageBatch {
  const pageSize = batch.pgnos.length === 0 ? 0 : batch.pages.byteLength / batch.pgnos.length;
  return {
    pgnos: batch.pgnos.subarray(from, to),
    hashes: batch.hashes.subarray(2 * from, 2 * to),
    pages: batch.pages.subarray(from * pageSize, to * pageSize),
  };
}
