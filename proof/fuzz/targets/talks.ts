/**
 * Fuzzing of whole conversations: a page sync with one message spoiled on its way, and HTTP requests whose bytes are
 * spoiled, on a real socket.
 */

import { connect } from "node:net";
import { okAnswer, ScriptedBackend, secret } from "../../../src/api/scripted-backend.test.ts";
import { ApiServer } from "../../../src/api/server.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import type { Prng } from "../../../src/base/prng.ts";
import { RealClock } from "../../../src/host/clock.ts";
import { receivePages } from "../../../src/sync/receiver.ts";
import { sendPages } from "../../../src/sync/sender.ts";
import { channelPair, MemorySink, MemorySource, randomPage } from "../../../src/sync/testbed.ts";
import { nodeId } from "../../../src/vocabulary.ts";
import { makeText } from "../make.ts";
import { mutateBytes, pick } from "../mutate.ts";
import { demand, demandSame, probeAsync } from "../rules.ts";
import type { Outcome, Target } from "../target.ts";

const clock = new RealClock();
const turnsMax = 300;

function makeSource(prng: Prng): MemorySource {
  const source = new MemorySource();
  const count = prng.integer(1, 150);
  source.image.resize(count);
  for (let page = 1; page <= count; page++) source.image.write(page, randomPage(prng));
  return source;
}

/** Either side may give up; but an image that is called whole is the one that was sent. */
async function playSync(prng: Prng): Promise<Outcome> {
  const source = makeSource(prng);
  const sink = new MemorySink();
  source.image.pages.forEach((page, at) => {
    if (prng.chance(0.5)) sink.image.resize(at + 1);
    if (prng.chance(0.5)) sink.image.write(at + 1, page);
  });
  const ends = channelPair();
  let message = 0;
  const spoilAt = prng.integer(0, 10);
  let isSpoiled = false;
  for (const end of ends) {
    end.onSend = (bytes) => {
      if (message++ !== spoilAt) return bytes;
      isSpoiled = true;
      return mutateBytes(bytes, Uint8Array.of(7), prng);
    };
  }
  const options = { clock, bytesPerSecond: 1e12 };
  const talk = Promise.allSettled([
    sendPages(ends[0], source, options),
    receivePages(ends[1], sink, options),
  ]);
  // A list that lost an item leaves both waiting; then the link is cut, as an operator would.
  const watchdog = patience(() => ends[0].break());
  const found = await probeAsync([], () => talk);
  watchdog.end();
  const [, received] = found!.value;
  for (const side of found!.value) {
    if (side.status === "rejected")
      await probeAsync([ProtocolError], () => Promise.reject(side.reason));
  }
  if (received.status === "rejected") {
    demand(isSpoiled, "an unspoiled page sync failed");
    return "refused";
  }
  demandSame(sink.image.pages, source.cutPages, "an image that is called whole is another");
  return isSpoiled ? "accepted" : "whole";
}

function patience(run: () => void): { end(): void } {
  let turns = 0;
  let over = false;
  const next = (): void => {
    if (over) return;
    if (++turns > turnsMax) run();
    else setImmediate(next);
  };
  setImmediate(next);
  return {
    end: () => {
      over = true;
    },
  };
}

let listening: Promise<{ server: ApiServer; faults: unknown[] }> | undefined;

async function listen(): Promise<{ server: ApiServer; faults: unknown[] }> {
  const faults: unknown[] = [];
  const backend = new ScriptedBackend();
  backend.answer = (unit) => okAnswer(unit);
  const server = await ApiServer.listen({
    ...{ host: "127.0.0.1", port: 0, node: nodeId("a"), version: "0.0.0", secret, backend, clock },
    onPeer: (socket) => socket.destroy(),
    onCopy: (socket) => socket.destroy(),
    onFault: (error) => faults.push(error),
  });
  return { server, faults };
}

const paths = [
  ...[
    "/v3/pipeline",
    "/v2/pipeline",
    "/v3/cursor",
    "/v1/execute",
    "/v1/batch",
    "/",
    "//",
    "/status",
  ],
  ...[
    "/metrics",
    "/admin/switchover",
    "/admin/members",
    "/admin/members/b",
    "/internal/run",
    "/%",
    "/a?b#c",
  ],
];

function makeRequest(prng: Prng): Buffer {
  const body = JSON.stringify(
    pick<unknown>(
      [
        { requests: [{ type: "execute", stmt: { sql: "SELECT 1" } }], baton: makeText(prng) },
        { stmt: { sql: "SELECT 1" }, batch: { steps: [] } },
        { to: "b", id: "b", kind: "voter", address: "h:1" },
        null,
      ],
      prng,
    ),
  );
  const method = pick(["POST", "POST", "GET", "DELETE", "OPTIONS", "HEAD"], prng);
  const head = [
    `${method} ${pick(paths, prng)} HTTP/1.1`,
    "host: h",
    "connection: close",
    `content-length: ${Buffer.byteLength(body)}`,
    `paceline-consistency: ${pick(["stale", "leader"], prng)}`,
    `paceline-min-position: ${pick(["4@2", ""], prng)}`,
    "origin: http://h",
  ];
  return Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`);
}

/** Whatever comes in, it is answered or the connection ends; it is never our fault. */
async function playHttp(prng: Prng): Promise<Outcome> {
  listening ??= listen();
  const { server, faults } = await listening;
  const request = makeRequest(prng);
  const isSpoiled = prng.chance(0.8);
  const answer = await exchange(
    server.port,
    isSpoiled ? mutateBytes(request, makeRequest(prng), prng) : request,
  );
  const fault = faults.shift();
  demand(fault === undefined, `a fault of ours: ${(fault as Error | undefined)?.stack}`);
  if (!isSpoiled) demand(/^HTTP\/1\.1 [2-4]\d\d /.test(answer), `answered with "${answer}"`);
  demand(!/^HTTP\/1\.1 5/.test(answer), `answered with "${answer.slice(0, 300)}"`);
  return /^HTTP\/1\.1 2/.test(answer) ? "accepted" : "refused";
}

/** What comes back until the connection ends; a request that is not complete is given up. */
function exchange(port: number, bytes: Uint8Array): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    socket.setTimeout(40, () => socket.destroy());
    socket.setEncoding("latin1");
    socket.on("data", (piece: string) => {
      text += piece;
    });
    socket.on("error", () => {});
    socket.on("close", () => resolve(text));
  });
}

/** Ends what the targets keep running. */
export async function endTalks(): Promise<void> {
  const open = await listening;
  listening = undefined;
  await open?.server.close();
}

export const talkTargets: readonly Target[] = [
  { name: "page sync", weight: 0.02, play: playSync },
  { name: "HTTP", weight: 0.01, play: playHttp },
];
