/**
 * One list from one seed: a schema, then rows, transactions, PRAGMAs, nonsense and repetitions; and a way to send it.
 *
 *   each      every statement is a request of its own
 *   several   a few statements to a request
 *   batch     batches with conditions, some of them by a cursor
 *   script    several statements in one text
 *   mixed     all of these in turn
 *   streams   two or three streams in turn, each of them as `mixed`
 */

import { Prng } from "../../../../src/base/prng.ts";
import { pick } from "../../mutate.ts";
import type { Condition, List, Request, Send, Statement, Step } from "../list.ts";
import { Control } from "./control.ts";
import { Rows, type Written } from "./rows.ts";
import { Schema } from "./schema.ts";
import { boundValue, Values } from "./values.ts";
import { dressed } from "./words.ts";

export const ways = ["each", "several", "batch", "script", "mixed", "streams"] as const;
type Way = (typeof ways)[number];
/** Most statements travel in company, which is faster; `each` and `streams` take turns on the network. */
const wayChoices: readonly Way[] = [
  ...(["each", "several", "several", "several", "several", "batch", "batch", "script"] as const),
  ...(["mixed", "mixed", "streams"] as const),
];

/** `sound`: without what cannot be recorded as rows (schema.ts). */
export function listOf(seed: number, sound = false): List {
  const prng = new Prng(Math.imul(seed, 0x9e3779b1) ^ 0x5f356495);
  const prefix = `q${seed.toString(36)}_`;
  const way = pick(wayChoices, prng);
  const maker = new Maker(prng.child(), prefix, sound);
  const streams = way === "streams" ? prng.integer(2, 4) : 1;
  const statements = maker.statements(prng.integer(20, 60));
  const sends = sendsOf(statements, { way, streams, prng: prng.child() });
  return { seed, prefix, way, node: prng.chance(0.7) ? 0 : prng.integer(0, 3), sends };
}

class Maker {
  readonly #prng: Prng;
  readonly #schema: Schema;
  readonly #control: Control;
  /** Chance of odd words at each place: nothing for some lists, so that their statements get somewhere. */
  readonly #oddness: number;
  readonly #sent: Statement[] = [];

  constructor(prng: Prng, prefix: string, sound: boolean) {
    this.#prng = prng;
    this.#schema = new Schema(prng, prefix, sound);
    this.#control = new Control(prng, this.#schema);
    this.#oddness = pick([0, 0.01, 0.03, 0.08], prng);
  }

