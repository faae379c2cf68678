/**
 * Connections and requests of the server as things with a life: how many there are, when each is over, how long a
 * client may leave its answer untaken, and how all of it comes to an end.
 */

import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FastifyInstance } from "fastify";
import { ClientError } from "../../base/errors.ts";
import type { Clock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { FinishedRequest } from "../metrics/node-metrics.ts";

export class Traffic {
  /** Called when a request is over, answered or not. Set once, before requests come. */
  onFinished: (request: FinishedRequest) => void = () => {};
  readonly #app: FastifyInstance;
  readonly #clock: Pick<Clock, "nowMs" | "after">;
  readonly #sockets = new Set<Socket>();
  readonly #underWay = new Set<ServerResponse>();
  #draining = false;
  #onDrained: () => void = () => {};

  constructor(app: FastifyInstance, clock: Pick<Clock, "nowMs" | "after">) {
    this.#app = app;
    this.#clock = clock;
    app.server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#followRequests();
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Takes nothing new, waits for what is under way, then ends every connection. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#app.server.close();
    this.#app.server.closeIdleConnections();
    if (this.#underWay.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(limits.httpDrainMs, resolve);
        this.#onDrained = () => {
          cancel();
          resolve();
        };
      });
    }
    for (const socket of [...this.#sockets]) socket.destroy();
  }

  #followRequests(): void {
    this.#app.addHook("onRequest", async (request, reply) => {
      const startedMs = this.#clock.nowMs();
      this.#underWay.add(reply.raw);
      reply.raw.once("close", () => {
        this.#underWay.delete(reply.raw);
        this.onFinished({
          method: request.method,
          route: request.routeOptions.url ?? "unknown",
          status: reply.raw.statusCode,
          seconds: (this.#clock.nowMs() - startedMs) / 1000,
        });
        if (this.#draining && this.#underWay.size === 0) this.#onDrained();
      });
      if (!this.#draining) return;
      reply.header("connection", "close");
      throw new ClientError("NOT_READY", "this node is stopping");
    });
    this.#app.addHook("onSend", async (_request, reply, payload) => {
      if (this.#draining) reply.header("connection", "close");
      // Without progress Node destroys the connection. The timeout ends with the answer.
      reply.raw.setTimeout(limits.httpStalledMs);
      return payload;
    });
  }
}
