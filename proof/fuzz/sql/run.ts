/**
 * Plays many lists on one cluster, several at a time, so that they share its group commits and still must not notice
 * each other. What was disturbed by others is played again alone; what differs is shrunk, alone as well.
 */

import { Ground, type Kind } from "./ground.ts";
import type { List } from "./list.ts";
import { listOf, ways } from "./make/lists.ts";
import { type Difference, Disturbed, type Played, playList } from "./play.ts";
import { shrunk } from "./shrink.ts";
import { printed, renamed } from "./texts.ts";

export type SqlPlan = {
  readonly kind: Kind;
  readonly seed: number;
  readonly statements: number;
  /** Lists at a time. */
  readonly clients: number;
  /** Ends after so many different differences. */
  readonly findingsMax: number;
  readonly nodes?: number;
  /** Only this list. */
  readonly list?: number | undefined;
  tell?(line: string): void;
};

export type Finding = Difference & {
  readonly list: number;
  /** Statements that were compared before it was seen. */
  readonly after: number;
  /** The smallest list that shows it; undefined when it did not show again. */
  readonly smallest: string | undefined;
};

export type SqlReport = {
  readonly ok: boolean;
  readonly kind: Kind;
  readonly seed: number;
  readonly statements: number;
  readonly lists: number;
  readonly byWay: Readonly<Record<string, number>>;
  /** Lists that were played again alone, because of other clients. */
  readonly repeated: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly findings: readonly Finding[];
};

const shrunkMax = 6;
/** Words that tell one cause from another, in the smallest list that shows it. */
const telling = new RegExp(
  "\\b(?:FAIL|IGNORE|REPLACE|ROLLBACK|ABORT|RETURNING|TRIGGER|VIEW|BEGIN|SAVEPOINT|COMMIT|WITH|PRAGMA|batch|" +
    "sequence|describe|stream [1-9]|ALTER|DEFERRABLE|fts5|EXPLAIN)\\b|ufeff",
  "g",
);

/** Statements of the list with this number. Lists of different runs are different. */
export function seedOf(run: number, number: number): number {
  return run * 1_000_000 + number;
}

export async function fuzzSql(plan: SqlPlan): Promise<SqlReport> {
  const ground = await Ground.start(plan.kind, plan.nodes);
  try {
    return await new Run(plan, ground).play();
  } finally {
    await ground.stop();
  }
}

class Run {
  readonly #plan: SqlPlan;
  readonly #ground: Ground;
  readonly #turns = new Turns();
  readonly #findings: Finding[] = [];
  /** By what differs: how often it was shrunk, to see whether it has other causes as well. */
  readonly #shrunk = new Map<string, number>();
  readonly #causes = new Set<string>();
  readonly #byWay: Record<string, number> = Object.fromEntries(ways.map((way) => [way, 0]));
  readonly #startedMs = performance.now();
  #statements = 0;
  #lists = 0;
  #next = 0;
  #repeated = 0;
  #attempts = 0;

  constructor(plan: SqlPlan, ground: Ground) {
    this.#plan = plan;
    this.#ground = ground;
  }

