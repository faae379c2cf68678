/** Links under TLS: who gets in, who does not, and what is said to whom. */

import assert from "node:assert/strict";
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { get } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { after, type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { TestAuthority } from "../host/test-certificates.ts";
import { type TlsFiles, TlsIdentity } from "../host/tls.ts";
import type { PeerLinksOptions } from "./links.ts";
import { entryOf, eventually, join, pause, TestNode } from "./testbed.ts";

const dir = mkdtempSync(joinPath(tmpdir(), "paceline-tls-"));
after(() => rmSync(dir, { recursive: true, force: true }));
const cluster = new TestAuthority(dir, "cluster");
const stranger = new TestAuthority(dir, "stranger");

async function start(
  t: TestContext,
  id: string,
  files?: TlsFiles,
  options: Partial<PeerLinksOptions> = {},
): Promise<TestNode> {
  const tls = files === undefined ? undefined : new TlsIdentity(files, () => {});
  const node = await TestNode.start(id, { ...options, tls });
  t.after(() => node.stop());
  return node;
}

const says = (node: TestNode, words: RegExp) =>
  eventually(`${node.id} says ${words}, not ${node.lines}`, () =>
    node.lines.some((line) => words.test(line)),
  );

test("messages and page syncs go over TLS, megabytes too, and clients need none", async (t) => {
  const [a, b] = [await start(t, "a", cluster.issue()), await start(t, "b", cluster.issue())];
  join(a, b);
  await eventually("up", () => a.links.isUp(b.id) && b.links.isUp(a.id));
  const entry = entryOf(3_000_000);
  // The lane for entries may come up after the other.
  await eventually("sent", () => a.links.send(b.id, { hello: 1 }, [entry]));
  await eventually("received", () => b.received.length === 1);
  assert.deepEqual(b.received[0]?.entries, [entry]);
  const channel = await a.links.openSync(b.id);
  const got: Uint8Array[] = [];
  await eventually("channel", () => b.channels.length === 1);
  b.channels[0]!.listen({ onMessage: (m) => void got.push(m), onClose: () => {} });
  channel.listen({ onMessage: () => {}, onClose: () => {} });
  channel.send(new Uint8Array(100_000).fill(7));
  await eventually("sync message", () => got.length === 1);
  channel.close();

  assert.equal(await (await fetch(`http://${a.address}/`)).text(), "hello");
  assert.equal(await textOverTls(a), "hello");
});

test("what is sent between nodes cannot be read on the way", async (t) => {
  const seen: Buffer[] = [];
  const [a, b] = [await start(t, "a", cluster.issue()), await start(t, "b", cluster.issue())];
  const { createServer } = await import("node:net");
  const tap = createServer((inner) => {
    const outer = connect(b.port, "127.0.0.1");
    inner.on("data", (bytes) => void seen.push(bytes as Buffer));
    inner.pipe(outer).pipe(inner);
    inner.on("error", () => {});
    outer.on("error", () => {});
  });
  await new Promise<void>((resolve) => tap.listen(0, "127.0.0.1", resolve));
  t.after(() => tap.close());
  const { port } = tap.address() as { port: number };
  join(b, a);
  a.links.setPeers([{ id: b.id, kind: "voter", address: `127.0.0.1:${port}` }]);
  await eventually("up", () => a.links.isUp(b.id));
  const word = "a word that nobody should read";
  a.links.send(b.id, { word }, []);
  await eventually("received", () => b.received.length === 1);
  const bytes = Buffer.concat(seen);
  assert.ok(bytes.byteLength > 500);
  assert.ok(!bytes.includes(word) && !bytes.includes("paceline-peer"));
});

test("a node without TLS and one with it tell each other's operators what to do", async (t) => {
  const [a, b] = [await start(t, "a", cluster.issue()), await start(t, "b")];
  join(a, b);
  await says(a, /b at .*does not speak TLS: start it with --tls-cert/);
  await says(a, /a node without TLS was refused: start it with --tls-cert/);
  await says(b, /a at .*takes links under TLS only; this node: start it with --tls-cert/);
  // Redialling goes on and is not told again and again.
  await pause(600);
  assert.ok(a.lines.length + b.lines.length < 8, [...a.lines, ...b.lines].join("\n"));
  assert.ok(!a.links.isUp(b.id) && !b.links.isUp(a.id));
});

for (const [what, files, words] of [
  ["of another CA", () => stranger.issue({ trusts: cluster.ca }), /not signed by the CA/],
  ["that has expired", () => cluster.issue({ days: -1 }), /has expired/],
  ["for servers only", () => cluster.issue({ usage: "serverAuth" }), /extended key usage/],
] as const) {
  test(`a certificate ${what} is refused, and both sides say why`, async (t) => {
    const [a, b] = [await start(t, "a", cluster.issue()), await start(t, "b", files())];
    join(a, b);
    await says(a, new RegExp(`certificate of a node was refused: .*${words.source}`));
    await says(b, new RegExp(`a at .*refuses the certificate of this node: .*${words.source}`));
    if (!what.includes("servers")) {
      await says(a, new RegExp(`certificate of the node at .*refused: .*${words.source}`));
    }
    assert.ok(!a.links.isUp(b.id) && !b.links.isUp(a.id));
  });
}

test("whoever shows no certificate is no node", async (t) => {
  const a = await start(t, "a", cluster.issue());
  const socket = connectTls({ port: a.port, rejectUnauthorized: false });
  const answer = await new Promise<string>((resolve) => {
    let text = "";
    socket.on("data", (bytes) => {
      text += bytes;
    });
    socket.on("close", () => resolve(text));
    socket.write(
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: paceline-peer\r\n\r\n",
    );
  });
  assert.match(answer, /^HTTP\/1.1 403 .*paceline-tls: no-certificate/s);
  assert.match(a.lines.join("\n"), /refused: none was presented/);
});

test("TLS 1.2 is refused, noise is, and silence ends", async (t) => {
  const a = await start(t, "a", cluster.issue());
  const old = connectTls({ port: a.port, rejectUnauthorized: false, maxVersion: "TLSv1.2" });
  const [error] = (await new Promise((resolve) => old.once("error", (...e) => resolve(e)))) as [
    NodeJS.ErrnoException,
  ];
  assert.match(String(error.code), /PROTOCOL_VERSION/);
  await says(a, /a TLS handshake failed: .*UNSUPPORTED_PROTOCOL/);
  for (const bytes of [
    Buffer.from([0x16, 3, 1, 0, 5, 1, 2, 3, 4, 5]),
    Buffer.alloc(70_000, 0x16),
  ]) {
    const socket = connect(a.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(bytes);
    await new Promise((resolve) => socket.resume().once("close", resolve));
  }
  // Half a handshake and not a byte more.
  const startMs = performance.now();
  const socket = connect(a.port, "127.0.0.1");
  socket.write(Buffer.from([0x16, 3, 1, 1, 0]));
  await new Promise((resolve) => socket.resume().once("close", resolve));
  assert.ok(performance.now() - startMs < 4_000);
});

test("files that are replaced count for connections that begin then, and bad ones change nothing", async (t) => {
  const files = stranger.issue();
  const lines: string[] = [];
  const tls = new TlsIdentity(files, (line) => void lines.push(line));
  const a = await TestNode.start("a", { tls });
  t.after(() => a.stop());
  const b = await start(t, "b", cluster.issue());
  join(a, b);
  await says(b, /certificate of the node at .* is refused/);

  const key = readFileSync(files.key);
  writeFileSync(files.key, "no key");
  await eventually("told", () => lines.some((line) => line.includes("goes on with")));
  assert.equal(await textOverTls(a), "hello");
  writeFileSync(files.key, key);

  const fresh = cluster.issue();
  for (const name of ["cert", "key", "ca"] as const) copyFileSync(fresh[name], files[name]);
  await eventually("up", () => a.links.isUp(b.id) && b.links.isUp(a.id), 6_000);
});

test("files that cannot be used are refused at once", () => {
  const [mine, other] = [cluster.issue(), cluster.issue()];
  const bad: readonly Partial<TlsFiles>[] = [
    { cert: joinPath(dir, "missing.pem") },
    { key: other.key },
    { ca: mine.key },
    { cert: mine.key },
  ];
  for (const part of bad) {
    assert.throws(() => new TlsIdentity({ ...mine, ...part }, () => {}), { code: "BAD_REQUEST" });
  }
});

function textOverTls(node: TestNode): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ port: node.port, rejectUnauthorized: false, agent: false }, (response) => {
      let text = "";
      response.on("data", (bytes) => {
        text += bytes;
      });
      response.on("end", () => resolve(text));
    }).on("error", reject);
  });
}
