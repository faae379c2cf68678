/**
 * For tests: databases and channels in memory.
 */

import { ProtocolError } from "../base/errors.ts";
import { type Hash64, pageHash, xorHash, zeroHash } from "../base/hash.ts";
import type { Prng } from "../base/prng.ts";
import { defaultSettings, lsn, nodeId, pgno, term } from "../vocabulary.ts";
import type { Channel, Cut, ImageId, PageBatch, PageSink, PageSource } from "./ports.ts";

export const testPageSize = 512;

/** A database as a list of pages. A page that is undefined was never written. */
export class MemoryPages {
  readonly pages: (Uint8Array | undefined)[] = [];
  readonly #hashes: Hash64[] = [];

  write(number: number, page: Uint8Array | undefined): void {
    this.pages[number - 1] = page;
    this.#hashes[number - 1] = page === undefined ? zeroHash : pageHash(pgno(number), page);
  }

  resize(count: number): void {
    for (let number = this.pages.length + 1; number <= count; number++) {
      this.write(number, undefined);
    }
    this.pages.length = count;
    this.#hashes.length = count;
  }

  hashesOf(from: number, to: number): Uint32Array {
    const words = new Uint32Array(2 * (to - from));
    for (let number = from; number < to; number++) {
      const { high, low } = this.#hashes[number - 1] ?? zeroHash;
      words[2 * (number - from)] = high;
      words[2 * (number - from) + 1] = low;
    }
    return words;
  }

  checksum(): Hash64 {
    return this.#hashes.reduce(xorHash, zeroHash);
  }

  batch(pgnos: Uint32Array): PageBatch {
    const there = pgnos.filter((number) => number <= this.pages.length);
    const pages = new Uint8Array(there.length * testPageSize);
    const hashes = new Uint32Array(2 * there.length);
    there.forEach((number, at) => {
      pages.set(this.pages[number - 1] ?? [], at * testPageSize);
      hashes.set(this.hashesOf(number, number + 1), 2 * at);
    });
    return { pgnos: there, pages, hashes };
  }
}

/** A source that goes on changing: `change` may be called at any time. */
export class MemorySource implements PageSource {
  readonly image = new MemoryPages();
  readonly listeners = new Set<(pgnos: Uint32Array, pageCount: number) => void>();
  /** Called between a read's start and its end, where races live. */
  duringRead: () => void = () => {};
  #lsn = 1;
  /** What was cut, page by page, to compare with what arrives. */
  cutPages: readonly (Uint8Array | undefined)[] = [];

  change(pgnos: readonly number[], prng: Prng, pageCount = this.image.pages.length): void {
    this.#lsn += 1;
    this.image.resize(pageCount);
    const written = pgnos.filter((number) => number <= pageCount).toSorted((x, y) => x - y);
    for (const number of written) this.image.write(number, randomPage(prng));
    for (const listener of this.listeners) listener(Uint32Array.from(written), pageCount);
  }

  pageSize(): number {
    return testPageSize;
  }

  pageCount(): number {
    return this.image.pages.length;
  }

  hashesOf(from: number, to: number): Uint32Array {
    return this.image.hashesOf(from, to);
  }

  async readPages(pgnos: Uint32Array): Promise<PageBatch> {
    const early = this.image.batch(pgnos);
    await turn();
    this.duringRead();
    await turn();
    return early;
  }

  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  async cut(pick: () => Uint32Array): Promise<Cut> {
    await turn();
    const pages = this.image.batch(pick());
    this.cutPages = [...this.image.pages];
    const position = { lsn: lsn(this.#lsn), term: term(3) };
    const membership = [{ id: nodeId("a"), kind: "voter" as const, address: "h:1" }];
    const snapshot = {
      ...position,
      chain: "0123456789abcdef",
      membership,
      settings: defaultSettings,
    };
    const pageCount = this.image.pages.length;
    return { pages, image: { pageCount, checksum: this.image.checksum(), position, snapshot } };
  }
}

export class MemorySink implements PageSink {
  readonly image = new MemoryPages();
  finished: ImageId | undefined;
  begun = 0;

  pageSize(): number {
    return testPageSize;
  }

  pageCount(): number {
    return this.image.pages.length;
  }

  hashesOf(from: number, to: number): Uint32Array {
    return this.image.hashesOf(from, to);
  }

  async begin(): Promise<void> {
    this.begun += 1;
  }

  async write(batch: PageBatch): Promise<void> {
    await turn();
    batch.pgnos.forEach((number, at) => {
      const isWritten = batch.hashes[2 * at] !== 0 || batch.hashes[2 * at + 1] !== 0;
      const page = batch.pages.slice(at * testPageSize, (at + 1) * testPageSize);
      if (number > this.image.pages.length) this.image.resize(number);
      this.image.write(number, isWritten ? page : undefined);
    });
  }

  async finish(image: ImageId): Promise<void> {
    this.image.resize(image.pageCount);
    this.finished = image;
  }
}

type Listener = Parameters<Channel["listen"]>[0];

/** One end of a channel in memory. Delivers in order, a turn later, one at a time, as the real one does. */
export class MemoryChannel implements Channel {
  other!: MemoryChannel;
  /** Changes messages on their way out; undefined breaks the channel instead. */
  onSend: (message: Uint8Array) => Uint8Array | undefined = (message) => message;
  sentBytes = 0;
  isClosed = false;
  readonly #inbox: Uint8Array[] = [];
  #listener: Listener | undefined;
  #isDelivering = false;

  listen(listener: Listener): void {
    this.#listener = listener;
    void this.#deliver();
  }

  send(message: Uint8Array): void {
    if (this.isClosed) return;
    const sent = this.onSend(message);
    if (sent === undefined) {
      this.break();
      return;
    }
    this.sentBytes += sent.byteLength;
    this.other.#inbox.push(sent.slice());
    void this.other.#deliver();
  }

  async drained(): Promise<void> {
    await turn();
    if (this.isClosed) throw new ProtocolError("closed");
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    setImmediate(() => this.other.#end("the other side closed"));
  }

  /** Both ends lose it. */
  break(): void {
    for (const end of [this, this.other]) end.#end("broken");
  }

  #end(why: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#listener?.onClose(why);
  }

  async #deliver(): Promise<void> {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    await turn();
    while (this.#listener !== undefined && !this.isClosed) {
      const message = this.#inbox.shift();
      if (message === undefined) break;
      await this.#listener.onMessage(message);
    }
    this.#isDelivering = false;
  }
}

export function channelPair(): readonly [MemoryChannel, MemoryChannel] {
  const [one, two] = [new MemoryChannel(), new MemoryChannel()];
  one.other = two;
  two.other = one;
  return [one, two];
}

export function randomPage(prng: Prng): Uint8Array {
  const page = new Uint8Array(testPageSize);
  const view = new DataView(page.buffer);
  for (let at = 0; at < 16; at += 4) view.setUint32(at, prng.u32());
  return page;
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
