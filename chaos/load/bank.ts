/**
 * Transfers between accounts, each an interactive transaction of several requests. Money is neither made nor lost: not
 * in what any node shows at any moment, and not in the books at the end. After a while another bank opens, so that the
 * history of each can be checked by itself (src/sim/checkers/bank.ts).
 *
 *   torn    the sum over all accounts is not what it always is
 *   lost    an acknowledged transfer is not in the books;  risen: a refused one is
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Actor } from "./actor.ts";
import { type Ground, Home } from "./ground.ts";
import type { Hrana, Outcome, Statement } from "./hrana.ts";
import { rowsOf } from "./inserts.ts";

export const bankSchema = [
  "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
  "CREATE TABLE transfer (id INTEGER PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER)",
] as const;

const accounts = 8;
const opening = 1_000;
const transfersPerBank = 300;
/** An answer has a limit. */
const transfersPerAnswer = 20_000;
const betweenMs = 60;

/** What every bank begins with, by account. */
export const bankOpening: Readonly<Record<string, number>> = Object.fromEntries(
  Array.from({ length: accounts }, (_, n) => [n, opening]),
);

const consistencies = ["linearizable", "session", "stale"] as const;
const moveSql = "UPDATE account SET balance = balance + ? WHERE id = ?";
const noteSql = "INSERT INTO transfer VALUES (?, ?, ?, ?)";
const booksSql = "SELECT id, source, target, amount FROM transfer WHERE id >= ? AND id < ?";
const readSql = "SELECT id, balance FROM account WHERE id >= ? AND id < ?";

export class Bank {
  readonly #ground: Ground;
  #transfers = 0;
  /** The newest bank that is open; before it opens, nobody goes there. */
  #open = -1;
  readonly #ok = new Set<number>();
  readonly #failed = new Set<number>();

  constructor(ground: Ground, clients: number) {
    this.#ground = ground;
    ground.loop(() => this.#openNext());
    for (let n = 0; n < clients; n++) {
      const actor = new Actor(ground.history, `bank-${n}`);
      const home = new Home(ground, n);
      ground.loop(() => this.#transfer(actor, home));
    }
    const reader = new Actor(ground.history, "bank-reader");
    ground.loop(() => this.#read(reader));
  }

  /** All accounts in one statement, which may be repeated whatever came of it. */
  async #openNext(): Promise<void> {
    const next = Math.floor(this.#transfers / transfersPerBank);
    await sleep(betweenMs);
    if (next <= this.#open) return;
    const rows = Array.from({ length: accounts }, (_, n) => `(${next * accounts + n}, ${opening})`);
    const sql = `INSERT OR IGNORE INTO account VALUES ${rows.join(", ")}`;
    const outcome = await this.#ground.any().ask({ statements: [{ sql }] });
    if (outcome.type === "ok") this.#open = next;
  }

  async #transfer(actor: Actor, home: Home): Promise<void> {
    if (this.#open === -1) return await sleep(betweenMs);
    const { prng, recorder } = this.#ground;
    const bank = this.#open;
    const id = this.#transfers++;
    const from = prng.integer(0, accounts);
    const to = (from + prng.integer(1, accounts)) % accounts;
    const amount = prng.integer(1, 50);
    const [source, target] = [bank * accounts + from, bank * accounts + to];
    const value = { from: String(from), to: String(to), amount };
    // One statement per request: after an error, the next would be a transaction of its own.
    const outcome = await actor.does({ op: "transfer", key: `bank/${bank}`, value }, () =>
      transact(home.node, [
        { sql: "BEGIN IMMEDIATE" },
        { sql: moveSql, args: [-amount, source] },
        { sql: moveSql, args: [amount, target] },
        { sql: noteSql, args: [id, source, target, amount] },
        { sql: "COMMIT" },
      ]),
    );
    if (outcome.type === "ok") this.#ok.add(id);
    if (outcome.type === "failed") this.#failed.add(id);
    recorder.write(outcome);
    if (outcome.type === "ok") await sleep(betweenMs);
    else await home.retreat(outcome);
  }

  async #read(actor: Actor): Promise<void> {
    await sleep(betweenMs);
    const bank = this.#open;
    if (bank === -1) return;
    const consistency = consistencies[this.#ground.prng.integer(0, consistencies.length)]!;
    const first = bank * accounts;
    const statements = [{ sql: readSql, args: [first, first + accounts] }];
    const outcome = await actor.does(
      { op: "read", key: `bank/${bank}`, value: consistency },
      async () => {
        const outcome = await this.#ground.any().ask({ statements, consistency });
        const unopened = outcome.type === "ok" && outcome.rows[0]!.length === 0;
        if (!unopened || consistency === "linearizable") return outcome;
        // A node that is behind does not know of this bank yet: that is no answer about it.
        return { ...outcome, type: "failed", code: "", message: "", answered: true } as Outcome;
      },
      ({ rows }) =>
        Object.fromEntries(rows[0]!.map(([id, balance]) => [(id as number) - first, balance!])),
    );
    if (outcome.type === "ok") this.#ground.recorder.read("bank");
  }

  /** The books of one node. */
  async check(name: string, node: Hrana): Promise<void> {
    const { recorder } = this.#ground;
    const balances = await rowsOf(node, "SELECT id, balance FROM account");
    const books: (readonly number[])[] = [];
    for (let id = 0; id < this.#transfers; id += transfersPerAnswer) {
      const page = await rowsOf(node, booksSql, [id, id + transfersPerAnswer]);
      for (const row of page) books.push(row as readonly number[]);
    }
    const expected = new Map<number, number>(balances.map(([id]) => [id as number, opening]));
    if (balances.length % accounts !== 0) {
      recorder.violate("torn", `${name} has ${balances.length} accounts, no whole number of banks`);
    }
    for (const [, source, target, amount] of books) {
      expected.set(source!, expected.get(source!)! - amount!);
      expected.set(target!, expected.get(target!)! + amount!);
    }
    for (const [id, balance] of balances as readonly [number, number][]) {
      if (balance === expected.get(id)) continue;
      recorder.violate(
        "torn",
        `${name}: account ${id} has ${balance}, its transfers say ${expected.get(id)}`,
      );
    }
    const present = new Set(books.map(([id]) => id!));
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
