/**
 * Registers with several writers each: reads, writes and comparisons through all nodes, checked by search for
 * linearizability and against the positions. Keys rotate, so that every search stays small.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Actor } from "./actor.ts";
import { type Ground, Home } from "./ground.ts";
import type { Outcome, Statement } from "./hrana.ts";

export const cellsSchema = "CREATE TABLE cell (k INTEGER PRIMARY KEY, v INTEGER NOT NULL)";

const clientsPerGroup = 4;
const operationsPerKey = 400;
const betweenMs = 25;
/** So that keys of groups do not meet. */
const groupSpan = 1_000_000;

const readSql = "SELECT v FROM cell WHERE k = ?";
const writeSql = "INSERT INTO cell VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET v = excluded.v";
const swapSql = "UPDATE cell SET v = ? WHERE k = ? AND v = ? RETURNING v";

type Group = { readonly id: number; operations: number; values: number; last: number };
type Client = { readonly actor: Actor; readonly home: Home };

export class Cells {
  readonly #ground: Ground;

  constructor(ground: Ground, groups: number) {
    this.#ground = ground;
    for (let id = 0; id < groups; id++) {
      const group: Group = { id, operations: 0, values: 0, last: 0 };
      for (let n = 0; n < clientsPerGroup; n++) {
        const actor = new Actor(ground.history, `cell-${id}-${n}`);
        const client = { actor, home: new Home(ground, id + n) };
        ground.loop(() => this.#step(group, client));
      }
    }
  }

  async #step(group: Group, { actor, home }: Client): Promise<void> {
    const { prng, recorder } = this.#ground;
    const number = Math.floor(group.operations++ / operationsPerKey);
    const key = `cell-${group.id}/${number}`;
    const k = group.id * groupSpan + number;
    const dice = prng.integer(0, 10);
    let outcome: Outcome;
    if (dice < 5) {
      const ask = { statements: [{ sql: readSql, args: [k] }], consistency: "linearizable" };
      outcome = await actor.does(
        { op: "read", key },
        () => this.#ground.any().ask(ask),
        ({ rows }) => rows[0]![0]?.[0] ?? null,
      );
      if (outcome.type === "ok") recorder.read("cell");
    } else if (dice < 8) {
      const value = ++group.values;
      outcome = await actor.does({ op: "write", key, value }, () =>
        ask(home, { sql: writeSql, args: [k, value] }),
      );
      if (outcome.type === "ok") group.last = value;
      recorder.write(outcome);
    } else {
      const [from, to] = [group.last, ++group.values];
      outcome = await actor.does(
        { op: "cas", key, value: [from, to] },
        () => ask(home, { sql: swapSql, args: [to, k, from] }),
        ({ rows }) => rows[0]!.length > 0,
      );
      const swapped = outcome.type !== "ok" || outcome.rows[0]!.length > 0;
      if (swapped) recorder.write(outcome);
      if (outcome.type === "ok" && swapped) group.last = to;
    }
    if (outcome.type === "ok") await sleep(betweenMs);
    else await home.retreat(outcome);
  }
}

function ask(home: Home, statement: Statement): Promise<Outcome> {
  return home.node.ask({ statements: [statement] });
}
