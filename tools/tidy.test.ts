// The rules of tidy, each on a small tree that breaks it. The tree as it is, is checked by `npm run tidy` itself.

import assert from "node:assert/strict";
import { test } from "node:test";
import { sourceFile, type Tree } from "./tidy/source.ts";
import { checkTree } from "./tidy.ts";

const sign = "/** A file. */\n";

/** Rules that a tree of the given files breaks, leaving out those about documents it does not have. */
function check(files: Record<string, string>, expected: readonly string[]): void {
  const tree: Tree = {
    sources: Object.entries(files)
      .filter(([path]) => path.endsWith(".ts"))
      .map(([path, text]) => sourceFile(path, text)),
    read: (path) => files[path],
  };
  const found = checkTree(tree)
    .filter(({ rule, text }) => rule !== "exceptions" && text !== "is missing")
    .map(({ path, line, rule }) => `${path}:${line} ${rule}`);
  assert.deepEqual(found.sort(), [...expected].sort());
}

test("imports go down, never sideways, never up", () => {
  check(
    {
      "src/raft/a.ts": `${sign}import { x } from "../wal/x.ts";\nimport { y } from "../limits.ts";\n`,
      "src/log/b.ts": `${sign}export { z } from "../db/served/z.ts";\nawait import("../raft/a.ts");\n`,
      "src/base/c.ts": `${sign}import type { H } from "../host/clock.ts";\n`,
      "src/kitchen/d.ts": sign,
    },
    [
      "src/raft/a.ts:2 layers",
      "src/log/b.ts:2 layers",
      "src/base/c.ts:2 layers",
      "src/kitchen/d.ts:0 layers",
    ],
  );
});

test("only db knows SQLite, and the import verb reads the user's file", () => {
  const text = `${sign}import { DatabaseSync } from "node:sqlite";\n`;
  check(
    {
      "src/db/served/a.ts": text,
      "src/cli/import/b.ts": text,
      "src/node/c.ts": text,
      "src/node/c.test.ts": text,
    },
    ["src/node/c.ts:2 sqlite"],
  );
});

test("clock, chance and files come through host", () => {
  check(
    {
      "src/raft/a.ts": `${sign}const now = Date.now();\nconst x = this.clock.performance.now;\n`,
      "src/log/b.ts": `${sign}import { open } from "node:fs/promises";\nsetTimeout(() => {}, 1);\n`,
      "src/payload/c.ts": `${sign}// Date.now() is not ours.\nf("Math.random()", \`\${process.pid} Math.random()\`);\n`,
      "src/host/d.ts": `${sign}const now = Date.now();\n`,
    },
    [
      "src/raft/a.ts:2 machine",
      "src/log/b.ts:2 machine",
      "src/log/b.ts:3 machine",
      "src/payload/c.ts:3 machine",
    ],
  );
});

test("regular expressions and quotes do not confuse the reader", () => {
  check(
    {
      "src/wal/a.ts": `${sign}const quote = /["'\`/[/]]/;\nconst half = 4 / 2; const now = Date.now(); // '\n`,
    },
    ["src/wal/a.ts:3 machine"],
  );
});

test("size, width, door sign, names and exports", () => {
  const nine = Array.from({ length: 9 }, (_, i) => `export const c${i} = ${i};\n`).join("");
  check(
    {
      "src/raft/long.ts": sign + "\n".repeat(500),
      "src/raft/wide.ts": `${sign}// ${"x".repeat(118)}\n`,
      "src/raft/bare.ts": "const x = 1;\n",
      "src/raft/log-manager.ts": sign,
      "src/raft/names.ts": [
        `${sign}export function parseInfo() {}`,
        "export type Datagram = string;",
        "class PageHelper {}",
      ].join("\n"),
      "src/raft/many.ts": sign + nine,
      "src/raft/barrel.ts": `${sign}export * from "./many.ts";\n`,
    },
    [
      "src/raft/long.ts:0 size",
      "src/raft/wide.ts:2 width",
      "src/raft/bare.ts:1 door-sign",
      "src/raft/log-manager.ts:0 names",
      "src/raft/names.ts:2 names",
      "src/raft/names.ts:4 names",
      "src/raft/many.ts:0 exports",
      "src/raft/barrel.ts:2 exports",
    ],
  );
});

test("a URL is not a path", () => {
  check(
    {
      "src/cli/a.ts": `${sign}const a = new URL("b.ts", import.meta.url).pathname;\n`,
      "src/cli/a.test.ts": 'const a = new URL("b.ts", import.meta.url).pathname;\n',
      "src/cli/b.ts": `${sign}const a = fileURLToPath(new URL("b.ts", import.meta.url));\n`,
    },
    ["src/cli/a.ts:2 path", "src/cli/a.test.ts:1 path"],
  );
});

test("guarantees list every error code and no other", () => {
  check(
    {
      "src/base/errors.ts": `${sign}const codes = {\n  ONE: { retry: 1 },\n  TWO: { retry: 2 },\n};\n`,
      "docs/guarantees.md": "| `ONE` | cause | remedy |\n| `THREE` | cause | remedy |\n",
    },
    ["docs/guarantees.md:0 error-codes", "docs/guarantees.md:0 error-codes"],
  );
});

test("invariants name places that exist, and what is cited is listed", () => {
  const row = "| I1 | true | `src/raft/a.ts` `commit` | `src/raft/a.test.ts` |\n";
  const files = {
    "src/raft/a.ts": `${sign}// commit [invariants I1]\n`,
    "src/raft/a.test.ts": "",
  };
  check({ ...files, "docs/invariants.md": row }, []);
  check(
    {
      ...files,
      "src/raft/b.ts": `${sign}// [invariant I9]\n`,
      "docs/invariants.md": [
        `${row}| I2 | x | \`src/raft/a.ts\` \`vote\` | \`src/raft/gone.test.ts\` |`,
        "| I3 | x | here | there |",
      ].join("\n"),
    },
    [
      "src/raft/b.ts:2 invariants",
      "docs/invariants.md:2 invariants",
      "docs/invariants.md:2 invariants",
      "docs/invariants.md:3 invariants",
      "docs/invariants.md:3 invariants",
      "docs/invariants.md:3 invariants",
    ],
  );
});

test("every package has its reason", () => {
  check(
    {
      "package.json": '{"dependencies":{"a":"1"},"devDependencies":{"b":"1"}}',
      "docs/dependencies.md": "- `a`: because\n",
    },
    ["docs/dependencies.md:0 dependencies"],
  );
});
