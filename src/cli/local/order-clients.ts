/**
 * Customers of the demo: each places one order after another, through the libSQL client, and keeps what it was told.
 *
 * An order has a key of its own, client and number, and is inserted with ON CONFLICT DO NOTHING. So when the answer
 * to an order never comes, the client may simply place it again, through another node: either the first try counted
 * or the second does, never both. This is what every program that talks to a cluster should do.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Client, createClient, type InStatement } from "@libsql/client";

const answerMs = 5_000;
const betweenOrdersMs = 10;
const beforeRetryMs = 50;

export const ordersTable =
  "CREATE TABLE IF NOT EXISTS orders (client INTEGER, number INTEGER, item TEXT, placed_at TEXT," +
  " PRIMARY KEY (client, number)) WITHOUT ROWID";

/** The longest time in which no order of anyone was acknowledged, within a window. */
export type Gap = { readonly fromMs: number; readonly toMs: number };

export class OrderClients {
  readonly #urls: readonly string[];
  readonly #stop = new AbortController();
  readonly #running: Promise<void>[];
  /** Times of acknowledgements on the monotonic clock, ascending. */
  readonly #ackMs: number[] = [];
  /** `client/number` of every acknowledged order. */
  readonly acknowledged = new Set<string>();
  /** Orders that had to be placed again. */
  repeated = 0;

  constructor(urls: readonly string[], count: number) {
    this.#urls = urls;
    this.#running = Array.from({ length: count }, (_, i) => this.#placeOrders(i));
  }

  /** Lets everyone finish the order at hand. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  /** Orders acknowledged per second, over the time just past. */
  rate(overMs: number): number {
    const from = performance.now() - overMs;
    return Math.round((this.#ackMs.filter((ms) => ms >= from).length * 1000) / overMs);
  }

  longestGap(fromMs: number, toMs: number): Gap {
    const times = [fromMs, ...this.#ackMs.filter((ms) => ms > fromMs && ms < toMs), toMs];
    let longest: Gap = { fromMs, toMs: fromMs };
    times.forEach((ms, i) => {
      const before = times[i - 1] ?? ms;
      if (ms - before > longest.toMs - longest.fromMs) longest = { fromMs: before, toMs: ms };
    });
    return longest;
  }

  async #placeOrders(id: number): Promise<void> {
    const clients = this.#urls.map((url) => createClient({ url, fetch: fetchInTime }));
    // Everyone begins at another node, so that all nodes take orders.
    let at = id % clients.length;
    for (let number = 1; !this.#stop.signal.aborted; number++) {
      const sql = `INSERT INTO orders VALUES (?, ?, ?, datetime('now')) ON CONFLICT DO NOTHING`;
      const order = { sql, args: [id, number, `item ${number % 7}`] };
      while (!(await accepted(clients[at]!, order))) {
        // An order that nobody takes while we are being stopped stays unacknowledged: it may count or not.
        if (this.#stop.signal.aborted) return;
        this.repeated++;
        at = (at + 1) % clients.length;
        await sleep(beforeRetryMs);
      }
      this.acknowledged.add(`${id}/${number}`);
      this.#ackMs.push(performance.now());
      await sleep(betweenOrdersMs);
    }
  }
}

async function accepted(client: Client, order: InStatement): Promise<boolean> {
  try {
    await client.execute(order);
    return true;
  } catch {
    return false;
  }
}

/** The client library itself would wait for an answer as long as it takes. */
function fetchInTime(request: Request): Promise<Response> {
  return fetch(request, { signal: AbortSignal.timeout(answerMs) });
}
