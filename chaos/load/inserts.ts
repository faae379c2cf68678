/**
 * Rows with a key of their own, (client, seq), each inserted once; the outcome of every one is remembered. Now and then
 * an acknowledged row is looked for at once, with a linearizable read through any node.
 */

import { Actor } from "./actor.ts";
import { type Ground, Home } from "./ground.ts";
import type { Hrana, Value } from "./hrana.ts";

export const insertsSchema =
  "CREATE TABLE written (client INTEGER, seq INTEGER, filler TEXT, PRIMARY KEY (client, seq)) WITHOUT ROWID";

const insertSql = "INSERT INTO written VALUES (?, ?, ?)";
const lookSql = "SELECT 1 FROM written WHERE client = ? AND seq = ?";
const marks = { pending: 0, ok: 1, failed: 2, unknown: 3 } as const;
const rowsPerCheck = 50_000;

type Client = {
  readonly id: number;
  readonly actor: Actor;
  readonly home: Home;
  seqs: number;
  marks: Uint8Array;
  /** Rows before this one have been looked at by `checkNew`. */
  checked: number;
};

export class Inserts {
  readonly #ground: Ground;
  readonly #clients: Client[] = [];

  constructor(ground: Ground, clients: number) {
    this.#ground = ground;
    for (let id = 0; id < clients; id++) {
      const actor = new Actor(ground.history, `row-${id}`);
      const home = new Home(ground, id);
      const client: Client = {
        ...{ id, actor, home, seqs: 0, marks: new Uint8Array(1024), checked: 0 },
      };
      this.#clients.push(client);
      ground.loop(() => this.#step(client));
    }
  }

  async #step(client: Client): Promise<void> {
    const { prng, recorder } = this.#ground;
    const { actor, home } = client;
    const key = `row/${client.id}`;
    const seq = client.seqs++;
    if (seq >= client.marks.length) {
      const grown = new Uint8Array(client.marks.length * 2);
      grown.set(client.marks);
      client.marks = grown;
    }
    const filler = "x".repeat(prng.chance(0.002) ? 20_000 : prng.integer(20, 160));
    const outcome = await actor.does({ op: "add", key, value: seq }, () =>
      home.node.ask({ statements: [{ sql: insertSql, args: [client.id, seq, filler] }] }),
    );
    client.marks[seq] = marks[outcome.type];
    recorder.write(outcome);
    if (outcome.type !== "ok") await home.retreat(outcome);
    else if (prng.chance(1 / 8)) await this.#lookFor(client, seq);
  }

  async #lookFor({ id, actor }: Client, seq: number): Promise<void> {
    const statements = [{ sql: lookSql, args: [id, seq] }];
    const outcome = await actor.does(
      { op: "look", key: `row/${id}` },
      () => this.#ground.any().ask({ statements, consistency: "linearizable" }),
      ({ rows }) => (rows[0]!.length === 0 ? null : seq),
    );
    if (outcome.type !== "ok") return;
    this.#ground.recorder.read("row");
    if (outcome.rows[0]!.length === 0) {
      this.#ground.recorder.violate("stale", `row ${id}/${seq} acknowledged, then not read`);
    }
  }

  /** Holds what a node has against what was said. `name` is for the report. */
  async check(name: string, node: Hrana): Promise<void> {
    await this.#check(name, node, () => 0);
  }

  /** The same for what was written since the last call. */
  async checkNew(name: string, node: Hrana): Promise<void> {
    // The last one of each may be under way, and stays to be looked at.
    const next = this.#clients.map(({ seqs }) => Math.max(0, seqs - 1));
    await this.#check(name, node, (client) => client.checked);
    for (const [i, client] of this.#clients.entries()) client.checked = next[i]!;
  }

  async #check(name: string, node: Hrana, from: (client: Client) => number): Promise<void> {
    const lost: string[] = [];
    const risen: string[] = [];
    for (const client of this.#clients) {
      // Marks first: what is acknowledged while we read need not be in what we read.
      const said = client.marks.slice(0, client.seqs);
      const has = await rowsOnNode(node, client.id, { from: from(client), to: said.length });
      for (let seq = from(client); seq < said.length; seq++) {
        if (said[seq] === marks.ok && has[seq] === 0) lost.push(`${client.id}/${seq}`);
        if (said[seq] === marks.failed && has[seq] === 1) risen.push(`${client.id}/${seq}`);
      }
    }
    const { recorder } = this.#ground;
    const such = (rows: readonly string[]) => `${rows.length} rows, such as ${rows.slice(0, 5)}`;
    if (lost.length > 0) {
      recorder.violate("lost", `${name} lacks acknowledged rows: ${such(lost)}`, lost.length);
    }
    if (risen.length > 0) {
      recorder.violate("risen", `${name} has refused rows: ${such(risen)}`, risen.length);
    }
  }
}

/** 1 for every row of a client that the node has, by seq. */
async function rowsOnNode(
  node: Hrana,
  client: number,
  { from, to }: { from: number; to: number },
): Promise<Uint8Array> {
  const has = new Uint8Array(to);
  for (let at = from; at < to; at += rowsPerCheck) {
    const rows = await rowsOf(node, selectSeqs, [client, at, at + rowsPerCheck]);
    for (const [seq] of rows) has[seq as number] = 1;
  }
  return has;
}

const selectSeqs = "SELECT seq FROM written WHERE client = ? AND seq >= ? AND seq < ?";

/** What this node itself has; tries for a while. For checks, when all is healed. */
export async function rowsOf(
  node: Hrana,
  sql: string,
  args: readonly Value[] = [],
): Promise<readonly (readonly Value[])[]> {
  for (let tries = 1; ; tries++) {
    const outcome = await node.ask({
      statements: [{ sql, args }],
      consistency: "stale",
      timeoutMs: 120_000,
    });
    if (outcome.type === "ok") return outcome.rows[0]!;
    if (tries === 5) throw new Error(`${sql}: ${outcome.code} ${outcome.message}`);
  }
}
