/**
 * Clients that write and remember. Each inserts numbered rows through whichever node it likes and records what became
 * of every one; afterwards the copies are held against the records.
 *
 *   ok       acknowledged: must be on every node
 *   failed   surely not done: must be on none
 *   unknown  either; but the same on every node
 */

import { sleep } from "./cluster.ts";
import { execute, rowsOf } from "./sql.ts";

export type Written = {
  readonly ok: Set<string>;
  readonly failed: Set<string>;
  readonly unknown: Set<string>;
  /** Pauses between an acknowledged write and the next one of any client, longest first; ms. */
  readonly okTimesMs: number[];
};

export class Load {
  readonly written: Written = {
    ok: new Set(),
    failed: new Set(),
    unknown: new Set(),
    okTimesMs: [],
  };
  readonly codes = new Map<string, number>();
  readonly #urls: () => readonly string[];
  #running = true;
  readonly #clients: Promise<void>[] = [];

  constructor(urls: () => readonly string[], clients: number) {
    this.#urls = urls;
    for (let client = 0; client < clients; client++) this.#clients.push(this.#run(client));
  }

  static async prepare(url: string): Promise<void> {
    await rowsOf(
      url,
      "CREATE TABLE IF NOT EXISTS written (client INTEGER, seq INTEGER, filler TEXT, PRIMARY KEY (client, seq))",
    );
  }

  async stop(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#clients);
  }

  /** Holds one node's copy against the records. Throws with what is missing or too much. */
  async check(url: string): Promise<number> {
    const found = new Set<string>();
    const headers = { "paceline-consistency": "linearizable" };
    for (let client = 0; client < this.#clients.length; client++) {
      const rows = await rowsOf(url, "SELECT seq FROM written WHERE client = ?", [client], {
        headers,
      });
      for (const [seq] of rows) found.add(`${client}/${String(seq)}`);
    }
    const missing = [...this.written.ok].filter((key) => !found.has(key));
    const risen = [...this.written.failed].filter((key) => found.has(key));
    if (missing.length > 0 || risen.length > 0) {
      throw new Error(
        `${url}: ${missing.length} acknowledged writes missing (${missing.slice(0, 5).join(" ")}), ` +
          `${risen.length} refused writes present (${risen.slice(0, 5).join(" ")})`,
      );
    }
    return found.size;
  }

  async #run(client: number): Promise<void> {
    for (let seq = 0; this.#running; seq++) {
      const urls = this.#urls();
      const url = urls[(client + seq) % urls.length];
      if (url === undefined) {
        await sleep(10);
        continue;
      }
      const key = `${client}/${seq}`;
      const outcome = await execute(
        url,
        "INSERT INTO written (client, seq, filler) VALUES (?, ?, ?)",
        [client, seq, "x".repeat(60)],
        { timeoutMs: 15_000 },
      );
      this.written[outcome.type].add(key);
      if (outcome.type === "ok") this.written.okTimesMs.push(performance.now());
      else {
        this.codes.set(outcome.code, (this.codes.get(outcome.code) ?? 0) + 1);
        await sleep(10);
      }
    }
  }
}
