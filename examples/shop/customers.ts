/**
 * Customers of the shop: each looks around, fills a cart, orders, and looks whether the order is in the history. What
 * the shop confirmed is kept, so that it can be held against the histories afterwards.
 *
 * They are browsers as far as the shop can tell: cookies, forms, redirects. A page that fails is asked for again; an
 * order is never pressed twice for one cart, but its page may be loaded again, as people do.
 */

import { setTimeout as sleep } from "node:timers/promises";

export type Complaint = {
  readonly customer: number;
  readonly order: string;
  readonly what: string;
};

type Page = { readonly status: number; readonly path: string; readonly text: string };

export class Customer {
  readonly #shop: string;
  readonly #cookies = new Map<string, string>();
  readonly #number: number;
  /** Ids of orders that the shop confirmed. */
  readonly confirmed = new Set<string>();
  /** Ids of orders that were sent and not confirmed: placed once, or not at all. */
  readonly open = new Set<string>();
  readonly complaints: Complaint[] = [];

  constructor(shop: string, number: number) {
    this.#shop = shop;
    this.#number = number;
  }

  /** Orders one thing after another. */
  async shopUntil(isOver: () => boolean, pauseMs: number): Promise<void> {
    while (!isOver()) {
      await this.#buy();
      await sleep(pauseMs);
    }
  }

  /** Every order of the history, as often as it is there. */
  async history(): Promise<string[]> {
    const { text } = await this.#patiently(() => this.#open("GET", "/orders"));
    return [...text.matchAll(/data-order="([^"]+)"/g)].map((match) => match[1]!);
  }

  async #buy(): Promise<void> {
    const catalogue = await this.#patiently(() => this.#open("GET", "/"));
    const products = [...catalogue.text.matchAll(/name="product" value="([^"]+)"/g)];
    const product = products[(this.#number + this.confirmed.size) % products.length]?.[1];
    if (product === undefined) return;
    const cart = await this.#patiently(() =>
      this.#open("POST", "/cart", { product, quantity: "1" }),
    );
    const order = /name="order" value="([^"]+)"/.exec(cart.text)?.[1];
    if (order === undefined) {
      this.#complain("", "the cart lacks what was just put into it");
      return;
    }
    this.open.add(order);
    const placed = await this.#open("POST", "/orders", { order }).catch(() => undefined);
    if (placed?.path !== `/orders?placed=${order}`) return;
    // The shop has said so, whether or not the page that shows it could be had.
    this.open.delete(order);
    this.confirmed.add(order);
    if (placed.status === 200 && !placed.text.includes(`data-order="${order}"`)) {
      this.#complain(order, "placed, says the shop, and the history does not show it");
    }
  }

  #complain(order: string, what: string): void {
    this.complaints.push({ customer: this.#number, order, what });
  }

  async #patiently(load: () => Promise<Page>): Promise<Page> {
    for (let tries = 0; ; tries++) {
      const page = await load().catch(() => undefined);
      if (page?.status === 200) return page;
      if (tries > 300) throw new Error(`the shop does not answer customer ${this.#number}`);
      await sleep(100);
    }
  }

  /** One page, redirects followed, cookies kept. */
  async #open(method: "GET" | "POST", path: string, form?: Record<string, string>): Promise<Page> {
    const response = await fetch(this.#shop + path, {
      method,
      redirect: "manual",
      headers: { cookie: [...this.#cookies].map(([k, v]) => `${k}=${v}`).join("; ") },
      ...(form === undefined ? {} : { body: new URLSearchParams(form) }),
      signal: AbortSignal.timeout(30_000),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name = "", value = ""] = cookie.split(";")[0]!.split("=", 2);
      this.#cookies.set(name, value);
    }
    const text = await response.text();
    const next = response.headers.get("location");
    if (response.status === 303 && next !== null) {
      const page = await this.#open("GET", next);
      return page;
    }
    return { status: response.status, path, text };
  }
}
