/** The change stream over WebSocket from real nodes: consumers that stop and vanish, nodes that stop, places that are not. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { test } from "node:test";
import { sleep, TestCluster } from "./cluster.ts";
import { execute, rowsOf } from "./sql.ts";

type Told = { readonly type: string; readonly position?: string; readonly code?: string };

/** Follows over WebSocket from a position, in a process of its own; a line of JSON per change, and how it ended. */
const program = `
  const socket = new WebSocket(process.argv[1]);
  const say = (it) => process.stdout.write(JSON.stringify(it) + "\\n");
  socket.onmessage = ({ data }) => say(JSON.parse(data));
  socket.onclose = ({ code, reason }) => say({ type: "closed", code: code + " " + reason });
`;

class Follower {
  readonly told: Told[] = [];
  readonly ended: Promise<void>;
  readonly #child;

  constructor(url: string, from: string) {
    const address = `${url.replace("http", "ws")}/changes?from=${from}`;
    this.#child = spawn(process.execPath, ["-e", program, address], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let rest = "";
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const line of lines) this.told.push(JSON.parse(line) as Told);
    });
    this.ended = new Promise((resolve) => this.#child.once("close", () => resolve()));
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  get changes(): readonly Told[] {
    return this.told.filter(({ type }) => type === "change");
  }

  get last(): string {
    return this.told.findLast(({ position }) => position !== undefined)?.position ?? "0";
  }

  async reaches(position: string): Promise<void> {
    const wanted = Number.parseInt(position, 10);
    for (const endMs = Date.now() + 30_000; Number.parseInt(this.last, 10) < wanted; ) {
      assert.ok(Date.now() < endMs, `${this.last}, not ${position}: ${this.told.at(-1)?.code}`);
      await sleep(20);
    }
  }
}

test("followers over WebSocket that stop, vanish and move on miss nothing", {
  timeout: 120_000,
}, async (t) => {
  const cluster = await TestCluster.start({ args: ["--settings", "record.changes=true"] });
  const followers: Follower[] = [];
  const follow = (node: string, from: string) => {
    const follower = new Follower(cluster.url(node), from);
    followers.push(follower);
    return follower;
  };
  t.after(async () => {
    for (const follower of followers) follower.kill("SIGKILL");
    await cluster.stop();
  });
  const leader = await cluster.leader();
  const [other, third] = cluster.nodes.map(({ id }) => id).filter((id) => id !== leader);
  await rowsOf(cluster.url(leader), "CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
  const write = async (count: number) => {
    let position = "";
    for (let i = 0; i < count; i++) {
      const sql = "INSERT INTO t(x) VALUES (randomblob(300000))";
      const answer = await execute(cluster.url(third!), sql);
      if (answer.type === "ok") position = answer.position;
    }
    return position;
  };

  const plain = follow(leader, "0");
  const stopped = follow(other!, "0");
  const vanished = follow(leader, "0");
  await plain.reaches(await write(5));
  stopped.kill("SIGSTOP");
  vanished.kill("SIGKILL");
  const middle = await write(60);
  await plain.reaches(middle);
  stopped.kill("SIGCONT");
  await stopped.reaches(middle);
  assert.deepEqual(stopped.changes, plain.changes);

  await cluster.kill(leader, "SIGTERM");
  await plain.ended;
  assert.equal(plain.told.at(-1)?.code, "1001 NOT_READY");
  await cluster.leader();
  const onwards = follow(other!, plain.last);
  const last = await write(5);
  await onwards.reaches(last);
  await stopped.reaches(last);
  assert.deepEqual([...plain.changes, ...onwards.changes], stopped.changes);
  assert.ok(stopped.changes.length >= 71, `${stopped.changes.length} changes`);
});

test("positions that a node cannot go on from, over WebSocket", { timeout: 60_000 }, async (t) => {
  const args = ["--settings", "record.changes=true", "--keep-log", "1MiB"];
  const cluster = await TestCluster.start({ nodes: 1, args });
  t.after(() => cluster.stop());
  const url = cluster.url("a");
  await rowsOf(url, "CREATE TABLE t(x)");
  for (let i = 0; i < 40; i++) await rowsOf(url, "INSERT INTO t VALUES (randomblob(1000000))");
  const closing = async (from: string) => {
    const follower = new Follower(url, from);
    await follower.ended;
    return follower.told.map(({ type, code }) => `${type} ${code}`);
  };
  const refused = (code: string, status: number) => [
    `error ${code}`,
    `closed ${4000 + status} ${code}`,
  ];
  assert.deepEqual(await closing("2"), refused("POSITION_TOO_OLD", 410));
  assert.deepEqual(await closing("999999@1"), refused("POSITION_AHEAD", 409));
  assert.deepEqual(await closing("43@77"), refused("POSITION_UNKNOWN", 409));
});
