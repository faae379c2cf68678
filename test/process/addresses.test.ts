// Addresses of every kind: IPv6, all addresses of a machine, and a node that comes back at another one.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { ClusterStatus } from "../../src/node/report/node-status.ts";
import { freePorts } from "./cluster.ts";
import { paceline } from "./command.ts";
import { eventually, ServingProcess } from "./node-process.ts";

const dir = mkdtempSync(join(tmpdir(), "paceline-addresses-"));
const running: ServingProcess[] = [];
after(async () => {
  await Promise.all(running.map((node) => node.stop("SIGKILL")));
  rmSync(dir, { recursive: true, force: true });
});

function serving(...args: readonly string[]): ServingProcess {
  const node = new ServingProcess(...args);
  running.push(node);
  return node;
}

function start(id: string, ...args: readonly string[]): ServingProcess {
  return serving("start", "--id", id, "--dir", join(dir, id), "--readers", "1", ...args);
}

async function status(url: string): Promise<ClusterStatus> {
  const response = await fetch(`${url}/status`, { signal: AbortSignal.timeout(5_000) });
  return (await response.json()) as ClusterStatus;
}

const hasIpv6 = await new Promise<boolean>((resolve) => {
  const server = createServer().on("error", () => resolve(false));
  server.listen(0, "::1", () => server.close(() => resolve(true)));
});

test("nodes, followers, routers and commands find each other by IPv6 addresses", {
  skip: !hasIpv6,
}, async () => {
  const [p1, p2, p3, p4] = await freePorts(4);
  const a = start("six", "--listen", `[::1]:${p1}`);
  const url = `http://[::1]:${p1}`;
  assert.equal((await a.says(/six serves at (\S+)\n/))[1], url);
  await a.says(/six \(this node\) leads/);
  const b = start("seven", "--listen", `[::1]:${p2}`, "--join", `[::1]:${p1}`);
  const f = start("eight", "--listen", `[::1]:${p3}`, "--follow", `http://[::1]:${p2}/`);
  const router = serving("router", "--listen", `[::1]:${p4}`, "--nodes", `http://[::1]:${p1}`);
  assert.equal((await router.says(/the router serves at (\S+)\n/))[1], `http://[::1]:${p4}`);
  await eventually("seven is a voter", async () =>
    (await status(url)).nodes.some((n) => n.id === "seven" && n.kind === "voter" && n.reachable)
      ? true
      : undefined,
  );
  await eventually("eight follows", async () =>
    (await status(url)).nodes.some((n) => n.id === "eight" && n.reachable) ? true : undefined,
  );
  const { nodes } = await status(url);
  const urls = Object.fromEntries(nodes.map((n) => [n.id, n.url]));
  assert.deepEqual(urls, {
    six: url,
    seven: `http://[::1]:${p2}`,
    eight: `http://[::1]:${p3}`,
  });
  const write = "CREATE TABLE t (x); INSERT INTO t VALUES (42)";
  const written = await paceline("shell", "--url", `http://[::1]:${p4}`, "-c", write);
  assert.equal(written.code, 0, written.stderr);
  const read = await eventually("eight has the row", async () => {
    const ran = await paceline("shell", "--url", `http://[::1]:${p3}`, "-c", "SELECT x FROM t");
    return ran.stdout.includes("42") ? ran : undefined;
  });
  assert.equal(read.code, 0);
  for (const node of [f, b, router, a]) await node.stop();
  // A later start finds nothing to complain about.
  const again = start("six", "--listen", `[::1]:${p1}`);
  await again.says(/six serves at/);
  assert.doesNotMatch(again.output, /looks for it|looked for/);
  await again.stop();
});

