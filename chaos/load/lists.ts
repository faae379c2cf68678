/**
 * Transactions that append to lists and read them, one request each, through all nodes, checked for strict
 * serializability (src/sim/checkers/transactions.ts). Some reads go alone, linearizable, to any node, and take part in
 * the same order.
 *
 * Keys rotate, so that lists stay short; and after a while all clients go on to keys of another number, so that what
 * belongs together can be checked while the run goes on.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Actor } from "./actor.ts";
import { type Ground, Home } from "./ground.ts";
import type { Outcome, Statement } from "./hrana.ts";

export const listsSchema = [
  "CREATE TABLE list (place INTEGER PRIMARY KEY, k INTEGER NOT NULL, element INTEGER NOT NULL)",
  "CREATE INDEX list_by_key ON list (k)",
] as const;

const keysAtOnce = 4;
/** Appends to a key before another takes its place. */
const appendsPerKey = 20;
const transactionsPerNumber = 1_500;
/** Keys of a number are below this. */
const keySpan = 10_000;
const betweenMs = 40;

type Part = readonly ["r" | "append", number, number | readonly number[] | null];
type Client = { readonly actor: Actor; readonly home: Home };

export class Lists {
  readonly #ground: Ground;
  #transactions = 0;
  #appends = 0;

  constructor(ground: Ground, clients: number) {
    this.#ground = ground;
    for (let id = 0; id < clients; id++) {
      const actor = new Actor(ground.history, `list-${id}`);
      const client = { actor, home: new Home(ground, id) };
      ground.loop(() => this.#step(client));
    }
  }

  async #step({ actor, home }: Client): Promise<void> {
    const { prng, recorder } = this.#ground;
    const number = Math.floor(this.#transactions++ / transactionsPerNumber);
    const alone = prng.chance(0.3);
    const parts = alone ? [this.#part(number, false)] : this.#parts(number);
    const outcome = await actor.does(
      { op: "txn", key: `list/${number}`, value: parts },
      () => (alone ? this.#read(parts[0]!) : transact(home, parts)),
      ({ rows }) => seenBy(parts, alone ? rows : rows.slice(1, -1)),
    );
    if (outcome.type === "ok") recorder.read("list transaction");
    if (parts.some(([f]) => f === "append")) recorder.write(outcome);
    if (outcome.type === "ok") await sleep(betweenMs);
    else await home.retreat(outcome);
  }

  #parts(number: number): Part[] {
    const count = this.#ground.prng.integer(1, 5);
    return Array.from({ length: count }, () => this.#part(number, this.#ground.prng.chance(0.5)));
  }

  #part(number: number, append: boolean): Part {
    const generation = Math.floor(this.#appends / (keysAtOnce * appendsPerKey));
    const place = generation * keysAtOnce + this.#ground.prng.integer(0, keysAtOnce);
    const key = number * keySpan + (place % keySpan);
    return append ? ["append", key, ++this.#appends] : ["r", key, null];
  }

  #read([, key]: Part): Promise<Outcome> {
    const statements = [readOf(key)];
    return this.#ground.any().ask({ statements, consistency: "linearizable" });
  }
}

function transact(home: Home, parts: readonly Part[]): Promise<Outcome> {
  const statements = parts.map(([f, key, element]): Statement => {
    if (f === "r") return readOf(key);
    const sql = "INSERT INTO list (k, element) VALUES (?, ?)";
    return { sql, args: [key, element as number] };
  });
  const all = [{ sql: "BEGIN IMMEDIATE" }, ...statements, { sql: "COMMIT" }];
  return home.node.ask({ statements: all, batch: true });
}

/** The parts with what was read. */
function seenBy(parts: readonly Part[], rows: (Outcome & { type: "ok" })["rows"]): Part[] {
  return parts.map((part, i): Part => {
    if (part[0] === "append") return part;
    return ["r", part[1], rows[i]!.map(([element]) => element as number)];
  });
}

function readOf(key: number): Statement {
  return { sql: "SELECT element FROM list WHERE k = ? ORDER BY place", args: [key] };
}
