/**
 * Plays one list on both sides, request by request: first the cluster, then the stock connection of the same stream.
 * In the end every copy must have what the stock database has.
 *
 * SQLite allows one writer. While one stream of a list has a transaction open, the others only read: a write of
 * theirs is left out on both sides, because a node lets it wait where stock SQLite answers SQLITE_BUSY.
 */

import { rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Answer, difference } from "./answers.ts";
import { contentOf, type Wish } from "./content.ts";
import type { Ground } from "./ground.ts";
import type { List, Request, Send, Step } from "./list.ts";
import {
  asksRowid,
  countsNotes,
  findsFirst,
  isManyBeforeBad,
  isRefusedByKind,
} from "./refusals.ts";
import { StockStream } from "./stock.ts";
import { countOfSend, printed, printedSend, shown } from "./texts.ts";
import type { WireStream } from "./wire.ts";

export type Difference = {
  /** What differs, in a few words that other lists with the same fault share. */
  readonly what: string;
  readonly detail: string;
};

export type Played = {
  /** Statements that were compared. */
  readonly statements: number;
  readonly difference?: Difference | undefined;
};

/** Something came between that has to do with others: the list is to be played again, alone. */
export class Disturbed extends Error {
  override readonly name = "Disturbed";
}

/** Answers that are about the cluster or its other clients, not about the statement. */
const passing = new Set([
  ...["NO_LEADER", "NOT_LEADER", "NOT_READY", "OVERLOADED", "UNKNOWN_OUTCOME", "STREAM_EXPIRED"],
  ...["TRANSACTION_TIMEOUT", "STATEMENT_TIMEOUT", "SQLITE_BUSY", "BATON_INVALID", "TOO_STALE"],
]);
/** One list in so many has its tables checked by integrity_check, which takes time. */
const checkedEvery = 8;

/** `alone`: no other list is on its way. */
export async function playList(list: List, ground: Ground, alone: boolean): Promise<Played> {
  const play = new Play(list, ground, alone);
  let played: Played;
  try {
    played = await play.run();
  } catch (error) {
    if (error instanceof Disturbed) {
      await play.end().catch(() => {});
      throw error;
    }
    played = { statements: 0, difference: brokenOff(error) };
  }
  try {
    await play.end();
  } catch (error) {
    played = { ...played, difference: played.difference ?? brokenOff(error) };
  }
  return played;
}

function brokenOff(error: unknown): Difference {
  const { message, stack } = error as Error;
  return { what: `it broke off: ${message.replace(/\bq\w+|\d+/g, "…")}`, detail: String(stack) };
}

type Pair = { ours: WireStream; stock: StockStream };

class Play {
  readonly #list: List;
  readonly #ground: Ground;
  readonly #pairs = new Map<number, Pair>();
  readonly #isAlone: boolean;
  readonly #file: string;
  #position: string | undefined;
  #statements = 0;
  /**
   * A script was refused half-way under a log kind, and nobody can say where; or SQLite took a rowid by chance: from
   * here on only the copies are compared.
   */
  #isLost = false;

  constructor(list: List, ground: Ground, alone: boolean) {
    this.#list = list;
    this.#isAlone = alone;
    this.#ground = ground;
    this.#file = join(ground.dir, `${list.prefix}.sqlite`);
  }

