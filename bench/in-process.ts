/**
 * Writes without a network: one node in this process, asked through the same door that the HTTP server uses.
 */

import type { Unit } from "../src/db/sql/request.ts";
import { RealClock } from "../src/host/clock.ts";
import { RealDisk } from "../src/host/disk.ts";
import { limits } from "../src/limits.ts";
import type { Links } from "../src/node/driver.ts";
import { openNode } from "../src/node/open.ts";
import { realDriver } from "../src/node/real-driver.ts";
import { Forwarder } from "../src/node/route/forward.ts";
import type { RunOptions } from "../src/node/route/run.ts";
import { nodeId } from "../src/vocabulary.ts";

/** A cluster of one talks to nobody. */
const noLinks: Links = {
  setPeers: () => {},
  send: () => false,
  openSync: () => Promise.reject(new Error("no other node")),
  isUp: () => false,
  sentBytes: 0,
  close: () => {},
};

export type InProcessFigure = { readonly callers: number; readonly perSecond: number };

export async function inProcessWrites(dir: string, seconds: number): Promise<InProcessFigure[]> {
  const clock = new RealClock();
  const self = nodeId("solo");
  const running = await openNode({
    ...{ self, dir, clock, disk: new RealDisk(), seed: 1 },
    driver: realDriver({ statementMs: limits.statementMs, readers: 1 }),
    openLinks: () => noLinks,
    forwarder: new Forwarder({ token: "bench", self }),
    initial: [{ id: self, kind: "voter", address: "127.0.0.1:1" }],
    contacts: [],
    ...{ address: "127.0.0.1:1", follow: [] },
    addressById: new Map(),
    logRetentionBytes: limits.logRetentionBytes,
    syncBytesPerSecond: limits.syncBytesPerSecond,
    onEvent: () => {},
    onFatal: (error) => {
      throw error;
    },
  });
  running.begin();
  while (!running.parts.writes.ready) await new Promise<void>((r) => clock.after(20, r));
  const { routing } = running.parts;
  await routing.run(
    unitOf("CREATE TABLE bench (id INTEGER PRIMARY KEY, k TEXT, v TEXT)"),
    options(),
  );
  await routing.run(unitOf("CREATE INDEX k ON bench (k)"), options());
  const figures: InProcessFigure[] = [];
  for (const callers of [1, 64, 256]) {
    const endMs = performance.now() + seconds * 1_000;
    let count = 0;
    const caller = async () => {
      while (performance.now() < endMs) {
        const { results } = await routing.run(insertUnit(), options());
        if (results[0]!.startsWith('{"type":"ok"')) count++;
      }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    figures.push({ callers, perSecond: count / seconds });
  }
  await running.stop(async () => {});
  return figures;
}

function options(): RunOptions {
  return {
    consistency: { type: "session" },
    minPosition: undefined,
    session: undefined,
    deadlineMs: undefined,
    signal: new AbortController().signal,
  };
}

function unitOf(sql: string): Unit {
  return {
    requests: [{ type: "execute", stmt: { sql, args: [], namedArgs: [], wantRows: true } }],
  };
}

function insertUnit(): Unit {
  return {
    requests: [
      {
        type: "execute",
        stmt: {
          sql: "INSERT INTO bench (k, v) VALUES (?, ?)",
          args: [
            { type: "text", value: `key-${Math.random()}` },
            { type: "text", value: "x".repeat(100) },
          ],
          namedArgs: [],
          wantRows: true,
        },
      },
    ],
  };
}
