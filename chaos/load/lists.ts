/**
 * Transactions that append to lists and read them, one request each, through all nodes; the whole history is kept and
 * checked at the end for strict serializability (src/sim/checkers/transactions.ts). Some reads go alone, linearizable,
 * to any node, and take part in the same order.
 *
 * Keys rotate, so that lists stay short.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { HistoryEvent } from "../../src/sim/checkers/history.ts";
import { pairHistory } from "../../src/sim/checkers/operations.ts";
import { checkTransactions } from "../../src/sim/checkers/transactions.ts";
import { type Ground, Home } from "./ground.ts";
import type { Outcome, Statement } from "./hrana.ts";

export const listsSchema = [
  "CREATE TABLE list (place INTEGER PRIMARY KEY, k INTEGER NOT NULL, element INTEGER NOT NULL)",
  "CREATE INDEX list_by_key ON list (k)",
] as const;

const keysAtOnce = 4;
/** Appends to a key before another takes its place. */
const appendsPerKey = 20;
const betweenMs = 40;

type Part = readonly ["r" | "append", number, number | readonly number[] | null];
type Client = { readonly id: number; process: number; readonly home: Home };

export class Lists {
  readonly #ground: Ground;
  readonly #events: HistoryEvent[] = [];
  #appends = 0;

  constructor(ground: Ground, clients: number) {
    this.#ground = ground;
    for (let id = 0; id < clients; id++) {
      const client = { id, process: id, home: new Home(ground, id) };
      ground.loop(() => this.#step(client, clients));
    }
  }

  /** Checks the whole history. Findings go to the recorder; gives the number of transactions. */
  check(): number {
    const operations = pairHistory(this.#events);
    const verdict = checkTransactions(operations);
    for (const { name, text } of verdict.anomalies) {
      this.#ground.recorder.violate("anomaly", `${name}: ${text}`);
    }
    return operations.length;
  }

  async #step(client: Client, clients: number): Promise<void> {
    const { prng, recorder } = this.#ground;
    const alone = prng.chance(0.3);
    const parts = alone ? [this.#part(false)] : this.#parts();
    this.#note(client, parts, "invoke");
    const outcome = alone ? await this.#read(parts[0]!) : await this.#transact(client, parts);
    if (outcome.type === "ok") {
      const rows = alone ? outcome.rows : outcome.rows.slice(1, -1);
      const seen = parts.map((part, i): Part => {
        if (part[0] === "append") return part;
        return ["r", part[1], rows[i]!.map(([element]) => element as number)];
      });
      this.#note(client, seen, "ok", outcome.position);
    } else {
      this.#note(client, parts, outcome.type === "failed" ? "fail" : "info");
    }
    recorder.read("list transaction");
    // Nobody knows when this one ends, so it cannot be followed by another of the same process.
    if (outcome.type === "unknown") client.process += clients;
    if (outcome.type === "ok") await sleep(betweenMs);
    else await client.home.retreat(outcome);
  }

  #parts(): Part[] {
    const count = this.#ground.prng.integer(1, 5);
    return Array.from({ length: count }, () => this.#part(this.#ground.prng.chance(0.5)));
  }

  #part(append: boolean): Part {
    const generation = Math.floor(this.#appends / (keysAtOnce * appendsPerKey));
    const key = generation * keysAtOnce + this.#ground.prng.integer(0, keysAtOnce);
    return append ? ["append", key, ++this.#appends] : ["r", key, null];
  }

  #read([, key]: Part): Promise<Outcome> {
    const statements = [readOf(key)];
    return this.#ground.any().ask({ statements, consistency: "linearizable" });
  }

  #transact(client: Client, parts: readonly Part[]): Promise<Outcome> {
    const statements = parts.map(([f, key, element]): Statement => {
      if (f === "r") return readOf(key);
      const sql = "INSERT INTO list (k, element) VALUES (?, ?)";
      return { sql, args: [key, element as number] };
    });
    const all = [{ sql: "BEGIN IMMEDIATE" }, ...statements, { sql: "COMMIT" }];
    return client.home.node.ask({ statements: all, batch: true });
  }

  #note(
    { process }: Client,
    value: readonly Part[],
    type: HistoryEvent["type"],
    position?: string,
  ): void {
    const [lsn, term] = position?.split("@").map(Number) ?? [];
    const atNs = Math.round(performance.now() * 1e6);
    const [key, node] = [undefined, undefined];
    this.#events.push({ process, op: "txn", key, value, type, atNs, node, term, lsn });
  }
}

function readOf(key: number): Statement {
  return { sql: "SELECT element FROM list WHERE k = ? ORDER BY place", args: [key] };
}
