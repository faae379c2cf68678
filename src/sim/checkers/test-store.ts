/**
 * A tiny strictly serializable store with concurrent clients, for tests of the checkers: what it records is right, so
 * every checker must pass it. Also the hand that writes bad histories.
 *
 * Every operation takes effect at one moment between its start and its end. Effects come in group commits, so that
 * several writes share an LSN; now and then the term rises; some answers get lost, before or after the effect, and some
 * operations are refused.
 */

import type { Prng } from "../../base/prng.ts";
import type { HistoryEvent, Json } from "./history.ts";
import { type Operation, pairHistory } from "./operations.ts";

/** What a client wants to do next. */
export type Wish = Pick<HistoryEvent, "op"> & { readonly key?: string; readonly value?: Json };

/** Changes the table, and says what the client gets; undefined refuses the operation. */
export type Effect = (table: Map<string, Json>, wish: Wish) => Json | undefined;

export type StoreOptions = {
  readonly prng: Prng;
  readonly clients: number;
  readonly operations: number;
  readonly wish: (client: number) => Wish;
  readonly effect: Effect;
  /** Chance that an operation ends in info; half of them had their effect. */
  readonly lost?: number;
  /** One write in each entry. */
  readonly alone?: boolean;
};

type Client = {
  wish: Wish | undefined;
  state: "idle" | "asked" | "done";
  answer: { output: Json | undefined; lsn: number; term: number } | undefined;
  process: number;
};

/** Runs clients against the store, and gives what a recorder saw. */
export function runStore(options: StoreOptions): HistoryEvent[] {
  const { prng, effect } = options;
  const table = new Map<string, Json>();
  const events: HistoryEvent[] = [];
  const clients = Array.from({ length: options.clients }, (_, process): Client => {
    return { wish: undefined, state: "idle", answer: undefined, process };
  });
  let [left, lsn, term, processes] = [options.operations, 1, 1, options.clients];
  const tell = (client: Client, type: HistoryEvent["type"], more: Partial<HistoryEvent>): void => {
    const { op, key } = client.wish!;
    const atNs = events.length * 1000;
    const plain = { key, value: undefined, node: undefined, term: undefined, lsn: undefined };
    events.push({ process: client.process, op, type, atNs, ...plain, ...more });
  };
  for (;;) {
    const busy = clients.filter(({ state }) => state !== "idle");
    if (left === 0 && busy.length === 0) return events;
    const client = clients[prng.integer(0, clients.length)]!;
    if (client.state === "idle" && left > 0) {
      left--;
      client.wish = options.wish(client.process);
      client.state = "asked";
      tell(client, "invoke", { value: client.wish.value });
    } else if (client.state === "asked") {
      if (prng.chance(0.01)) {
        term++;
        lsn++;
      }
      const asked = clients.filter(({ state }) => state === "asked");
      const group = options.alone ? [client] : asked.filter(() => prng.chance(0.6));
      // Reads come after the writes of the entry, as they read the state after it.
      group.sort((a, b) => Number(isRead(a.wish!)) - Number(isRead(b.wish!)));
      if (group.some(({ wish }) => !isRead(wish!))) lsn++;
      for (const member of group) {
        const isLost = prng.chance(options.lost ?? 0);
        if (isLost && prng.chance(0.5)) {
          tell(member, "info", {});
          member.process = processes++;
          member.state = "idle";
          continue;
        }
        const output = effect(table, member.wish!);
        member.answer = { output, lsn, term };
        member.state = "done";
        if (!isLost) continue;
        tell(member, "info", {});
        member.process = processes++;
        member.state = "idle";
      }
    } else if (client.state === "done") {
      const { output, ...position } = client.answer!;
      if (output === undefined) tell(client, "fail", {});
      else tell(client, "ok", { value: output, ...position });
      client.state = "idle";
    }
  }
}

/** The store, run and paired. */
export function runPaired(options: StoreOptions): Operation[] {
  return pairHistory(runStore(options));
}

function isRead({ op, value }: Wish): boolean {
  if (op === "txn") return (value as Json[][]).every((part) => part[0] === "r");
  return op === "read";
}

/** Registers, lists and transactions of parts, as in history.ts. */
export const tableEffect: Effect = (table, { op, key = "", value = null }) => {
  const append = (to: string, element: Json): void => {
    table.set(to, [...((table.get(to) ?? []) as Json[]), element]);
  };
  switch (op) {
    case "read":
      return table.get(key) ?? null;
    case "write":
      table.set(key, value);
      return true;
    case "append":
    case "add":
      append(key, value);
      return true;
    case "cas": {
      const [from, to] = value as [Json, Json];
      if ((table.get(key) ?? null) !== from) return false;
      table.set(key, to);
      return true;
    }
    default:
      return (value as [string, string, Json][]).map(([f, name, argument]) => {
        if (f === "append") append(name, argument);
        if (f === "w") table.set(name, argument);
        return f === "r" ? [f, name, table.get(name) ?? null] : [f, name, argument];
      });
  }
};

/** An operation of a history that is written by hand. */
export type Hand = {
  readonly p: number;
  readonly op: string;
  readonly key?: string;
  readonly in?: Json;
  readonly out?: Json;
  readonly type?: "ok" | "fail" | "info";
  /** Start and end, any numbers; one after the other by default. */
  readonly at?: readonly [number, number];
  /** LSN and term. */
  readonly pos?: readonly [number, number];
};

/** Operations from hand-made ones. Without `at` they happen one after the other. */
export function byHand(hands: readonly Hand[]): Operation[] {
  const events: HistoryEvent[] = [];
  for (const [
    i,
    { p, op, key, pos, at = [10 * i, 10 * i + 5], type = "ok", ...hand },
  ] of hands.entries()) {
    const same = { process: p, op, key, node: undefined };
    const none = { term: undefined, lsn: undefined };
    events.push({ ...same, ...none, type: "invoke", value: hand.in, atNs: at[0] });
    const position = { lsn: pos?.[0], term: pos?.[1] };
    const value = type === "ok" ? hand.out : undefined;
    events.push({ ...same, ...position, type, value, atNs: at[1] });
  }
  const rank = (event: HistoryEvent): number => (event.type === "invoke" ? 0 : 1);
  return pairHistory(events.sort((a, b) => a.atNs - b.atNs || rank(a) - rank(b)));
}
