import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { StorageError } from "../../base/errors.ts";
import { lsn, term } from "../../vocabulary.ts";
import type { RunSession } from "../sql/group-commit.ts";
import type { Unit } from "../sql/request.ts";
import { newDatabase, unit } from "../sql/test-database.ts";
import { Writer, type WriterRun } from "./writer.ts";

const main = fileURLToPath(new URL("./test-writer-main.ts", import.meta.url));
const runaway = unit(
  "insert into t with recursive n(x) as (select 1 union all select x + 1 from n) select x from n where x < 0",
);

class Subject {
  readonly writer: Writer;
  #lsn = 0;

  constructor(statementMs?: number) {
    this.writer = Writer.spawn(main, { statementMs });
  }

  run(units: readonly Unit[], session: RunSession = "none"): Promise<WriterRun> {
    this.#lsn++;
    return this.writer.run({
      lsn: lsn(this.#lsn),
      term: term(1),
      units,
      committedAtMs: 0,
      session,
    });
  }

  async done(...args: Parameters<Subject["run"]>): Promise<Extract<WriterRun, { type: "done" }>> {
    const reply = await this.run(...args);
    assert.ok(reply.type === "done", JSON.stringify(reply));
    return reply;
  }
}

// Mostly waiting, for processes and deadlines: so all at once.
describe("a writer process", { concurrency: true }, () => {
  test("a writer runs batches and gives the pages of what was committed", async () => {
    const subject = new Subject();
    await subject.writer.open(newDatabase());
    const first = await subject.done([unit("create table t(a)"), unit("insert into t values(1)")]);
    assert.deepEqual([...first.body!], [1, 2, 3]);
    assert.equal(first.frames, 3);
    assert.match(first.outcomes[1]!.results[0]!, /"replication_index":"1"/);
    const idle = await subject.done([unit("select * from t")]);
    assert.deepEqual([idle.body, idle.outcomes[0]!.wrote], [undefined, false]);
    const open = await subject.done([unit("begin", "insert into t values(2)"), unit("select 1")]);
    assert.deepEqual([open.open, open.outcomes.length, open.body], [true, 1, undefined]);
    const closed = await subject.done([unit("commit")], "continue");
    assert.deepEqual(
      [closed.open, closed.outcomes[0]!.wrote, [...closed.body!]],
      [false, true, [2, 3]],
    );
    subject.writer.kill();
    await subject.writer.closed;
    const late = await subject.run([unit("select 1")]);
    assert.equal(late.type, "killed");
  });

  test("a statement past its deadline costs the process, and the offender is named", async () => {
    const subject = new Subject(300);
    await subject.writer.open(newDatabase());
    await subject.done([unit("create table t(a)")]);
    const begun = performance.now();
    const ordinary = unit("insert into t values(1)");
    const reply = await subject.run([ordinary, ordinary, runaway, ordinary]);
    assert.ok(reply.type === "killed");
    assert.deepEqual([reply.offender, reply.running], [2, 2]);
    assert.ok(performance.now() - begun < 2_500);
    await subject.writer.closed;
    // Nothing of it survives; the innocent are run again by another writer, on a fresh scratch.
    const next = new Subject();
    await next.writer.open(newDatabase());
    const again = await next.done([unit("create table t(a)"), ordinary, ordinary, ordinary]);
    assert.equal(again.outcomes.length, 4);
    next.writer.kill();
  });

  test("a writer that is killed by others blames nobody", async () => {
    const subject = new Subject();
    await subject.writer.open(newDatabase());
    await subject.done([unit("create table t(a)")]);
    const reply = subject.run([unit("insert into t values(1)"), runaway]);
    await sleep(100);
    process.kill(subject.writer.pid!, "SIGKILL");
    const killed = await reply;
    assert.ok(killed.type === "killed");
    assert.deepEqual([killed.offender, killed.running], [-1, 1]);
    await subject.writer.closed;
  });

  test("a scratch that cannot be opened is told", async () => {
    const subject = new Subject();
    await assert.rejects(subject.writer.open("/nonexistent/scratch.sqlite"), StorageError);
    await subject.writer.closed;
  });

  test("a writer in the middle of a statement does not outlive its parent", async () => {
    const source = `
      import { Writer } from ${JSON.stringify(new URL("./writer.ts", import.meta.url).href)};
      const writer = Writer.spawn(${JSON.stringify(main)});
      await writer.open(${JSON.stringify(newDatabase())});
      const units = ${JSON.stringify([unit("create table t(a)"), runaway])};
      void writer.run({ lsn: 1, term: 1, units, committedAtMs: 0, session: "none" });
      setTimeout(() => console.log(writer.pid), 100);
    `;
    const parent = spawn(process.execPath, ["--input-type=module-typescript", "-e", source], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    const [line] = await once(parent.stdout, "data");
    const pid = Number(String(line));
    assert.ok(pid > 0);
    parent.kill("SIGKILL");
    // The writer has inherited the pipe: it ends when both of them have.
    parent.stderr.resume();
    const ended = once(parent.stderr, "end").then(() => "ended");
    const outcome = await Promise.race([ended, sleep(3_000, "outlived", { ref: false })]);
    if (outcome === "outlived") process.kill(pid, "SIGKILL");
    assert.equal(outcome, "ended");
  });
});
