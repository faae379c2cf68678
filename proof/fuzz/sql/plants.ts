/**
 * Bugs that are planted in the nodes, to see that the fuzzer notices them. Every process of a node loads this file
 * first (NODE_OPTIONS); when PACELINE_SQL_PLANT names a bug, it changes one text of the program while that is loaded.
 * A text that is no longer there ends the process, and is noticed by plants.test.ts before.
 */

import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";

export type Plant = {
  /** From the root of the repository. */
  readonly file: string;
  readonly text: string;
  readonly by: string;
};

export const plants: Readonly<Record<string, Plant>> = {
  "mark-is-a-letter": {
    file: "src/db/sql/tokenizer.ts",
    text: "const byteOrderMark = 0xfeff;",
    by: "const byteOrderMark = -1;",
  },
  "fail-of-tables-is-forgotten": {
    file: "src/db/sql/executor.ts",
    text: "keepsPart: true, mayFail: mayFail(compiled) };",
    by: "keepsPart: /\\bFAIL\\b/i.test(compiled.statement.text) };",
  },
  "stamp-is-counted": {
    file: "src/db/sql/executor.ts",
    text: "    this.#ports.stampPosition();\n",
    by: "    this.#stream.counters.run(() => this.#ports.stampPosition());\n",
  },
  "statement-is-not-reset": {
    file: "src/db/sql/statement-cache.ts",
    text: "    reset(call);\n    throw error;",
    by: "    throw error;",
  },
};

const variable = "PACELINE_SQL_PLANT";

/** Breaks every node that is started from now on. */
export function plantIn(name: string): void {
  const options = process.env["NODE_OPTIONS"] ?? "";
  process.env["NODE_OPTIONS"] = `${options} --import ${fileURLToPath(import.meta.url)}`.trim();
  process.env[variable] = name;
}

function breakAsLoaded({ file, text, by }: Plant): void {
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.endsWith(`/${file}`)) return loaded;
      const source = Buffer.from(loaded.source as Uint8Array).toString();
      if (!source.includes(text)) throw new Error(`${file} no longer has: ${text}`);
      return { ...loaded, source: source.replace(text, by) };
    },
  });
}

const planted = plants[process.env[variable] ?? ""];
if (planted !== undefined) breakAsLoaded(planted);
