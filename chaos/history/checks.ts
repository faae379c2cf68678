/**
 * All checks over the history: positions of every event at once, and windows in a thread of their own, so that no
 * search ever delays the clock of the recorder.
 *
 * `finish` is bounded: a check that does not come to an end counts as undecided, which fails the run.
 */

import { Worker } from "node:worker_threads";
import type { HistoryEvent } from "../../src/sim/checkers/history.ts";
import { PositionOracle } from "./positions.ts";
import { type Finding, kindOf, type WindowVerdict } from "./verdicts.ts";
import { Windows } from "./windows.ts";

const checkerMain = new URL("checker-main.ts", import.meta.url);
const finishMs = 300_000;

export type Checked = {
  /** Windows that were checked, by family. */
  readonly windows: Readonly<Record<string, number>>;
  /** Operations in them. */
  readonly operations: number;
  /** Reads whose position was held against everything told before. */
  readonly linearizablePositions: number;
};

export class HistoryChecks {
  readonly #onFinding: (finding: Finding) => void;
  readonly #oracle: PositionOracle;
  readonly #windows: Windows;
  readonly #worker: Worker;
  readonly #windowsByFamily: Record<string, number> = {};
  #operations = 0;
  #pending = 0;
  #ended = Promise.withResolvers<void>();
  #finishing = false;

  constructor(onFinding: (finding: Finding) => void) {
    this.#onFinding = onFinding;
    this.#oracle = new PositionOracle((name, text) =>
      onFinding({ kind: kindOf(name), text: `${name}: ${text}`, count: 1 }),
    );
    this.#windows = new Windows((window) => {
      const family = window.key.replace(/[-/].*/, "");
      this.#windowsByFamily[family] = (this.#windowsByFamily[family] ?? 0) + 1;
      this.#pending++;
      this.#worker.postMessage(window);
    });
    this.#worker = new Worker(checkerMain);
    this.#worker.on("message", (verdict: WindowVerdict) => this.#onVerdict(verdict));
    this.#worker.on("error", (error: unknown) => {
      onFinding({ kind: "undecided", text: `the checker ended: ${String(error)}`, count: 1 });
      this.#ended.resolve();
    });
  }

  /** Windows that wait for their verdict. */
  get pending(): number {
    return this.#pending;
  }

  add(event: HistoryEvent): void {
    this.#oracle.add(event);
    this.#windows.add(event);
  }

  /** The end of the history; resolves when every window has its verdict. */
  async finish(): Promise<Checked> {
    this.#finishing = true;
    this.#windows.finish();
    if (this.#pending === 0) this.#ended.resolve();
    const timer = setTimeout(() => {
      const text = `${this.#pending} windows are not checked after ${finishMs} ms`;
      this.#onFinding({ kind: "undecided", text, count: this.#pending });
      this.#ended.resolve();
    }, finishMs);
    await this.#ended.promise;
    clearTimeout(timer);
    await this.#worker.terminate();
    return {
      windows: this.#windowsByFamily,
      operations: this.#operations,
      linearizablePositions: this.#oracle.linearizable,
    };
  }

  /** Leaves what is under way. */
  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  #onVerdict({ operations, findings }: WindowVerdict): void {
    this.#pending--;
    this.#operations += operations;
    for (const finding of findings) this.#onFinding(finding);
    if (this.#finishing && this.#pending === 0) this.#ended.resolve();
  }
}
