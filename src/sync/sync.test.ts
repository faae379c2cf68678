import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ProtocolError } from "../base/errors.ts";
import { Prng } from "../base/prng.ts";
import { RealClock } from "../host/clock.ts";
import { limits } from "../limits.ts";
import { decodeSync, encodeSync, type SyncMessage } from "./messages.ts";
import type { SyncProgress, SyncReport } from "./progress.ts";
import { receivePages } from "./receiver.ts";
import { sendPages } from "./sender.ts";
import {
  channelPair,
  type MemoryChannel,
  MemorySink,
  MemorySource,
  randomPage,
  testPageSize,
} from "./testbed.ts";

const clock = new RealClock();
const unthrottled = { clock, bytesPerSecond: 1e12 };

function filled(pageCount: number, prng = new Prng(1)): MemorySource {
  const source = new MemorySource();
  source.image.resize(pageCount);
  for (let page = 1; page <= pageCount; page++) source.image.write(page, randomPage(prng));
  return source;
}

type Ends = readonly [MemoryChannel, MemoryChannel];
type Outcome = { sent: SyncReport | Error; received: SyncReport | Error };

async function sync(
  source: MemorySource,
  sink: MemorySink,
  ends: Ends = channelPair(),
): Promise<Outcome> {
  const [sent, received] = await Promise.all([
    sendPages(ends[0], source, unthrottled).catch((error: Error) => error),
    receivePages(ends[1], sink, unthrottled).catch((error: Error) => error),
  ]);
  return { sent, received };
}

function assertSame(sink: MemorySink, source: MemorySource): void {
  assert.notEqual(sink.finished, undefined);
  assert.equal(sink.finished?.pageCount, source.cutPages.length);
  assert.deepEqual(sink.image.pages, source.cutPages);
}

test("an empty node gets everything, and both sides report the same image", async () => {
  const source = filled(700);
  const sink = new MemorySink();
  const { sent, received } = await sync(source, sink);
  assertSame(sink, source);
  assert.ok(!(sent instanceof Error) && !(received instanceof Error));
  assert.deepEqual(sent.image, received.image);
  assert.equal(received.pagesDone, 700);
  assert.equal(source.listeners.size, 0);
  assert.equal(sink.begun, 1);
});

test("of 128k pages of which 100 differ, little more than those 100 move", async () => {
  const source = filled(131_072);
  const sink = new MemorySink();
  source.image.pages.forEach((page, at) => {
    sink.image.write(at + 1, page);
  });
  const prng = new Prng(7);
  const differing = new Set(Array.from({ length: 100 }, () => prng.integer(1, 131_073)));
  for (const page of differing) sink.image.write(page, randomPage(prng));
  const ends = channelPair();
  const { received } = await sync(source, sink, ends);
  assertSame(sink, source);
  assert.ok(!(received instanceof Error));
  assert.equal(received.pagesDone, differing.size);
  assert.equal(received.bytesMoved, ends[0].sentBytes + ends[1].sentBytes);
  // What is moved beside the pages does not depend on their size: with pages of 4 KiB it is a fifth of them.
  const besideBytes = received.bytesMoved - differing.size * testPageSize;
  assert.ok(besideBytes < 0.2 * differing.size * 4096, `${besideBytes} bytes beside the pages`);
});

test("equal databases move hashes of groups only", async () => {
  const source = filled(1000);
  const sink = new MemorySink();
  source.image.pages.forEach((page, at) => {
    sink.image.write(at + 1, page);
  });
  const { received } = await sync(source, sink);
  assertSame(sink, source);
  assert.ok(!(received instanceof Error) && received.bytesMoved < 600);
});

