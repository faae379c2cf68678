/** Consumers of the change stream, for tests: `paceline changes --into FILE`, killed at random moments and started again. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { Prng } from "../../src/base/prng.ts";
import { sleep } from "./cluster.ts";
import { paceline } from "./command.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export class KilledConsumer {
  readonly #urls: readonly string[];
  readonly #file: string;
  readonly #ended: Promise<void>;
  #isOver = false;
  /** So often has it been killed by now. */
  kills = 0;
  /** So many of its lives brought the file further, by now. */
  advances = 0;

  /** Begins at the beginning of the log. */
  constructor(urls: readonly string[], file: string, seed: number) {
    this.#urls = urls;
    this.#file = file;
    this.#ended = this.#liveAndDie(new Prng(seed));
    this.#ended.catch(() => {});
  }

  /** Ends it, by another SIGKILL. */
  stop(): Promise<void> {
    this.#isOver = true;
    return this.#ended;
  }

  /** Lets it run until it has dealt with this position, undisturbed. */
  async catchUp(position: string): Promise<void> {
    const ran = await paceline(...this.#args, "--until", position);
    assert.equal(ran.code, 0, ran.stderr);
  }

  get #args(): readonly string[] {
    return ["changes", "--url", this.#urls.join(), "--from", "0", "--into", this.#file];
  }

  async #liveAndDie(prng: Prng): Promise<void> {
    let at = 0;
    while (!this.#isOver) {
      const child = spawn(process.execPath, [main, ...this.#args], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => {
        said = (said + chunk.toString()).slice(-4_000);
      });
      const ended = new Promise((resolve) => child.once("exit", resolve));
      await sleep(700 + prng.integer(0, 1_300));
      assert.equal(child.exitCode, null, `the consumer gave up: ${said}`);
      child.kill("SIGKILL");
      await ended;
      this.kills += 1;
      const reached = this.#reached();
      if (reached > at) this.advances += 1;
      at = reached;
    }
  }

  #reached(): number {
    if (!existsSync(this.#file)) return 0;
    const db = new DatabaseSync(this.#file);
    try {
      const made = db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'paceline_copied'").get();
      if (made === undefined) return 0;
      return Number(db.prepare("SELECT lsn FROM paceline_copied").get()?.["lsn"] ?? 0);
    } finally {
      db.close();
    }
  }
}

/** Every row of every table, the schema, and the counters of AUTOINCREMENT; gives the rows per table. */
export function assertEqualTables(copy: string, node: string): Record<string, number> {
  const [ours, theirs] = [copy, node].map((path) => {
    return new DatabaseSync(path, { readBigInts: true, returnArrays: true });
  });
  try {
    const schema = schemaOf(theirs!);
    assert.deepEqual(schemaOf(ours!), schema);
    const tables = schema.filter(([type]) => type === "table").map(([, name]) => name!);
    const counts: Record<string, number> = {};
    for (const name of tables) {
      const rows = rowsOf(theirs!, name);
      assert.deepEqual(rowsOf(ours!, name), rows, name);
      counts[name] = rows.length;
    }
    return counts;
  } finally {
    ours!.close();
    theirs!.close();
  }
}

function schemaOf(db: DatabaseSync): string[][] {
  const rows = db
    .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    .all() as unknown as string[][];
  return rows.filter(([, name]) => name !== "sqlite_paceline" && name !== "paceline_copied");
}

function rowsOf(db: DatabaseSync, table: string): unknown[] {
  const all = db.prepare(`SELECT * FROM "${table}"`);
  const order = all.columns().map((_, i) => i + 1);
  return db.prepare(`SELECT * FROM "${table}" ORDER BY ${order.join()}`).all();
}
