/** A cluster whose nodes talk to each other under TLS: failover, joining, trees, renewal, and who is turned away. */

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { TestAuthority } from "../../src/host/test-certificates.ts";
import type { TlsFiles } from "../../src/host/tls.ts";
import { internalPaths, internalToken } from "../../src/node/route/forward-wire.ts";
import { sleep, TestCluster } from "./cluster.ts";
import { paceline } from "./command.ts";
import { execute, rowsOf } from "./sql.ts";

type Ground = {
  readonly cluster: TestCluster;
  readonly ours: TestAuthority;
  readonly theirs: TestAuthority;
  /** Files of each node, made by our CA when first asked for. */
  filesOf(id: string): TlsFiles;
  /** Says otherwise for one node. */
  give(id: string, files: TlsFiles): void;
};

const flags = ({ cert, key, ca }: TlsFiles) => [
  ...["--tls-cert", cert, "--tls-key", key, "--tls-ca", ca],
];

async function start(t: TestContext): Promise<Ground> {
  const dir = mkdtempSync(join(tmpdir(), "paceline-tls-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [ours, theirs] = [new TestAuthority(dir, "ours"), new TestAuthority(dir, "theirs")];
  const filesById = new Map<string, TlsFiles>();
  const filesOf = (id: string): TlsFiles => {
    const files = filesById.get(id) ?? ours.issue();
    filesById.set(id, files);
    return files;
  };
  const cluster = await TestCluster.start({
    argsOf: (id) => (id.startsWith("plain") ? [] : flags(filesOf(id))),
  });
  t.after(() => cluster.stop());
  return { cluster, ours, theirs, filesOf, give: (id, files) => void filesById.set(id, files) };
}

async function says(cluster: TestCluster, id: string, words: RegExp): Promise<void> {
  for (const until = Date.now() + 20_000; Date.now() < until; await sleep(50)) {
    if (words.test(cluster.output(id))) return;
  }
  throw new Error(`${id} does not say ${words}:\n${cluster.output(id)}`);
}

test("three nodes under TLS: writes through any node, the leader killed, a fourth joins, a tree below", {
  timeout: 120_000,
}, async (t) => {
  const { cluster } = await start(t);
  const first = await cluster.leader();
  await says(cluster, first, /TLS with the other nodes; .* valid until 20/);
  await rowsOf(cluster.url(first), "CREATE TABLE t(id INTEGER PRIMARY KEY, x TEXT)");
  // Followers pass these on, over HTTP between nodes.
  for (const node of cluster.nodes) {
    await rowsOf(cluster.url(node.id), "INSERT INTO t(x) VALUES(?)", [node.id]);
  }
  await cluster.kill(first);
  const second = await cluster.leader();
  for (const node of cluster.nodes.filter(({ id }) => id !== first)) {
    await rowsOf(cluster.url(node.id), "INSERT INTO t(x) VALUES('after')");
  }
  cluster.restart(first);
  await cluster.recovered();

  await cluster.join("d", second);
  await cluster.follow("w", ["d", "b"]);
  for (const until = Date.now() + 20_000; ; await sleep(50)) {
    const count = (await execute(cluster.url("w"), "SELECT count(*) FROM t")) as { rows?: unknown };
    if (JSON.stringify(count.rows) === "[[5]]") break;
    assert.ok(Date.now() < until, cluster.output("w"));
  }
  await rowsOf(cluster.url("w"), "INSERT INTO t(x) VALUES('from below')");
  const nodes = await cluster.settled();
  assert.equal(nodes.length, 5);
  // The tools of an operator need no certificate, and every node is asked under TLS by the one that they talk to.
  const verified = await paceline("verify", "--url", cluster.url("w"));
  assert.equal(verified.code, 0, verified.stderr);
  const https = cluster.url("w").replace("http:", "https:");
  const untrusted = await paceline("status", "--url", https);
  assert.match(untrusted.stderr, /is not trusted: .*\n.*NODE_EXTRA_CA_CERTS/);
});

test("a node without TLS, with another CA, or with none of the cluster's papers gets nothing", {
  timeout: 120_000,
}, async (t) => {
  const { cluster, ours, theirs, give } = await start(t);
  const leader = await cluster.leader();
  await rowsOf(cluster.url(leader), "CREATE TABLE t(x)");

  const joining = (id: string) => cluster.join(id, leader);
  await joining("plain");
  await says(cluster, "plain", /this node talks to other nodes under TLS only: start it with/);
  await says(cluster, "plain", /\[exit 1\]/);
  await cluster.follow("plain2", [leader]);
  await says(cluster, "plain2", /cannot follow .* under TLS only: start it with --tls-cert/);
  await says(cluster, leader, /a node without TLS was refused: start it with --tls-cert/);

  // It trusts our CA, and shows a certificate of another; and the other way round.
  give("x", theirs.issue({ trusts: ours.ca }));
  give("y", ours.issue({ trusts: theirs.ca }));
  give("z", ours.issue({ days: -1 }));
  for (const id of ["x", "y", "z"]) await joining(id);
  await says(cluster, "x", /certificate was refused: it is not signed by the CA/);
  await says(cluster, "y", /certificate of the node at .* is refused: it is not signed by the CA/);
  await says(cluster, "z", /certificate was refused: it has expired/);
  await says(cluster, leader, /certificate of a node was refused: it is not signed by the CA/);
  await says(cluster, leader, /certificate of a node was refused: it has expired/);

  // The right secret is not enough to speak as a node.
  const token = internalToken("paceline on loopback, without a secret");
  const response = await fetch(`${cluster.url(leader)}${internalPaths.members}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(response.status, 401);
  assert.equal(((await response.json()) as { code: string }).code, "UNAUTHORIZED");
  // None of it has disturbed the cluster.
  assert.equal(await cluster.leader(), leader);
  await rowsOf(cluster.url(leader), "INSERT INTO t VALUES(1)");
});

test("a certificate that is renewed counts from the next connection on", {
  timeout: 120_000,
}, async (t) => {
  const { cluster, ours, filesOf } = await start(t);
  const leader = await cluster.leader();
  const other = cluster.nodes.find(({ id }) => id !== leader)!.id;
  await rowsOf(cluster.url(leader), "CREATE TABLE t(x)");
  const files = filesOf(other);
  await cluster.kill(other);
  const over = ours.issue({ days: -1 });
  for (const name of ["cert", "key"] as const) copyFileSync(over[name], files[name]);
  cluster.restart(other);
  await says(cluster, other, /the certificate of this node expired at .*Put a new one/);
  await says(cluster, leader, /certificate of a node was refused: it has expired/);
  const fresh = ours.issue();
  for (const name of ["cert", "key"] as const) copyFileSync(fresh[name], files[name]);
  await rowsOf(cluster.url(leader), "INSERT INTO t VALUES(1)");
  await cluster.recovered();
  assert.equal((await cluster.settled()).length, 3);
});

test("contradictory flags and files that cannot be used are refused before anything is done", async (t) => {
  const dir = mkdtempSync(join(tmpdir(), "paceline-tls-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const authority = new TestAuthority(dir, "ours");
  const [a, b] = [authority.issue(), authority.issue()];
  const node = ["start", "--id", "a", "--dir", join(dir, "a"), "--listen", "127.0.0.1:7999"];
  const alone = await paceline(...node, "--tls-cert", a.cert);
  assert.equal(alone.code, 2);
  assert.match(alone.stderr, /belong together/);
  const mixed = await paceline(...node, ...flags({ ...a, key: b.key }));
  assert.equal(mixed.code, 1);
  assert.match(mixed.stderr, /cannot be used/);
});