test("whatever changes during the sync, the image is that of the cut", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const prng = new Prng(seed);
    const source = filled(prng.integer(1, 900), prng);
    const sink = new MemorySink();
    sink.image.resize(prng.integer(0, 900));
    sink.image.pages.forEach((_, at) => {
      const theirs = source.image.pages[at];
      sink.image.write(at + 1, prng.chance(0.7) && theirs ? theirs : randomPage(prng));
    });
    let changes = prng.integer(0, 60);
    const change = () => {
      if (changes-- <= 0) return;
      const count = source.image.pages.length;
      const grown = prng.chance(0.2) ? prng.integer(Math.max(1, count - 90), count + 90) : count;
      const pages = Array.from({ length: prng.integer(1, 20) }, () => prng.integer(1, grown + 1));
      source.change([...new Set(pages)], prng, grown);
    };
    source.duringRead = change;
    const ends = channelPair();
    for (const end of ends) {
      end.onSend = (message) => {
        if (prng.chance(0.5)) change();
        return message;
      };
    }
    const { sent, received } = await sync(source, sink, ends);
    assert.ok(!(sent instanceof Error), `seed ${seed}: ${sent}`);
    assert.ok(!(received instanceof Error), `seed ${seed}: ${received}`);
    assertSame(sink, source);
    assert.equal(source.listeners.size, 0);
  }
});

test("a sync that breaks anywhere does not finish, and the next one moves only what is left", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const prng = new Prng(seed);
    const source = filled(1200, prng);
    const sink = new MemorySink();
    let attempts = 0;
    let pagesDone = 0;
    while (sink.finished === undefined) {
      attempts += 1;
      let messages = prng.integer(3, 16);
      const ends = channelPair();
      for (const end of ends) {
        end.onSend = (message) => (attempts < 8 && --messages < 0 ? undefined : message);
      }
      const { sent, received } = await sync(source, sink, ends);
      if (sink.finished === undefined) assert.ok(received instanceof ProtocolError);
      if (received instanceof Error) assert.ok(sent instanceof ProtocolError);
      if (!(received instanceof Error)) pagesDone = received.pagesDone;
      assert.equal(source.listeners.size, 0);
    }
    assertSame(sink, source);
    assert.ok(attempts === 1 || pagesDone < 1200, `attempt ${attempts} moved ${pagesDone}`);
  }
});

test("a peer whose messages are wrong in any byte never makes the sink finish with other pages", async () => {
  let refused = 0;
  for (let seed = 1; seed <= 150; seed++) {
    const prng = new Prng(seed);
    const source = filled(300, prng);
    const sink = new MemorySink();
    for (let page = 1; page <= 200; page++) sink.image.write(page, source.image.pages[page - 1]);
    sink.image.write(5, randomPage(prng));
    const ends = channelPair();
    let target = prng.integer(0, 8);
    const end = ends[prng.integer(0, 3) === 0 ? 1 : 0];
    end.onSend = (message) => {
      if (target-- !== 0) return message;
      const torn = message.slice(0, prng.chance(0.2) ? prng.integer(0, message.length) : undefined);
      const at = prng.integer(0, Math.min(torn.length, prng.chance(0.5) ? 40 : torn.length));
      if (torn.length > 0) torn[at]! ^= 1 << prng.integer(0, 8);
      return torn;
    };
    const { sent, received } = await sync(source, sink, ends);
    if (received instanceof Error) {
      assert.ok(received instanceof ProtocolError, `seed ${seed}: ${received.stack}`);
      assert.equal(sink.finished, undefined);
      refused += 1;
    } else assertSame(sink, source);
    if (sent instanceof Error)
      assert.ok(sent instanceof ProtocolError, `seed ${seed}: ${sent.stack}`);
    assert.equal(source.listeners.size, 0);
  }
  assert.ok(refused > 50, `${refused} were refused`);
});

