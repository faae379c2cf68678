import assert from "node:assert/strict";
import { test } from "node:test";
import { runCaptured } from "../../test/run-captured.ts";
import { AssertionError } from "../base/assert.ts";
import { ClientError, StorageError } from "../base/errors.ts";
import { hadToStop } from "./start.ts";
import { Failure, printFailure } from "./terminal.ts";

test("an option that does not exist is told before one that is missing", async () => {
  const typo = await runCaptured(["start", "--id", "a", "--dir", "d", "--lsten", "h:1"]);
  assert.equal(typo.status, 2);
  assert.match(typo.err, /unknown option '--lsten'/);
  const missing = await runCaptured(["start", "--id", "a", "--dir", "d"]);
  assert.equal(missing.status, 2);
  assert.match(missing.err, /required option '--listen <host:port>' not specified/);
});

test("the help shows what is required", async () => {
  const { out } = await runCaptured(["start", "--help"]);
  assert.match(out, /Usage: paceline start --id <id> --dir <dir> --listen <host:port> \[options\]/);
  assert.match(out.replaceAll(/\s+/g, " "), /--dir <dir> .*?\(required\)/);
});

test("version is a word as well; a group of commands alone is none", async () => {
  const asked = await runCaptured(["version"]);
  assert.deepEqual([asked.status, asked.out], [0, (await runCaptured(["--version"])).out]);
  assert.equal((await runCaptured(["discarded"])).status, 2);
  assert.equal((await runCaptured([])).status, 0);
});

test("a secret that is not there is told with how to make one", async () => {
  const secret = ["--secret-file", "/nonexistent/secret"];
  const flags = ["start", "--id", "a", "--dir", "d", "--listen", "0.0.0.0:1", ...secret];
  const { status, err } = await runCaptured(flags);
  assert.equal(status, 1);
  assert.match(err, /cannot read the secret: ENOENT.*\n.*openssl rand -hex 32 > secret/);
});

test("a setting that does not exist is a misuse, and the ones that do are listed", async () => {
  const { status, err } = await runCaptured(["configure", "commitrule=all"]);
  assert.equal(status, 2);
  assert.match(err, /no setting commitrule[\s\S]*commitRule, .*record\.changes/);
  assert.equal((await runCaptured(["configure", "commitRule=most"])).status, 2);
  assert.equal((await runCaptured(["configure", "copiesTimeoutMs=soon"])).status, 2);
});

test("what ended a node is told as what it is: a disk, an operator's matter, or a bug", () => {
  const told = (reason: Error): string => {
    let text = "";
    const err = { write: (line: string) => (text += line) };
    printFailure({ err } as never, hadToStop("a", reason));
    return text;
  };
  assert.match(
    told(new StorageError("cannot sync log/7")),
    /cannot sync log\/7\n.*Look at its disk/,
  );
  const full = Object.assign(new Error("ENOSPC: no space left"), { errno: -28, code: "ENOSPC" });
  assert.match(told(full), /Look at its disk/);
  const refused = told(new ClientError("MEMBERSHIP_REFUSED", "a is a witness"));
  assert.equal(refused, "paceline: node a had to stop: a is a witness\n");
  for (const bug of [new AssertionError("lsn went back"), new TypeError("x is undefined")]) {
    const text = told(bug);
    assert.match(text, new RegExp(`node a had to stop: ${bug.message}`));
    assert.match(text, /misuse\.test\.ts[\s\S]*This is a bug in paceline; please report it/);
    assert.doesNotMatch(text, /disk/);
  }
  assert.ok(hadToStop("a", new StorageError("x")) instanceof Failure);
});
