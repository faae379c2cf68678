/** How far a run of seeds is, on standard error: a bar on a terminal, a line now and then elsewhere. */

import { SingleBar } from "cli-progress";

const lineEveryMs = 15_000;

export class Progress {
  readonly #bar: SingleBar | undefined;
  readonly #total: number;
  readonly #startedMs = performance.now();
  #done = 0;
  #failed = 0;
  #toldMs = performance.now();

  constructor(total: number) {
    this.#total = total;
    if (!process.stderr.isTTY) return;
    const format = "{bar} {value} of {total} seeds, {failed} failed, {eta_formatted} left";
    this.#bar = new SingleBar({ format, hideCursor: true, clearOnComplete: true });
    this.#bar.start(total, 0, { failed: 0 });
  }

  step(failed: number): void {
    this.#done++;
    this.#failed = failed;
    this.#bar?.update(this.#done, { failed });
    if (this.#bar !== undefined || performance.now() - this.#toldMs < lineEveryMs) return;
    this.#toldMs = performance.now();
    this.#line();
  }

  /** A line of its own above the bar. */
  tell(line: string): void {
    if (this.#bar !== undefined) process.stderr.write("\r\x1b[K");
    console.error(line);
  }

  end(): void {
    this.#bar?.stop();
    this.#line();
  }

  #line(): void {
    const seconds = ((performance.now() - this.#startedMs) / 1000).toFixed(1);
    console.error(
      `${this.#done} of ${this.#total} seeds after ${seconds} s, ${this.#failed} failed`,
    );
  }
}
