/**
 * What statements learn from outside of the database: the clock and chance. Where statements travel, SQLite's own
 * functions are replaced on the connection by ones that remember each answer when a statement runs first, and give
 * the same answers, in the same order, when it runs again elsewhere. CURRENT_TIMESTAMP and its like are functions to
 * SQLite, also in a DEFAULT.
 *
 * The answers are SQLite's own: they are asked of a connection of its own, in memory, that has the original functions.
 *
 *   now     one moment per statement, as in SQLite
 *   pure    date('2026-01-01', '+1 day') is computed, not remembered: it is the same everywhere
 *   local   'localtime' and 'utc' depend on the machine's time zone, and are remembered
 *
 * A function, once replaced, stays so until the connection ends.
 */

import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { CorruptionError } from "../../base/errors.ts";
import type { SqlValue } from "../../changes/values.ts";

/** Which argument is a time. */
const clockFunctions: ReadonlyMap<string, number> = new Map([
  ["date", 0],
  ["time", 0],
  ["datetime", 0],
  ["julianday", 0],
  ["unixepoch", 0],
  ["strftime", 1],
  ["timediff", 0],
]);
const clockWords: ReadonlyMap<string, string> = new Map([
  ["current_timestamp", "SELECT datetime(?)"],
  ["current_date", "SELECT date(?)"],
  ["current_time", "SELECT time(?)"],
]);

export class Outside {
  readonly #own = new DatabaseSync(":memory:", { readBigInts: true, returnArrays: true });
  readonly #prepared = new Map<string, StatementSync>();
  /** The moment of the statement that runs, as text; asked for when it is first needed. */
  #now: string | undefined;
  #answers: SqlValue[] = [];
  /** What is still to be given; undefined while answers are made and remembered. */
  #given: SqlValue[] | undefined;
  /** Asked for more answers than there were. */
  #ranOut = false;

  constructor(db: DatabaseSync) {
    for (const [name, timeAt] of clockFunctions) {
      const call = (...args: SQLInputValue[]) => this.#clock(name, timeAt, args);
      db.function(name, { varargs: true, deterministic: true, useBigIntArguments: true }, call);
    }
    for (const [name, sql] of clockWords) {
      db.function(name, { deterministic: true }, () =>
        this.#remember(() => this.#ask(sql, [this.#moment()])),
      );
    }
    db.function("random", {}, () => this.#remember(() => this.#ask("SELECT random()", [])));
    db.function("randomblob", { useBigIntArguments: true }, (size: SQLInputValue) =>
      this.#remember(() => this.#ask("SELECT randomblob(?)", [size])),
    );
  }

  /** A statement begins that runs for the first time. */
  begin(): void {
    this.#now = undefined;
    this.#given = undefined;
    if (this.#answers.length > 0) this.#answers = [];
  }

  /** What it was told. */
  get answers(): SqlValue[] {
    return [...this.#answers];
  }

  /** A statement begins that is run again. */
  repeat(answers: readonly SqlValue[]): void {
    this.#given = [...answers];
    this.#ranOut = false;
  }

  /** It has ended. Throws CorruptionError when it did not ask for exactly what it had asked for before. */
  settle(): void {
    const left = this.#given?.length ?? 0;
    this.#given = undefined;
    if (this.#ranOut || left > 0) {
      const what = this.#ranOut ? "more often" : `${left} times less`;
      throw new CorruptionError(`a statement asked ${what} for clock or chance than on the leader`);
    }
  }

  #remember(ask: () => SqlValue): SqlValue {
    if (this.#given !== undefined) {
      const answer = this.#given.shift();
      if (answer === undefined) this.#ranOut = true;
      return answer ?? null;
    }
    const answer = ask();
    this.#answers.push(answer);
    return answer;
  }

  #clock(name: string, timeAt: number, args: SQLInputValue[]): SqlValue {
    const words = args.map(wordOf);
    const times = name === "timediff" ? [0, 1] : [timeAt];
    const isPure =
      times.every((at) => words[at] === undefined || /^(?:[-+.\d]|$)/.test(words[at])) &&
      args.length > timeAt &&
      !words.includes("localtime") &&
      !words.includes("utc");
    if (isPure) return this.#call(name, args);
    return this.#remember(() => {
      const moment = this.#moment();
      // A time that is absent, 'now', or only a wish for fractions of seconds, is the present moment.
      if (args.length <= timeAt) return this.#call(name, [...args, moment]);
      return this.#call(
        name,
        args.flatMap((arg, at) => {
          if (!times.includes(at)) return [arg];
          if (words[at] === "now") return [moment];
          return words[at]!.startsWith("subsec") ? [moment, arg] : [arg];
        }),
      );
    });
  }

  #call(name: string, args: SQLInputValue[]): SqlValue {
    return this.#ask(`SELECT ${name}(${args.map(() => "?").join()})`, args);
  }

  #moment(): string {
    this.#now ??= String(this.#ask("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')", []));
    return this.#now;
  }

  #ask(sql: string, args: SQLInputValue[]): SqlValue {
    let statement = this.#prepared.get(sql);
    if (statement === undefined) {
      statement = this.#own.prepare(sql);
      this.#prepared.set(sql, statement);
    }
    return (statement.get(...args) as unknown as SqlValue[])[0]!;
  }
}

/** An argument as SQLite compares it with its words; undefined for NULL. */
function wordOf(arg: SQLInputValue): string | undefined {
  if (arg === null) return undefined;
  const text = ArrayBuffer.isView(arg)
    ? Buffer.from(arg.buffer, arg.byteOffset, arg.byteLength)
    : arg;
  return String(text).trim().toLowerCase();
}
