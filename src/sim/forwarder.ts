/**
 * The simulated twin of node/route/forward.ts: requests from node to node, over the same network, as text.
 *
 * What is thrown when follows forward.ts, whose judgement of what broke off is the same.
 */

import { ClientError, type ErrorCode } from "../base/errors.ts";
import type { Unit } from "../db/sql/request.ts";
import { limits } from "../limits.ts";
import type { NodeStatus, NodeVerdict, VerifyWish } from "../node/report/node-status.ts";
import { brokenOff } from "../node/route/forward.ts";
import { decodeAnswer, encodeAnswer } from "../node/route/forward-wire.ts";
import type { Forwarding } from "../node/route/routing.ts";
import type { RunAnswer, RunOptions } from "../node/route/run.ts";
import type { RunningNode } from "../node/running-node.ts";
import { withoutTransaction } from "../node/write/transaction-errors.ts";
import type { NodeId } from "../vocabulary.ts";
import type { Network } from "./links.ts";
import type { Life } from "./scheduler.ts";

/** Who answers at an address now. */
export type Answering = (
  address: string,
) => { readonly id: NodeId; readonly life: Life; readonly node: RunningNode } | undefined;

type Pending = { readonly address: string; readonly break: (why: string) => void };

/** A request that nobody answers breaks off: sooner than a real one, so that stories end. */
const breakMs = 45_000;

export class SimForwarder implements Forwarding {
  readonly #self: NodeId;
  readonly #life: Life;
  readonly #network: Network;
  readonly #answering: Answering;
  readonly #pending = new Set<Pending>();

  constructor(self: NodeId, life: Life, network: Network, answering: Answering) {
    this.#self = self;
    this.#life = life;
    this.#network = network;
    this.#answering = answering;
  }

  run(address: string, unit: Unit, options: RunOptions): Promise<RunAnswer> {
    if (options.signal.aborted) {
      return Promise.reject(new ClientError("OVERLOADED", "given up before it was sent"));
    }
    const broken = (why: string) =>
      brokenOff(`the connection to ${address} broke off: ${why}`, unit, options);
    const { signal: _, ...plain } = options;
    const text = JSON.stringify({ unit, options: plain });
    const answered = this.#ask(address, broken, (node) => {
      const sent = JSON.parse(text) as { unit: Unit; options: Omit<RunOptions, "signal"> };
      const signal = new AbortController().signal;
      return node.parts.routing
        .runAsLeader(sent.unit, {
          ...sent.options,
          minPosition: sent.options.minPosition,
          session: sent.options.session,
          deadlineMs: sent.options.deadlineMs,
          signal,
        })
        .then(encodeAnswer);
    });
    return answered.then(decodeAnswer, (error: unknown) => {
      throw error instanceof ClientError ? withoutTransaction(error, options) : error;
    });
  }

  closeSession(address: string, session: string): void {
    this.#ask(address, refused, async (node) => {
      node.parts.routing.closeSession(session);
      return "";
    }).catch(() => {});
  }

  status(address: string): Promise<NodeStatus> {
    return this.#ask(address, refused, async (node) =>
      JSON.stringify(node.parts.report.local()),
    ).then((text) => JSON.parse(text) as NodeStatus);
  }

  verify(address: string, wish: VerifyWish): Promise<NodeVerdict> {
    return this.#ask(address, refused, async (node) =>
      JSON.stringify(await node.parts.report.verifyHere(wish)),
    ).then((text) => JSON.parse(text) as NodeVerdict);
  }

  /** Of the operations, a switchover. */
  async ask(
    address: string,
    sent: { readonly path: string; readonly body?: string | undefined },
  ): Promise<unknown> {
    if (sent.path !== "/admin/switchover") throw new ClientError("NOT_READY", "not simulated");
    const { to } = JSON.parse(sent.body ?? "{}") as { to?: NodeId };
    const text = await this.#ask(address, unknown, async (node) => {
      const leader = await node.switchover(to);
      if (leader === undefined) throw new ClientError("NO_LEADER", "the lead stays where it is");
      return JSON.stringify({ leader });
    });
    return JSON.parse(text) as unknown;
  }

  abandon(address: string): void {
    for (const pending of [...this.#pending]) {
      if (pending.address === address) pending.break("the connection was ended");
    }
  }

  async close(): Promise<void> {
    for (const pending of [...this.#pending]) pending.break("this node is stopping");
  }

  #ask(
    address: string,
    broken: (why: string) => ClientError,
    run: (node: RunningNode) => Promise<string>,
  ): Promise<string> {
    const { scheduler } = this.#network;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const pending: Pending = {
      address,
      break: (why) => {
        if (!this.#pending.delete(pending)) return;
        reject(broken(why));
      },
    };
    this.#pending.add(pending);
    const settle = (answer: () => void) => {
      if (this.#pending.delete(pending)) answer();
    };
    const refuse = (why: string) =>
      settle(() => reject(new ClientError("NOT_LEADER", `no connection to ${address}: ${why}`)));
    const target = this.#answering(address);
    if (target === undefined) {
      scheduler.after(this.#network.delayMs(), () => refuse("refused"), this.#life);
      return promise;
    }
    if (!this.#network.isOpen(this.#self, target.id) && this.#network.prng.chance(0.5)) {
      // No connection was open already, and none can be made.
      scheduler.after(limits.forwardConnectMs, () => refuse("timeout"), this.#life);
      return promise;
    }
    scheduler.after(breakMs, () => pending.break("timeout"), this.#life);
    const reset = () => scheduler.after(1, () => pending.break("reset"), this.#life);
    const arrive = () => {
      if (!this.#network.isOpen(this.#self, target.id)) return;
      run(target.node).then(
        (text) => this.#goBack(target, () => settle(() => resolve(text))),
        (error: unknown) => {
          if (!(error instanceof ClientError)) target.life.onThrown(error);
          else this.#goBack(target, () => settle(() => reject(copyOf(error))));
        },
      );
    };
    scheduler.after(
      this.#network.delayMs(),
      () => {
        if (!target.life.alive) return reset();
        scheduler.after(0, arrive, target.life);
      },
      this.#life,
    );
    return promise;
  }

  #goBack(target: { readonly id: NodeId; readonly life: Life }, settle: () => void): void {
    const { scheduler } = this.#network;
    if (!target.life.alive) return;
    scheduler.after(
      this.#network.delayMs(),
      () => {
        if (this.#network.isOpen(target.id, this.#self)) settle();
      },
      this.#life,
    );
  }
}

function refused(why: string): ClientError {
  return new ClientError("NOT_LEADER", why);
}

function unknown(why: string): ClientError {
  return new ClientError("UNKNOWN_OUTCOME", why);
}

function copyOf(error: ClientError): ClientError {
  return new ClientError(error.code as ErrorCode, error.message);
}