test("a sender that lies is refused, and nothing takes effect", async () => {
  const image = (await filled(3).cut(() => new Uint32Array())).image;
  const page = new Uint8Array(testPageSize).fill(1);
  const answer = {
    type: "answer",
    pageSize: testPageSize,
    pageCount: 3,
    groups: new Uint32Array(),
  } as const;
  const pages = (n: number, hashes: number[], content = page): SyncMessage => ({
    type: "pages",
    pageCount: 3,
    pgnos: Uint32Array.of(n),
    hashes: Uint32Array.from(hashes),
    pages: content,
  });
  const lies: Record<string, SyncMessage[]> = {
    "a group that was not offered": [{ ...answer, groups: Uint32Array.of(0) }],
    "a page that is not what its hash says": [answer, pages(1, [1, 2])],
    "a page without a hash that is not zero": [answer, pages(1, [0, 0])],
    "a page beyond the end": [answer, pages(4, [1, 2])],
    "page zero": [answer, pages(0, [1, 2])],
    "a page of half the size": [answer, pages(1, [0, 0], new Uint8Array(testPageSize / 2))],
    "an image without its pages": [answer, { type: "final", image }],
    "an image before the answer": [{ type: "final", image }],
    "rounds that run backwards": [
      answer,
      { type: "round", round: 2, pages: 1 },
      { type: "round", round: 1, pages: 1 },
    ],
    "the receiver's own words": [answer, { type: "done" }],
  };
  for (const [name, messages] of Object.entries(lies)) {
    const [ours, theirs] = channelPair();
    const sink = new MemorySink();
    const heard: SyncMessage[] = [];
    ours.listen({
      onMessage: (bytes) => {
        heard.push(decodeSync(bytes));
        if (heard.length === 1) for (const message of messages) ours.send(encodeSync(message));
        if (heard.length === 2) ours.close();
      },
      onClose: () => {},
    });
    await assert.rejects(receivePages(theirs, sink, unthrottled), ProtocolError, name);
    assert.equal(sink.finished, undefined, name);
    assert.equal(sink.image.pages.length, 0, name);
    await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(heard.at(-1)?.type, "failed", name);
  }
});

test("the throttle holds, and doubles when rounds do not shrink", async () => {
  const source = filled(400);
  const startedMs = performance.now();
  const ends = channelPair();
  const sink = new MemorySink();
  const progress: SyncProgress[] = [];
  const received = receivePages(ends[1], sink, { clock });
  await sendPages(ends[0], source, {
    clock,
    bytesPerSecond: 512_000,
    onProgress: (step) => void progress.push(step),
  });
  await received;
  const tookMs = performance.now() - startedMs;
  assert.ok(tookMs > 250 && tookMs < 3000, `204 800 bytes took ${tookMs} ms`);
  assert.deepEqual(progress.at(-1)?.pagesDone, 400);
  assert.deepEqual(
    progress.map((step) => step.pagesTotal),
    progress.map(() => 400),
  );
});

test("writers that outrun the throttle only make it faster", async () => {
  const source = filled(limits.syncFinalPagesMax + 1500);
  const prng = new Prng(3);
  const all = Array.from({ length: source.pageCount() }, (_, at) => at + 1);
  // Everything changes, every 80 ms: at the first speed a round takes 350 ms, and never would one be small enough.
  const stop = clock.every(80, () => source.change(all, prng));
  const ends = channelPair();
  const sink = new MemorySink();
  const received = receivePages(ends[1], sink, { clock });
  const report = await sendPages(ends[0], source, { clock, bytesPerSecond: 5_000_000 });
  stop();
  await received;
  assert.ok(report.round > 1, `${report.round} rounds`);
  assertSame(sink, source);
});

test("an abort ends both sides", async () => {
  const source = filled(2000);
  const ends = channelPair();
  const stop = new AbortController();
  const sent = sendPages(ends[0], source, {
    clock,
    bytesPerSecond: 1_000_000,
    signal: stop.signal,
  });
  const received = receivePages(ends[1], new MemorySink(), { clock });
  setTimeout(() => stop.abort(), 50);
  await Promise.all([assert.rejects(sent, ProtocolError), assert.rejects(received, ProtocolError)]);
  assert.equal(source.listeners.size, 0);
  assert.ok(ends.every((end) => end.isClosed));
});

test("decoding never throws anything but ProtocolError", () => {
  const prng = new Prng(11);
  for (let run = 0; run < 5000; run++) {
    const bytes = Uint8Array.from({ length: prng.integer(0, 60) }, () =>
      prng.chance(0.6) ? 0 : prng.integer(0, 256),
    );
    if (bytes.length > 0) bytes[0] = prng.integer(0, 10);
    try {
      decodeSync(bytes);
    } catch (error) {
      assert.ok(error instanceof ProtocolError, String(error));
    }
  }
});
