/**
 * What the shop asks of its database, through the usual libSQL client.
 *
 * A cart is an order that is not placed yet: it has the order's id from its first line on. So placing it twice is
 * placing it once, and the shop may repeat the request for as long as nobody says what became of it.
 *
 * One Store serves one request of one customer. It brings along the position of the newest thing the customer has seen
 * and sends it with every read, so no read is behind it, on whichever node; afterwards `position` is the new one, for
 * the customer's cookie.
 */

import { type Client, createClient, type InStatement, type Row } from "@libsql/client";

export type Product = {
  readonly id: string;
  readonly name: string;
  readonly words: string;
  readonly cents: number;
};
export type CartLine = {
  readonly product: string;
  readonly name: string;
  readonly cents: number;
  readonly quantity: number;
};
export type Order = {
  readonly id: string;
  readonly placedAt: string;
  readonly what: string;
  readonly cents: number;
};

/** Where the database is: one URL of a router for both, or a load balancer's two. */
export type DatabaseUrls = { readonly reads: string; readonly writes: string };

const positionForm = /^(\d{1,15})@\d{1,15}$/;
/** The client itself would wait for as long as it takes. */
const answerMs = 8_000;

export class Store {
  readonly #reads: Client;
  readonly #writes: Client;
  readonly #customer: string;
  #position: string;

  constructor({ reads, writes }: DatabaseUrls, customer: string, position: string) {
    this.#customer = customer;
    this.#position = positionForm.test(position) ? position : "";
    const fetch = (request: Request) => this.#fetch(request);
    this.#reads = createClient({ url: reads, fetch });
    this.#writes = createClient({ url: writes, fetch });
  }

  get customer(): string {
    return this.#customer;
  }

  /** For the customer's cookie. */
  get position(): string {
    return this.#position;
  }

  async products(): Promise<Product[]> {
    const rows = await this.#read("SELECT id, name, words, cents FROM products ORDER BY name");
    return rows as unknown as Product[];
  }

  async cart(draft: string): Promise<CartLine[]> {
    const sql =
      "SELECT product, name, cents, quantity FROM carts JOIN products ON id = product " +
      "WHERE draft = ? ORDER BY name";
    return (await this.#read({ sql, args: [draft] })) as unknown as CartLine[];
  }

  /** Sets how many of a product are in the cart; one more than before when `quantity` is "more". */
  async putIntoCart(draft: string, product: string, quantity: number | "more"): Promise<void> {
    if (quantity === 0) {
      const args = [draft, product];
      await this.#write([{ sql: "DELETE FROM carts WHERE draft = ? AND product = ?", args }]);
      return;
    }
    const before = (await this.cart(draft)).find((line) => line.product === product)?.quantity ?? 0;
    const wanted = Math.min(99, quantity === "more" ? before + 1 : quantity);
    const sql =
      "INSERT INTO carts SELECT ?, id, ? FROM products " +
      "WHERE id = ? AND NOT EXISTS (SELECT 1 FROM orders WHERE id = ?) " +
      "ON CONFLICT (draft, product) DO UPDATE SET quantity = excluded.quantity";
    await this.#write([{ sql, args: [draft, wanted, product, draft] }]);
  }

  /**
   * Places the order once, however often it is called. Resolves when it is surely placed; false: there is nothing to
   * order, or it was another customer's. Throws when nobody says what became of it.
   */
  async place(order: string): Promise<boolean> {
    const customer = this.#customer;
    const lines =
      "INSERT INTO order_lines SELECT draft, product, quantity, cents FROM carts " +
      "JOIN products ON id = product WHERE draft = ? ON CONFLICT DO NOTHING";
    const head =
      "INSERT INTO orders SELECT ?, ?, datetime('now'), sum(quantity * cents) FROM order_lines " +
      "WHERE order_id = ? HAVING count(*) > 0 ON CONFLICT DO NOTHING";
    const answers = await this.#write([
      { sql: lines, args: [order] },
      { sql: head, args: [order, customer, order] },
      { sql: "DELETE FROM carts WHERE draft = ?", args: [order] },
      { sql: "SELECT 1 FROM orders WHERE id = ? AND customer = ?", args: [order, customer] },
    ]);
    return (answers.at(-1)?.rows.length ?? 0) === 1;
  }

  async orders(): Promise<Order[]> {
    const sql =
      "SELECT orders.id, placed_at AS placedAt, orders.cents, " +
      "group_concat(quantity || ' × ' || name, ', ') AS what FROM orders " +
      "JOIN order_lines ON order_id = orders.id JOIN products ON products.id = product " +
      "WHERE customer = ? GROUP BY orders.id ORDER BY placed_at DESC, orders.rowid DESC";
    return (await this.#read({ sql, args: [this.#customer] })) as unknown as Order[];
  }

  async #read(statement: InStatement): Promise<Row[]> {
    return (await this.#reads.execute(statement)).rows;
  }

  #write(statements: InStatement[]) {
    return this.#writes.batch(statements, "write");
  }

  async #fetch(request: Request): Promise<Response> {
    if (this.#position !== "") request.headers.set("paceline-min-position", this.#position);
    // Each customer is a session, and waits for no other customer's orders.
    request.headers.set("paceline-session", this.#customer);
    const response = await fetch(request, { signal: AbortSignal.timeout(answerMs) });
    const position = response.headers.get("paceline-position") ?? "";
    if (lsnOf(position) > lsnOf(this.#position)) this.#position = position;
    return response;
  }
}

function lsnOf(position: string): number {
  return Number(positionForm.exec(position)?.[1] ?? -1);
}