  statements(count: number): Statement[] {
    for (let i = this.#prng.integer(1, 4); i > 0; i--) {
      this.#add({ sql: this.#schema.table(), verb: "other" });
    }
    while (this.#sent.length < count) this.#next();
    return this.#sent;
  }

  #next(): void {
    const prng = this.#prng;
    const values = new Values(prng);
    const rows = new Rows(prng, this.#schema, values);
    const control = this.#control;
    const roll = prng.integer(0, 100);
    const add = (written: Written) => this.#add(written, values);
    if (roll < 32) add(rows.insert());
    else if (roll < 42) add(rows.update());
    else if (roll < 47) add(rows.remove());
    else if (roll < 60) add(rows.select());
    else if (roll < 68) add(control.probe());
    else if (roll < 80) this.#add(control.transaction());
    else if (roll < 86) this.#add({ sql: this.#schema.statement(), verb: "other" });
    else if (roll < 90) this.#add(control.pragma());
    else if (roll < 93) this.#again();
    else if (roll < 96) this.#add(control.nonsense(this.#sent.at(-1)?.plain ?? ""));
    else if (roll < 97) add(control.explain(rows.update().sql));
    else if (roll < 98) this.#add(control.refused());
    else this.#transactionOf(prng.integer(2, 6));
  }

  /** A whole transaction, more likely to get through than one by chance. */
  #transactionOf(length: number): void {
    this.#add(this.#control.begin());
    for (let i = 0; i < length; i++) {
      const values = new Values(this.#prng);
      const rows = new Rows(this.#prng, this.#schema, values);
      this.#add(this.#prng.chance(0.7) ? rows.insert() : rows.update(), values);
    }
    this.#add(this.#control.end());
  }

  /** The same text some more times, also of what failed, with the same values or others: statements are cached. */
  #again(): void {
    const withValues = this.#sent.slice(-12).filter(({ args }) => args.length > 0);
    const statement = pick(
      this.#prng.chance(0.7) && withValues.length > 0 ? withValues : this.#sent.slice(-6),
      this.#prng,
    );
    for (let times = this.#prng.integer(1, 4); times > 0; times--) {
      const args = statement.args.map(({ name }) => ({ name, value: boundValue(this.#prng) }));
      this.#sent.push(this.#prng.chance(0.3) ? statement : { ...statement, args });
    }
  }

  #add(written: Written, values = new Values(this.#prng)): void {
    const { verb, reads } = written;
    const { sql, args, byName } = values.finish(written.sql);
    const isOdd = this.#prng.chance(0.6);
    const text = isOdd ? dressed(sql, this.#prng, this.#oddness) : sql;
    // A few have too few values.
    const lacks = args.length > 0 && this.#prng.chance(0.01);
    const given = lacks ? args.slice(1) : args;
    const statement = { sql: text, plain: sql, args: given, byName, verb, lacks };
    this.#sent.push(reads === true && text === sql ? { ...statement, reads } : statement);
  }
}

type Sending = { readonly way: Way; readonly streams: number; readonly prng: Prng };

function sendsOf(statements: readonly Statement[], { way, streams, prng }: Sending): Send[] {
  const sends: Send[] = [];
  let at = 0;
  while (at < statements.length) {
    const stream = prng.integer(0, streams);
    const one = way === "each" || (way === "streams" && prng.chance(0.6));
    const length = one ? 1 : prng.integer(2, 14);
    const part = statements.slice(at, at + length);
    at += length;
    if (!one && (way === "batch" || way === "mixed") && prng.chance(0.2)) {
      const { steps } = requestOf("batch", part, prng);
      sends.push({ stream, requests: [{ type: "cursor", steps }], closes: false });
      continue;
    }
    const requests = one ? [requestOf("execute", part, prng)] : requestsOf(part, way, prng);
    if (prng.chance(0.05)) requests.push({ type: "get_autocommit", steps: [] });
    sends.push({ stream, requests, closes: prng.chance(0.04) });
  }
  for (let stream = 0; stream < streams; stream++) {
    sends.push({ stream, requests: [{ type: "get_autocommit", steps: [] }], closes: true });
  }
  return sends;
}

function requestsOf(statements: readonly Statement[], way: Way, prng: Prng): Request[] {
  const requests: Request[] = [];
  let at = 0;
  while (at < statements.length) {
    const type = typeOf(way, prng);
    const length = type === "execute" ? 1 : prng.integer(1, 7);
    requests.push(requestOf(type, statements.slice(at, at + length), prng));
    at += length;
  }
  return requests;
}

function typeOf(way: Way, prng: Prng): "execute" | "batch" | "sequence" {
  if (way === "batch") return "batch";
  if (way === "script") return "sequence";
  if (way === "several") return "execute";
  return pick(["execute", "execute", "execute", "batch", "sequence"] as const, prng);
}

function requestOf(
  type: "execute" | "batch" | "sequence",
  statements: readonly Statement[],
  prng: Prng,
): Request {
  const [only] = statements;
  if (type === "execute" && only !== undefined && prng.chance(0.02) && !/pragma/i.test(only.sql)) {
    return { type: "describe", steps: [{ statement: only }] };
  }
  // In a script, parameters are NULL.
  const steps = statements.map((statement, at): Step => {
    const isAlone = type === "sequence";
    const plain = isAlone ? { ...statement, args: [] } : statement;
    return { statement: plain, condition: type === "batch" ? conditionOf(at, prng) : undefined };
  });
  return { type, steps };
}

function conditionOf(at: number, prng: Prng): Condition | undefined {
  if (at === 0 || prng.chance(0.6)) return undefined;
  if (prng.chance(0.6)) return { type: "ok", step: at - 1 };
  if (prng.chance(0.4)) return { type: "error", step: prng.integer(0, at) };
  const is: Condition = { type: "is_autocommit" };
  const ok: Condition = { type: "ok", step: prng.integer(0, at) };
  return pick([is, { type: "not", cond: is }, { type: "or", conds: [ok, is] }] as const, prng);
}