  async run(): Promise<Played> {
    for (const send of this.#list.sends) {
      if (this.#mustWait(send)) continue;
      const found = await this.#send(send);
      if (found !== undefined) return { statements: this.#statements, difference: found };
      if (this.#isLost) break;
    }
    await this.#closeStreams();
    return { statements: this.#statements, difference: await this.#compareCopies() };
  }

  /** Leaves nothing behind, on either side. */
  async end(): Promise<void> {
    await this.#closeStreams();
    for (const suffix of ["", "-wal", "-shm"]) rmSync(this.#file + suffix, { force: true });
    await this.#ground.remove(this.#list.prefix, this.#position);
  }

  /** Another stream of the list has a transaction open, and this may write. */
  #mustWait({ stream, requests }: Send): boolean {
    const isHeld = [...this.#pairs].some(([id, { stock }]) => id !== stream && stock.isOpen);
    const isReading = ({ type, steps }: Request) =>
      type === "get_autocommit" || steps.every(({ statement }) => statement.reads === true);
    return isHeld && !requests.every(isReading);
  }

  async #send(send: Send): Promise<Difference | undefined> {
    const { stock, ours } = this.#pair(send.stream);
    const answers = await ours.run(send);
    this.#position = ours.position ?? this.#position;
    for (const [at, request] of send.requests.entries()) {
      const found = this.#compare(request, answers[at] ?? [], stock);
      if (found !== undefined) {
        const { detail, what } = found;
        return { what, detail: `${detail}\nin ${printedSend(send)}` };
      }
      if (this.#isLost) return undefined;
    }
    this.#statements += countOfSend(send);
    if (send.closes) {
      stock.close();
      this.#pairs.delete(send.stream);
    }
    return undefined;
  }

  #compare(request: Request, ours: readonly Answer[], stock: StockStream): Difference | undefined {
    const isRecorded = this.#ground.kind !== "pages";
    const isLogical = isRecorded && this.#ground.kind !== "changes";
    const isBlocked = (at: number) => {
      const answer = ours[at];
      return answer?.type === "error" && isRefusedByKind(answer.code, answer.message);
    };
    const isScript = request.type === "sequence";
    const expected = stock.run(request, (at) => isLogical && !isScript && isBlocked(at));
    const isOther = isRecorded && request.steps.some(({ statement }) => findsFirst(statement.sql));
    if (stock.isByChance || isOther) {
      this.#isLost = true;
      return undefined;
    }
    for (const [at, theirs] of expected.entries()) {
      const mine = ours[at] ?? { type: "skipped" };
      if (isLogical && isScript && isStoppedByKind(mine, theirs)) {
        this.#isLost = true;
        return undefined;
      }
      if (isLogical && isBlocked(at)) continue;
      const what = difference(mine, theirs);
      // What recording asks of the schema in advance decides which of several errors SQLite sees first.
      if (isRecorded && what === "message") continue;
      const text = request.steps[at]?.statement.sql ?? "";
      if (isRecorded && what === "rows" && countsNotes(text)) continue;
      if (isLogical && what === "rows" && asksRowid(text)) continue;
      if (what === undefined || isAllowed(mine, theirs, request.steps[at])) continue;
      const step = request.steps[isScript ? 0 : at];
      const sql = step === undefined ? request.type : shown(step.statement.sql);
      if (mine.type === "error" && (passing.has(mine.code) || this.#isOfOthers(mine, sql))) {
        throw new Disturbed(`${mine.code} ${mine.message}`);
      }
      const detail = `${request.type} ${sql}\n  ours:  ${told(mine)}\n  stock: ${told(theirs)}`;
      return { what: `${what}: ${kindOf(mine)} / ${kindOf(theirs)}`, detail };
    }
    return undefined;
  }

  /** ALTER TABLE looks at the whole schema, and fails for triggers and views of other lists, too. */
  #isOfOthers({ message }: { message: string }, sql: string): boolean {
    if (this.#isAlone) return false;
    const names = message.match(/\bq[0-9a-z]+_\w+/gi) ?? [];
    const isNamed = names.some((name) => !name.toLowerCase().startsWith(this.#list.prefix));
    return isNamed || (/\balter\b/i.test(sql) && message === "SQL logic error");
  }

  async #compareCopies(): Promise<Difference | undefined> {
    const { kind, copies } = this.#ground;
    await this.#ground.applied(this.#position);
    // A CHECK may be about a hidden rowid, which copies of a logical kind do not share.
    const checked = kind === "pages" && this.#list.seed % checkedEvery === 0;
    const wish = { prefix: this.#list.prefix, checked };
    const options = { readBigInts: true, returnArrays: true } as const;
    const quoting = { enableDoubleQuotedStringLiterals: true };
    const stock = new DatabaseSync(this.#file, { ...options, ...quoting });
    const isExact = (name: string) =>
      name.startsWith("node") && (kind === "pages" || kind === "changes");
    const of = (db: DatabaseSync, exact: boolean) => contentOf(db, { ...wish, exact } as Wish);
    const isLost = this.#isLost || hasChosen(of(stock, false), printed(this.#list));
    try {
      for (const { name, db } of copies) {
        const exact = isExact(name);
        const right = isLost ? of(copies[0]!.db, exact) : of(stock, exact);
        const found = of(db, exact);
        if (found === right) continue;
        return {
          what: `content of ${name.slice(0, 7)}`,
          detail: lineDifference(name, found, right),
        };
      }
    } finally {
      stock.close();
    }
    return undefined;
  }

  #pair(stream: number): Pair {
    const known = this.#pairs.get(stream);
    if (known !== undefined) return known;
    const stock = new StockStream(this.#file, this.#ground.foreignKeys);
    const pair = { ours: this.#ground.stream(this.#list.node), stock };
    this.#pairs.set(stream, pair);
    return pair;
  }

  async #closeStreams(): Promise<void> {
    for (const [stream, { ours, stock }] of this.#pairs) {
      stock.close();
      await ours.run({ stream, requests: [], closes: true });
    }
    this.#pairs.clear();
  }
}

/** Both are errors, and the protocol's comes first. */
function isAllowed(ours: Answer, stock: Answer, step: Step | undefined): boolean {
  if (ours.type !== "error" || stock.type !== "error" || step === undefined) return false;
  return isManyBeforeBad(ours.code, stock.code, step.statement.sql);
}

/** A script stopped at a statement that the log kind refuses, wherever that was; the stock connection did not. */
function isStoppedByKind(ours: Answer, stock: Answer): boolean {
  if (ours.type !== "error" || !isRefusedByKind(ours.code, ours.message)) return false;
  return difference(ours, stock) !== undefined || ours.message.includes("log kind");
}

/** Numbers that no text of the list has: rowids that SQLite chose by chance, most likely. */
function hasChosen(content: string, list: string): boolean {
  return (content.match(/\b\d{16,19}\b/g) ?? []).some((number) => !list.includes(number));
}

function told(answer: Answer): string {
  return JSON.stringify(answer).slice(0, 1_000);
}

function kindOf(answer: Answer): string {
  return answer.type === "error" ? answer.code : answer.type;
}

/** The lines that one has and the other has not. */
function lineDifference(name: string, found: string, right: string): string {
  const [ours, theirs] = [found.split("\n"), right.split("\n")];
  const lacking = theirs.filter((line) => !ours.includes(line)).slice(0, 5);
  const extra = ours.filter((line) => !theirs.includes(line)).slice(0, 5);
  const order =
    lacking.length + extra.length === 0 ? "\n  the same rows in another order or number" : "";
  return `${name} lacks ${JSON.stringify(lacking)}\n  and has ${JSON.stringify(extra)}${order}`;
}
