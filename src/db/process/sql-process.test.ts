import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const source = new URL("./sql-process.ts", import.meta.url).href;

/** Runs `script` in a Node that may open a few files only, with all of them open. */
async function withoutDescriptors(script: string): Promise<string> {
  const whole = `
    import { openSync, closeSync } from "node:fs";
    import { SqlProcess } from ${JSON.stringify(source)};
    const open = [];
    try {
      for (;;) open.push(openSync("/dev/null"));
    } catch {}
    ${script}`;
  const command = `ulimit -n 64; exec "$0" --input-type=module -e "$1"`;
  const run = promisify(execFile);
  return (await run("sh", ["-c", command, process.execPath, whole], { timeout: 20_000 })).stdout;
}

test("a process that the system does not let us start is gone, and nothing is thrown", async () => {
  for (const free of [0, 1, 2, 3]) {
    const out = await withoutDescriptors(`
      for (let i = 0; i < ${free}; i++) closeSync(open.pop());
      const child = new SqlProcess("/nowhere.ts", {
        onMessage() {},
        onGone(why, progress) { process.stdout.write(why + " " + JSON.stringify(progress)); },
      });
      child.send({ type: "open" });
      child.kill("not needed");
      if (child.isGone) process.stdout.write("too early");
    `);
    assert.match(out, /^not needed \{"statements":0/, `${free} descriptors left: ${out}`);
  }
});

test("why it could not be started is told", async () => {
  const out = await withoutDescriptors(`
    new SqlProcess("/nowhere.ts", { onMessage() {}, onGone(why) { process.stdout.write(why); } });
  `);
  assert.match(out, /could not be started: EMFILE/);
});