  async play(): Promise<SqlReport> {
    const { kind, seed, clients, list } = this.#plan;
    if (list !== undefined) await this.#one(listOf(list, this.#isSound));
    else {
      const progress = setInterval(() => this.#tellProgress(), 5_000);
      await Promise.all(Array.from({ length: clients }, () => this.#client())).finally(() =>
        clearInterval(progress),
      );
      await this.#check();
    }
    const seconds = (performance.now() - this.#startedMs) / 1_000;
    return {
      ok: this.#findings.length === 0,
      ...{ kind, seed, statements: this.#statements, lists: this.#lists, byWay: this.#byWay },
      ...{ repeated: this.#repeated, seconds: Math.round(seconds) },
      ...{ perSecond: Math.round(this.#statements / seconds), findings: this.#findings },
    };
  }

  get #isSound(): boolean {
    return this.#plan.kind !== "pages";
  }

  get #isOver(): boolean {
    const { statements, findingsMax } = this.#plan;
    return this.#statements >= statements || this.#findings.length >= findingsMax;
  }

  async #client(): Promise<void> {
    while (!this.#isOver)
      await this.#one(listOf(seedOf(this.#plan.seed, this.#next++), this.#isSound));
  }

  async #one(list: List): Promise<void> {
    let played: Played;
    try {
      played = await this.#turns.shared(() => playList(list, this.#ground, false));
    } catch (error) {
      if (!(error instanceof Disturbed)) throw new Error(`list ${list.seed}`, { cause: error });
      this.#repeated++;
      played = await this.#turns.alone(() => this.#again(list));
    }
    this.#lists++;
    this.#statements += played.statements;
    this.#byWay[list.way]! += played.statements;
    if (played.difference !== undefined) await this.#found(list, played.difference);
  }

  /** Alone, a disturbance is a difference. */
  async #again(list: List): Promise<Played> {
    try {
      return await playList(list, this.#ground, true);
    } catch (error) {
      if (!(error instanceof Disturbed)) throw error;
      return { statements: 0, difference: { what: "disturbed", detail: error.message } };
    }
  }

  async #found(list: List, difference: Difference): Promise<void> {
    const times = this.#shrunk.get(difference.what) ?? 0;
    if (this.#isOver || times >= shrunkMax) return;
    this.#shrunk.set(difference.what, times + 1);
    const after = this.#statements;
    const smallest = await this.#turns.alone(async () => {
      // Under names of its own each time: what an attempt may leave behind is in nobody's way.
      const play = async (smaller: List) =>
        (await this.#again(renamed(smaller, `q${list.seed.toString(36)}a${this.#attempts++}_`)))
          .difference;
      const again = await play(list);
      return again === undefined ? undefined : shrunk(list, again, play);
    });
    const told = smallest?.difference ?? difference;
    const lines = smallest === undefined ? undefined : printed(smallest.list);
    const cause = `${told.what} ${[...new Set(lines?.match(telling))].sort().join(" ")}`;
    if (this.#causes.has(cause)) return;
    this.#causes.add(cause);
    this.#findings.push({ ...told, list: list.seed, after, smallest: lines });
    this.#plan.tell?.(findingText(this.#findings.at(-1)!, this.#plan.kind));
  }

  async #check(): Promise<void> {
    for (const { name, db } of this.#ground.copies) {
      const rows = db.prepare("PRAGMA integrity_check").all() as unknown as string[][];
      const text = rows.map(String).join("\n");
      if (text === "ok") continue;
      const difference = { what: "integrity_check", detail: `${name}: ${text}` };
      this.#findings.push({ ...difference, list: 0, after: this.#statements, smallest: undefined });
    }
  }

  #tellProgress(): void {
    const seconds = (performance.now() - this.#startedMs) / 1_000;
    const rate = this.#statements / seconds;
    const left = Math.max(0, this.#plan.statements - this.#statements) / rate;
    this.#plan.tell?.(
      `${this.#statements} of ${this.#plan.statements} statements, ${Math.round(rate)} per second, ` +
        `${this.#repeated} lists repeated, ${Math.round(left)} s left`,
    );
  }
}

export function findingText(finding: Finding, kind: Kind): string {
  const { what, detail, list, after, smallest } = finding;
  const again =
    smallest === undefined
      ? "It did not show when the list was played alone."
      : `The smallest list that shows it:\n${smallest}`;
  return (
    `\nDIFFERENCE after ${after} statements: ${what}\n${detail}\n${again}\n` +
    `npm run fuzz -- --only sql --kind ${kind} --list ${list}\n`
  );
}

/** Many may be at it together, or one alone; who wants to be alone goes first. */
class Turns {
  #inside = 0;
  #isAlone = false;
  readonly #waiting: { alone: boolean; go: () => void }[] = [];

  shared<T>(work: () => Promise<T>): Promise<T> {
    return this.#with(false, work);
  }

  alone<T>(work: () => Promise<T>): Promise<T> {
    return this.#with(true, work);
  }

  async #with<T>(alone: boolean, work: () => Promise<T>): Promise<T> {
    if (!this.#mayEnter(alone)) {
      const turn = new Promise<void>((go) => this.#waiting.push({ alone, go }));
      await turn;
    } else this.#enter(alone);
    try {
      return await work();
    } finally {
      this.#inside--;
      this.#isAlone = false;
      this.#admit();
    }
  }

  #mayEnter(alone: boolean): boolean {
    if (alone) return this.#inside === 0;
    return !this.#isAlone && !this.#waiting.some((other) => other.alone);
  }

  #enter(alone: boolean): void {
    this.#inside++;
    this.#isAlone = alone;
  }

  #admit(): void {
    this.#waiting.sort((a, b) => Number(b.alone) - Number(a.alone));
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (next.alone ? this.#inside > 0 : this.#isAlone) return;
      this.#waiting.shift();
      this.#enter(next.alone);
      next.go();
    }
  }
}
