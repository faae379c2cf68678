/**
 * The web shop: catalogue, cart, orders. Fastify, pages rendered on the server, no state of its own.
 *
 * A customer has three cookies: who they are, the id of the order they are putting together, and the position of the
 * newest thing they have seen. The last is what lets them see the order they just placed although the page is read from
 * a follower.
 *
 * An order whose outcome is unknown is sent again, under the same id, until the database says that it is placed. A
 * confirmation is shown only then.
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { cartPage, cataloguePage, failurePage, ordersPage, unknownPage } from "./pages.ts";
import { type DatabaseUrls, Store } from "./store.ts";

type Visit = { readonly store: Store; readonly draft: string; newDraft: string | undefined };

const idPattern = /^[0-9a-f-]{36}$/;
/** How long an order is sent again before the customer is asked to look later. */
const patienceMs = 15_000;

export type ShopOptions = { readonly database: DatabaseUrls; readonly port: number };

export class Shop {
  readonly #app: FastifyInstance;
  /** Orders that had to be sent again. */
  repeated = 0;
  /** Orders confirmed to customers. */
  placed = 0;

  private constructor(app: FastifyInstance) {
    this.#app = app;
  }

  static async open({ database, port }: ShopOptions): Promise<Shop> {
    const app = Fastify({ logger: false, bodyLimit: 16_384, forceCloseConnections: true });
    const shop = new Shop(app);
    app.addContentTypeParser(
      "application/x-www-form-urlencoded",
      { parseAs: "string" },
      (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
    );
    app.setErrorHandler((_error, _request, reply) =>
      sendPage(
        reply.code(503),
        failurePage("A moment, please", "This did not work. Try it again shortly."),
      ),
    );
    app.setNotFoundHandler((_request, reply) =>
      sendPage(reply.code(404), failurePage("Not here", "There is no such page.")),
    );
    shop.#addPages(app, database);
    shop.#addDeeds(app, database);
    await app.listen({ host: "127.0.0.1", port });
    return shop;
  }

  get url(): string {
    const address = this.#app.server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  async close(): Promise<void> {
    await this.#app.close();
  }

  #addPages(app: FastifyInstance, database: DatabaseUrls): void {
    app.get("/", async (request, reply) => {
      const visit = visitOf(request, database);
      return answer(reply, visit, cataloguePage(await visit.store.products()));
    });

    app.get("/cart", async (request, reply) => {
      const visit = visitOf(request, database);
      const { store, draft } = visit;
      return answer(reply, visit, cartPage(await store.cart(draft), draft));
    });

    app.get("/orders", async (request, reply) => {
      const visit = visitOf(request, database);
      const { placed } = request.query as { placed?: string };
      return answer(reply, visit, ordersPage(await visit.store.orders(), placed));
    });
  }

  #addDeeds(app: FastifyInstance, database: DatabaseUrls): void {
    app.post("/cart", async (request, reply) => {
      const visit = visitOf(request, database);
      const { product = "", quantity } = request.body as Record<string, string | undefined>;
      const wanted = Math.max(0, Math.min(99, Math.trunc(Number(quantity)) || 0));
      // The catalogue puts one more in, the cart says how many.
      await visit.store.putIntoCart(visit.draft, product, quantity === undefined ? "more" : wanted);
      return answer(reply, visit, "/cart");
    });

    app.post("/orders", async (request, reply) => {
      const { order = "" } = request.body as Record<string, string>;
      return this.#order(reply, visitOf(request, database), order);
    });
  }

  async #order(reply: FastifyReply, visit: Visit, order: string): Promise<FastifyReply> {
    if (!idPattern.test(order)) {
      return sendPage(reply.code(400), failurePage("No order", "This is not the id of an order."));
    }
    const untilMs = performance.now() + patienceMs;
    for (;;) {
      try {
        const isPlaced = await visit.store.place(order);
        // The next order is another one.
        if (visit.draft === order) visit.newDraft = randomUUID();
        if (!isPlaced) return answer(reply, visit, "/cart");
        this.placed++;
        return answer(reply, visit, `/orders?placed=${order}`);
      } catch (error) {
        // The statement itself is wrong, and stays so. Everything else may be no more than a leader that was lost.
        if (String((error as { code?: unknown }).code).startsWith("SQLITE_")) throw error;
        if (performance.now() > untilMs) break;
        this.repeated++;
        await sleep(100);
      }
    }
    return sendPage(reply.code(202), unknownPage(order));
  }
}

function visitOf(request: FastifyRequest, database: DatabaseUrls): Visit {
  const cookies = cookiesOf(request);
  const customer = cookies.get("customer") ?? "";
  const draft = cookies.get("draft") ?? "";
  const store = new Store(
    database,
    idPattern.test(customer) ? customer : randomUUID(),
    cookies.get("position") ?? "",
  );
  return { store, draft: idPattern.test(draft) ? draft : randomUUID(), newDraft: undefined };
}

/** A page, or a path to go on to; with the cookies as they are now. */
function answer(
  reply: FastifyReply,
  { store, draft, newDraft }: Visit,
  pageOrPath: string,
): FastifyReply {
  const year = 365 * 86_400;
  const cookies = [
    `customer=${store.customer}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${year}`,
    `draft=${newDraft ?? draft}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${year}`,
    `position=${store.position}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600`,
  ];
  reply.header("set-cookie", cookies);
  return pageOrPath.startsWith("/") ? reply.redirect(pageOrPath, 303) : sendPage(reply, pageOrPath);
}

function sendPage(reply: FastifyReply, text: string): FastifyReply {
  return reply.type("text/html; charset=utf-8").header("cache-control", "no-store").send(text);
}

function cookiesOf(request: FastifyRequest): Map<string, string> {
  const pairs = (request.headers.cookie ?? "").split(";").map((pair) => pair.trim().split("=", 2));
  return new Map(pairs.map(([name = "", value = ""]) => [name, value]));
}
