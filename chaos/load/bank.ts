/**
 * Transfers between accounts, each an interactive transaction of several requests. Money is neither made nor lost: not
 * in what any node shows at any moment, and not in the books at the end.
 *
 *   torn    the sum over all accounts is not what it always is
 *   lost    an acknowledged transfer is not in the books;  risen: a refused one is
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Ground, Home } from "./ground.ts";
import type { Hrana, Outcome, Statement } from "./hrana.ts";
import { rowsOf } from "./inserts.ts";

export const bankSchema = [
  "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
  "CREATE TABLE transfer (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER)",
] as const;

const accounts = 8;
const opening = 1_000;
const betweenMs = 60;

export function accountRows(): string {
  const rows = Array.from({ length: accounts }, (_, id) => `(${id}, ${opening})`);
  return `INSERT INTO account VALUES ${rows.join(", ")}`;
}

export class Bank {
  readonly #ground: Ground;
  #transfers = 0;
  readonly #ok = new Set<number>();
  readonly #failed = new Set<number>();

  constructor(ground: Ground, clients: number) {
    this.#ground = ground;
    for (let client = 0; client < clients; client++) {
      const home = new Home(ground, client);
      ground.loop(() => this.#transfer(home));
    }
    ground.loop(() => this.#readSum());
  }

  async #transfer(home: Home): Promise<void> {
    const { prng, recorder } = this.#ground;
    const id = this.#transfers++;
    const source = prng.integer(0, accounts);
    const target = (source + prng.integer(1, accounts)) % accounts;
    const amount = prng.integer(1, 50);
    const move = "UPDATE account SET balance = balance + ? WHERE id = ?";
    // One statement per request: after an error, the next would be a transaction of its own.
    const outcome = await transact(home.node, [
      { sql: "BEGIN IMMEDIATE" },
      { sql: move, args: [-amount, source] },
      { sql: move, args: [amount, target] },
      { sql: "INSERT INTO transfer VALUES (?, ?, ?, ?)", args: [id, source, target, amount] },
      { sql: "COMMIT" },
    ]);
    if (outcome.type === "ok") this.#ok.add(id);
    if (outcome.type === "failed") this.#failed.add(id);
    recorder.write(outcome);
    if (outcome.type === "ok") await sleep(betweenMs);
    else await home.retreat(outcome);
  }

  async #readSum(): Promise<void> {
    const outcome = await this.#ground.any().ask({
      statements: [{ sql: "SELECT sum(balance), count(*) FROM account" }],
      consistency: this.#ground.prng.chance(0.5) ? "stale" : "session",
    });
    await sleep(betweenMs);
    if (outcome.type !== "ok") return;
    this.#ground.recorder.read("sum");
    this.#checkSum(outcome.rows[0]![0]![0] as number, `at ${outcome.position}`);
  }

  #checkSum(sum: number, where: string): void {
    if (sum !== accounts * opening) {
      this.#ground.recorder.violate("torn", `the accounts sum up to ${sum} ${where}`);
    }
  }

  /** The books of one node. */
  async check(name: string, node: Hrana): Promise<void> {
    const { recorder } = this.#ground;
    const balances = await rowsOf(node, "SELECT id, balance FROM account");
    const books = await rowsOf(node, "SELECT id, source, target, amount FROM transfer");
    this.#checkSum(
      balances.reduce((sum, [, balance]) => sum + (balance as number), 0),
      `on ${name}`,
    );
    const expected = new Array<number>(accounts).fill(opening);
    for (const [, source, target, amount] of books as readonly number[][]) {
      expected[source!]! -= amount!;
      expected[target!]! += amount!;
    }
    for (const [id, balance] of balances as readonly [number, number][]) {
      if (balance === expected[id]) continue;
      recorder.violate(
        "torn",
        `${name}: account ${id} has ${balance}, its transfers say ${expected[id]}`,
      );
    }
    const present = new Set(books.map(([id]) => id as number));
    const lost = [...this.#ok].filter((id) => !present.has(id));
    const risen = [...this.#failed].filter((id) => present.has(id));
    if (lost.length > 0)
      recorder.violate("lost", `${name} lacks transfers ${lost.slice(0, 5)}`, lost.length);
    if (risen.length > 0)
      recorder.violate("risen", `${name} has refused transfers ${risen.slice(0, 5)}`, risen.length);
  }
}

/** Statement by statement in one stream. What fails before COMMIT surely did not happen. */
async function transact(node: Hrana, statements: readonly Statement[]): Promise<Outcome> {
  let stream: string | undefined = "open";
  let last: Outcome | undefined;
  for (const [i, statement] of statements.entries()) {
    const isLast = i === statements.length - 1;
    last = await node.ask({ statements: [statement], stream, close: isLast });
    if (last.type !== "ok") {
      // So that nobody waits for a transaction that nobody goes on with.
      if (last.stream !== undefined)
        await node.ask({ statements: [], stream: last.stream, close: true });
      return isLast ? last : { ...last, type: "failed" };
    }
    stream = last.stream;
  }
  return last!;
}
