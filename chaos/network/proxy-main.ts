/**
 * The proxy process: every connection between two nodes goes through it, none of a client's.
 *
 * One port per node. Rules are per ordered pair of nodes and apply to bytes, not to connections: what goes from a to b
 * is ruled by a→b, whoever opened the connection. Orders come from the parent as messages and are answered when they
 * are carried out. Without a parent it ends.
 */

import { connect, createServer, type Socket } from "node:net";
import { ownerOf } from "./connection-owner.ts";
import { Flow, openRule, type Rule } from "./flow.ts";

export type Order =
  | { readonly type: "listen"; readonly id: string; readonly port: number; readonly to: number }
  | { readonly type: "pid"; readonly id: string; readonly pid: number | undefined }
  | { readonly type: "rule"; readonly from: string; readonly to: string; readonly rule: Rule }
  /** New connections between the two are refused, by a reset. */
  | { readonly type: "refuse"; readonly pair: readonly [string, string]; readonly refuse: boolean }
  /** Resets all open connections between the two. */
  | { readonly type: "reset"; readonly pair: readonly [string, string] };

type Open = {
  readonly pair: readonly [string, string];
  readonly sockets: readonly [Socket, Socket];
  readonly flows: readonly [Flow, Flow];
};

const pidById = new Map<string, number>();
const ruleByPair = new Map<string, Rule>();
const refused = new Set<string>();
const open = new Set<Open>();

process.on("message", async ({ n, order }: { n: number; order: Order }) => {
  await carryOut(order);
  process.send?.({ n });
});
process.on("disconnect", () => process.exit(0));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => {});

async function carryOut(order: Order): Promise<void> {
  switch (order.type) {
    case "listen":
      return await listen(order.id, order.port, order.to);
    case "pid":
      if (order.pid === undefined) pidById.delete(order.id);
      else pidById.set(order.id, order.pid);
      return;
    case "rule":
      ruleByPair.set(`${order.from}>${order.to}`, order.rule);
      for (const { flows } of open) for (const flow of flows) flow.pump();
      return;
    case "refuse":
      if (order.refuse) refused.add(pairKey(order.pair));
      else refused.delete(pairKey(order.pair));
      return;
    case "reset":
      for (const { pair, sockets } of open) {
        if (pairKey(pair) !== pairKey(order.pair)) continue;
        for (const socket of sockets) socket.resetAndDestroy();
      }
      return;
  }
}

function listen(id: string, port: number, to: number): Promise<void> {
  const server = createServer({ noDelay: true, pauseOnConnect: true }, (near) => {
    const from = ownerOf(pidById, near.remotePort ?? 0, port);
    // Not one of the nodes, or gone already.
    if (from === undefined || refused.has(pairKey([from, id]))) {
      near.on("error", () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect({ port: to, host: "127.0.0.1", noDelay: true });
    far.on("error", () => near.resetAndDestroy());
    const rule = (a: string, b: string) => () => ruleByPair.get(`${a}>${b}`) ?? openRule;
    const flows = [
      new Flow(near, far, rule(from, id)),
      new Flow(far, near, rule(id, from)),
    ] as const;
    const one: Open = { pair: [from, id], sockets: [near, far], flows };
    open.add(one);
    near.on("close", () => forget(one));
    far.on("close", () => forget(one));
    near.resume();
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
}

function forget(one: Open): void {
  if (one.sockets.every((socket) => socket.destroyed)) open.delete(one);
}

function pairKey([a, b]: readonly [string, string]): string {
  return a < b ? `${a},${b}` : `${b},${a}`;
}
