import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { describe, test } from "node:test";

const root = join(import.meta.dirname, "..");

/** Scripts of package.json that take options, with arguments that each must refuse. */
const scripts: Readonly<Record<string, { readonly path: string; readonly wrong: string[][] }>> = {
  sim: {
    path: "proof/sim.ts",
    wrong: [["nonsense"], ["--jobs", "0"], ["--shrink"], ["--change", "[1]"]],
  },
  fuzz: {
    path: "proof/fuzz.ts",
    wrong: [["--only", "nothing"]],
  },
  mutants: {
    path: "proof/mutants.ts",
    wrong: [
      ["--only", "no such thing"],
      ["--seeds", "x"],
      ["--ground", "lead,nowhere"],
    ],
  },
  chaos: {
    path: "chaos/main.ts",
    wrong: [["--minutes", "x"]],
  },
  proof: {
    path: "proof/main.ts",
    wrong: [
      ["--only", "leader,nothing"],
      ["--kills", "1.5"],
    ],
  },
  bench: { path: "bench/main.ts", wrong: [["--seconds", "0"], ["--json"]] },
  shop: { path: "examples/shop/main.ts", wrong: [["--port", "70000"]] },
};

function run(path: string, args: readonly string[]) {
  return new Promise<{ code: unknown; stdout: string; stderr: string }>((resolve) => {
    execFile(
      process.execPath,
      [join(root, path), ...args],
      { cwd: root, timeout: 60_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}

describe("what npm runs", { concurrency: 2 }, () => {
  for (const [name, { path, wrong }] of Object.entries(scripts)) {
    test(`${name} explains itself, and says what was written wrongly`, async () => {
      const helped = await run(path, ["--help"]);
      assert.equal(helped.code, 0, helped.stderr);
      assert.match(helped.stdout, new RegExp(`^npm run ${name}\\b`));
      assert.match(helped.stdout, /Exit status: 0/);
      for (const args of [["--nonsense"], ...wrong]) {
        const { code, stdout, stderr } = await run(path, args);
        assert.equal(code, 2, `${args.join(" ")}: ${stderr}`);
        assert.equal(stdout, "");
        assert.match(stderr, new RegExp(`^${name}: .+\\nnpm run ${name} -- --help explains\\n$`));
        assert.ok(stderr.includes(args.at(-1)!.replace(/.*,/, "").replace(/^--/, "")), stderr);
      }
    });
  }
});