test("a node that listens on all addresses tells the others one that can be reached", async () => {
  const [p1, p2] = await freePorts(2);
  writeFileSync(join(dir, "secret"), "s3cret\n");
  const secret = ["--secret-file", join(dir, "secret")];
  const alone = start("all", "--listen", `0.0.0.0:${p1}`, ...secret);
  const [line] = await alone.says(/all serves at .*\n/);
  assert.match(line, new RegExp(`http://127.0.0.1:${p1} and listens on 0.0.0.0:${p1}; before`));
  const own = `http://127.0.0.1:${p1}`;
  await alone.says(/leads/);
  assert.equal((await status(own)).nodes[0]!.url, own);

  const lost = start("b", "--listen", `0.0.0.0:${p2}`, "--join", `127.0.0.1:${p1}`, ...secret);
  await assert.rejects(lost.says(/serves at/), /--advertise HOST:\d+/);
  assert.equal(lost.child.exitCode, 1);

  const named = ["--advertise", `localhost:${p2}`, "--join", `127.0.0.1:${p1}`, ...secret];
  const b = start("b", "--listen", `0.0.0.0:${p2}`, ...named);
  await b.says(/b serves at http:\/\/localhost/);
  const member = await eventually("b is a member", async () =>
    (await status(own)).nodes.find((n) => n.id === "b" && n.kind === "voter"),
  );
  assert.equal(member.url, `http://localhost:${p2}`);
  // What it is known by stays, without a word about it.
  await b.stop();
  const later = start("b", "--listen", `0.0.0.0:${p2}`, ...secret);
  await later.says(new RegExp(`b serves at http://localhost:${p2} and listens on 0.0.0.0`));
  const refused = await paceline("add", "c", "0.0.0.0:7001", "--url", own);
  assert.equal(refused.code, 2);
  const asked = await fetch(`${own}/admin/members`, {
    method: "POST",
    body: JSON.stringify({ id: "c", address: `[::]:7001` }),
  });
  assert.equal(asked.status, 400);
  await later.stop();
  await alone.stop();
});

test("a node that comes back at another address is taken there by the others, the leader too", async () => {
  const [pa, pb, pc, to1, to2, to3, to4] = await freePorts(7);
  const members = `a=127.0.0.1:${pa},b=127.0.0.1:${pb},c=127.0.0.1:${pc}`;
  const urlOf = (port: number) => `http://127.0.0.1:${port}`;
  const at = new Map([
    ["a", pa!],
    ["b", pb!],
    ["c", pc!],
  ]);
  const nodes = new Map<string, ServingProcess>();
  for (const [id, port] of at) {
    nodes.set(
      id,
      start(`m${id}`, "--id", id, "--listen", `127.0.0.1:${port}`, "--cluster", members),
    );
  }
  const leader = () =>
    eventually("a leader", async () => {
      for (const [id, port] of at) {
        const led = await fetch(`${urlOf(port)}/leader`).catch(() => undefined);
        if (led?.status === 200) return id;
      }
      return undefined;
    });
  const move = async (id: string, port: number, ...more: readonly string[]) => {
    await nodes.get(id)!.stop();
    at.set(id, port);
    nodes.set(id, start(`m${id}`, "--id", id, "--listen", `127.0.0.1:${port}`, ...more));
    await eventually(`${id} is at ${port} for everyone`, async () => {
      for (const other of at.values()) {
        const { nodes: seen } = await status(urlOf(other));
        const moved = seen.find((n) => n.id === id);
        if (moved?.url !== urlOf(port) || moved.reachable !== true) return undefined;
      }
      return true;
    });
  };
  const first = await leader();
  const [second, third] = ["a", "b", "c"].filter((id) => id !== first);
  await move(second!, to1!);
  assert.match(nodes.get(second!)!.output, /it tells the others/);
  // The leader itself, and at the same time no operator says a word.
  await move(await leader(), to2!);
  // By the word of an operator at once.
  await move(third!, to3!, "--advertise", `127.0.0.1:${to3}`);
  const url = urlOf(at.get(await leader())!);
  const sql = "CREATE TABLE t (x); INSERT INTO t VALUES (1)";
  assert.equal((await paceline("shell", "--url", url, "-c", sql)).code, 0);
  const refused = await paceline("add", second!, "127.0.0.1:1", "--url", url);
  assert.match(refused.stderr, /start it with --listen 127.0.0.1:1/);

  // Removed while it was away: --join takes it in again, with its data, and where it is now.
  const away = ["a", "b", "c"].find((id) => id !== first && id !== second) ?? third!;
  await nodes.get(away)!.stop();
  const others = [...at].filter(([id]) => id !== away);
  assert.equal((await paceline("remove", away, "--url", urlOf(others[0]![1]))).code, 0);
  const out = start(`m${away}`, "--id", away, "--listen", `127.0.0.1:${at.get(away)}`);
  await out.says(/not-a-member; this node was removed.* --join 127/);
  await out.stop();
  at.set(away, to4!);
  const join = ["--listen", `127.0.0.1:${to4}`, "--join", `127.0.0.1:${others[0]![1]}`];
  nodes.set(away, start(`m${away}`, "--id", away, ...join));
  await eventually("it is a voter again", async () => {
    const { nodes: seen } = await status(urlOf(others[0]![1]));
    return seen.some((n) => n.id === away && n.kind === "voter" && n.reachable) ? true : undefined;
  });
  const read = await paceline("shell", "--url", urlOf(at.get(away)!), "-c", "SELECT x FROM t");
  assert.match(read.stdout, /1/);
  await Promise.all([...nodes.values()].map((node) => node.stop()));
});
