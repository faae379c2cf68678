// The verbs against a small node: what they ask, what they print, how they end.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { FakeNode } from "../../test/fake-node.ts";
import { runCaptured } from "../../test/run-captured.ts";
import { defaultSettings } from "../vocabulary.ts";
import { nodeOptions } from "./start.ts";
import { Failure } from "./terminal.ts";

let node: FakeNode;

beforeEach(async () => {
  node = await FakeNode.start();
});
afterEach(() => node.stop());

const run = (verb: string, ...args: string[]) => runCaptured([verb, "--url", node.url, ...args]);

test("every verb explains itself with an example and exits 0", async () => {
  const help = await runCaptured(["--help"]);
  assert.equal(help.status, 0);
  for (const verb of "start status shell import verify switchover add remove roll-forward".split(
    " ",
  )) {
    assert.match(help.out, new RegExp(`^  ${verb}\\b`, "m"));
    const { status, out } = await runCaptured([verb, "--help"]);
    assert.equal(status, 0);
    assert.match(out, new RegExp(`\\n  paceline ${verb}`), verb);
    assert.match(out, /Exit status: 0/, verb);
  }
});

test("a command written wrongly exits 2 and says how to write it", async () => {
  const check = async (args: string[], expected: RegExp): Promise<void> => {
    const { status, err } = await runCaptured(args);
    assert.equal(status, 2, args.join(" "));
    assert.match(err, expected);
  };
  await check(["stauts"], /unknown command 'stauts'[\s\S]*Did you mean status/);
  await check(["status", "--jsno"], /unknown option '--jsno'[\s\S]*--help/);
  await check(["status", "--url", "ftp://x"], /"ftp:\/\/x" is not the URL of a node[\s\S]*http:/);
  await check(["import"], /missing required argument 'file'/);
  await check(["start", "--dir", "d", "--listen", "x:1"], /required option '--id/);
  await check(["add", "D", "h:1"], /cannot be the id/);
  await check(["add", "d", "http://h:1"], /is not HOST:PORT/);
});

test("a node that is not there is named, with what to do", async () => {
  const { status, err } = await runCaptured(["status", "--url", "127.0.0.1:1"]);
  assert.equal(status, 1);
  assert.match(err, /http:\/\/127\.0\.0\.1:1: connection refused\n {2}Is it running\? `npm start`/);
});

test("something else that answers is not taken for a node", async () => {
  node.answers.set("GET /status", { status: 200, body: "<html>" });
  assert.match((await run("status")).err, /not the status of a Paceline node/);
});

test("status shows who leads, who is away, and how far each is", async () => {
  const { status, out } = await run("status");
  assert.equal(status, 0);
  assert.match(out, /leader {3}a\nterm {5}3\nrule {5}quorum/);
  assert.match(out, /^a {5}leader {7}voter {2}http:\S+ +42 +42 +42 +– +– {2}00ff$/m);
  assert.match(out, /^b {5}unreachable {2}voter .* – /m);
  assert.deepEqual(JSON.parse((await run("status", "--json")).out), node.status());
});

test("status fails when two copies at one position differ", async () => {
  const body = node.status();
  const nodes = body["nodes"] as Record<string, unknown>[];
  Object.assign(nodes[1]!, { appliedLsn: 42, checksum: "dead", reachable: true });
  node.answers.set("GET /status", { status: 200, body });
  const { status, err } = await run("status");
  assert.equal(status, 1);
  assert.match(err, /a and b are both at 42, but their databases differ[\s\S]*paceline verify/);
  // The same rows in other pages are no difference.
  body["settings"] = { ...defaultSettings, logKind: "rows" };
  assert.equal((await run("status")).status, 0);
});

test("verify prints what each node found and fails on a difference", async () => {
  const verdict = {
    reachable: true,
    lsn: 42,
    checksum: "00ff",
    pages: 1234,
    damaged: [],
    comparedAt: 42,
    problem: null,
  };
  const report = (identical: boolean, b: object) => ({
    ...{ identical, comparedWith: "a" },
    nodes: [
      { id: "a", ...verdict },
      { id: "b", ...verdict, ...b },
    ],
  });
  node.answers.set("POST /admin/verify", { status: 200, body: report(true, {}) });
  const good = await run("verify");
  assert.equal(good.status, 0);
  assert.match(good.out, /^b +42 {2}00ff +1,234 +0$/m);
  assert.match(good.out, /^All 2 copies are whole and identical: compared at position 42\.$/m);
  const late = { lsn: 29, checksum: "aaaa", comparedAt: 29 };
  node.answers.set("POST /admin/verify", { status: 200, body: report(true, late) });
  assert.match((await run("verify")).out, /^All 2 copies .*: each was compared with a at the/m);
  const delayed = { ...late, comparedAt: undefined, delayed: true };
  node.answers.set("POST /admin/verify", { status: 200, body: report(true, delayed) });
  const { out } = await run("verify");
  assert.match(out, /^1 of 2 copies are whole and identical: compared at position 42\.$/m);
  assert.match(out, /^b \(29, delayed\) was only checked against its own log\.$/m);
  const damage = { checksum: "beef", damaged: [3, 7], problem: "differs" };
  node.answers.set("POST /admin/verify", { status: 200, body: report(false, damage) });
  const bad = await run("verify");
  assert.equal(bad.status, 1);
  assert.match(bad.out, /^b +42 {2}beef +1,234 +2 {2}differs; pages 3, 7$/m);
  assert.match(bad.err, /not all whole and identical/);
});

test("switchover, add and remove ask the leader, wherever they are sent", async () => {
  const follower = await FakeNode.start();
  const refusal = { status: 503, body: { message: "b does not lead", code: "NOT_LEADER" } };
  follower.answers.set("GET /status", { status: 200, body: node.status() });
  for (const what of ["POST /admin/switchover", "POST /admin/members", "DELETE /admin/members/c"]) {
    follower.answers.set(what, refusal);
  }
  node.answers.set("POST /admin/switchover", { status: 200, body: { leader: "b" } });
  node.answers.set("POST /admin/members", { status: 200, body: {} });
  node.answers.set("DELETE /admin/members/c", { status: 200, body: {} });
  const ask = (...args: string[]) => runCaptured([...args, "--url", follower.url]);
  assert.match((await ask("switchover", "--to", "b")).out, /^b leads now, after a; it took /);
  assert.equal((await ask("add", "d", "10.0.0.4:7001")).status, 0);
  assert.equal((await ask("remove", "c")).status, 0);
  follower.stop();
  assert.deepEqual(node.seen, [
    'POST /admin/switchover {"to":"b"}',
    'POST /admin/members {"id":"d","address":"10.0.0.4:7001","kind":"voter"}',
    "DELETE /admin/members/c",
  ]);
});

test("a refusal is shown with its code and the node's hint", async () => {
  const body = { message: "no majority", code: "NO_LEADER", hint: "repeat it after a pause" };
  node.answers.set("POST /admin/switchover", { status: 503, body });
  const { status, err } = await run("switchover");
  assert.equal(status, 1);
  assert.equal(err, "paceline: no majority (NO_LEADER)\n  repeat it after a pause\n");
});

test("shell runs a script, keeps its transaction, and says where it was", async () => {
  const script = `.help
CREATE TABLE t (a INTEGER, b TEXT, c);
BEGIN;
INSERT INTO t VALUES (1, 'one;', x'00ff'), (22, NULL, 1.0);
COMMIT;
CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;
SELECT * FROM t;
.tables
.schema g`;
  const { status, out, err } = await runCaptured(["shell", "--url", node.url], script);
  assert.equal(status, 0, err);
  assert.match(out, /^ {1}1 {2}one; {2}x'00ff'\n22 {2}NULL {2}1\.0$/m);
  assert.match(out, /^t +table$/m);
  assert.match(out, /^CREATE TRIGGER g .* END;$/m);
  assert.match(err, /2 rows changed \(127\S+ at 42@3, \d+\.\d ms\)/);
});

test("shell stops a script at its first failure and rolls back", async () => {
  const script =
    "CREATE TABLE t (a); BEGIN; INSERT INTO t VALUES (1); SELECT nope; INSERT INTO t VALUES (2)";
  const failed = await runCaptured(["shell", "--url", node.url], script);
  assert.equal(failed.status, 1);
  assert.match(failed.err, /no such column: nope \(SQLITE_ERROR\)/);
  assert.match(failed.err, /statement 4, line 1: [\s\S]*in: SELECT nope/);
  const count = await run("shell", "-c", "SELECT count(*) AS n FROM t");
  assert.match(count.out, /n\n─\n0\n/);
  const open = await run("shell", "-c", "BEGIN; INSERT INTO t VALUES (3)");
  assert.equal(open.status, 1);
  assert.match(open.err, /left its transaction open/);
});

test("start checks its options before anything is touched", () => {
  const terminal = { signal: new AbortController().signal } as never;
  const flags = {
    id: "a",
    dir: "d",
    listen: "127.0.0.1:7001",
    keepLog: "64M",
    statementTimeout: "2.5",
    syncRate: "1G",
    readers: "2",
  };
  const good = nodeOptions({ ...flags, cluster: "a=127.0.0.1:7001,b=[::1]:7002" }, terminal);
  assert.deepEqual(good.cluster, [
    { id: "a", address: "127.0.0.1:7001" },
    { id: "b", address: "[::1]:7002" },
  ]);
  const third = nodeOptions({ ...flags, id: "c", cluster: "a=h:1,b=h:2,c=h:3/witness" }, terminal);
  assert.equal(third.kind, "witness");
  assert.equal(good.logRetentionBytes, 64 * 1024 * 1024);
  assert.equal(good.statementMs, 2500);
  assert.equal(good.syncBytesPerSecond, 1024 ** 3);
  const check = (change: object, expected: RegExp): void => {
    assert.throws(
      () => nodeOptions({ ...flags, ...change }, terminal),
      (error) => error instanceof Failure && error.exitCode === 2 && expected.test(error.message),
    );
  };
  check({ id: "A b" }, /cannot be the id/);
  check({ listen: "7001" }, /is not HOST:PORT/);
  check({ listen: "h:70000" }, /is not HOST:PORT/);
  check({ cluster: "b=h:1" }, /does not name this node/);
  check({ cluster: "a=h:1,a=h:2" }, /id a twice/);
  check({ cluster: "a=h:1,b=h:1" }, /address h:1 twice/);
  check({ cluster: "a=h:1/observer" }, /"observer" is no kind/);
  check({ cluster: "a=h:1/witness,b=h:2/learner" }, /no data node that may lead/);
  check({ cluster: "a=h:1,b=h:2", kind: "witness" }, /--kind says witness, --cluster says voter/);
  check(
    { cluster: "a=h:1,b=h:2,c=h:3/witness", settings: "coordinator=manual" },
    /coordinator=manual and the witness c exclude each other/,
  );
  check({ kind: "witness/learner" }, /is no kind/);
  check({ cluster: "a=h:1", join: "h:2" }, /exclude each other/);
  check({ keepLog: "lots" }, /is not a size/);
  check({ keepLog: "99999999G" }, /more than there is/);
  check({ readers: "0" }, /from 1/);
  // As a timer it would fire at once.
  check({ statementTimeout: "9999999" }, /from 10ms to 1d/);
  check({ statementTimeout: "soon" }, /is not a duration/);
  check({ advertise: "0.0.0.0:7001" }, /stands for all addresses/);
  check({ advertise: "h:2", cluster: "a=h:1" }, /--advertise says h:2, --cluster says a=h:1/);
  for (const [text, ms] of [
    ["5s", 5_000],
    ["500ms", 500],
    ["2", 2_000],
  ] as const) {
    assert.equal(nodeOptions({ ...flags, statementTimeout: text }, terminal).statementMs, ms);
  }
});
