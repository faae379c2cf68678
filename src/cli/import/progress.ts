/**
 * How far an import or a copy is: a bar for a person, a line every few seconds for a log. Always on standard error.
 */

import { SingleBar } from "cli-progress";
import { formatSeconds, type Terminal } from "../terminal.ts";

const lineEveryMs = 3_000;

export class Progress {
  readonly #terminal: Terminal;
  #total: number;
  /** What is counted, in the plural. */
  readonly #what: string;
  readonly #bar: SingleBar | undefined;
  #done = 0;
  readonly #startMs = performance.now();
  #lastLineMs = performance.now();

  constructor(terminal: Terminal, total: number, what = "rows") {
    this.#terminal = terminal;
    this.#total = total;
    this.#what = what;
    if (!terminal.err.isTTY) return;
    this.#bar = new SingleBar({
      format: `{bar} {percentage} %  {value}/{total} ${what}  {left}  {table}`,
      stream: terminal.err as NodeJS.WriteStream,
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      barCompleteChar: "█",
      barIncompleteChar: "░",
    });
    this.#bar.start(total, 0, { table: "", left: "" });
  }

  rows(count: number, table: string): void {
    this.#done += count;
    this.#bar?.update(this.#done, { table, left: this.#left() });
    if (this.#bar !== undefined) return;
    if (performance.now() - this.#lastLineMs < lineEveryMs) return;
    this.#lastLineMs = performance.now();
    const percent = Math.floor((100 * this.#done) / Math.max(1, this.#total));
    this.note(
      `${percent} %: ${this.#done} of ${this.#total} ${this.#what}${table === "" ? "" : `, in ${table}`}`,
    );
  }

  /** How long the rest of the rows will take at this pace; nothing before there is a pace. */
  #left(): string {
    const rest = this.#total - this.#done;
    if (this.#done === 0 || rest <= 0) return "";
    return `${formatSeconds(((performance.now() - this.#startMs) * rest) / this.#done)} left`;
  }

  /** There turned out to be more, or less. */
  total(total: number): void {
    if (total === this.#total) return;
    this.#total = total;
    this.#bar?.setTotal(total);
  }

  /** A line that stays. */
  note(text: string): void {
    if (this.#bar !== undefined) this.#terminal.err.write("\r\x1b[K");
    this.#terminal.err.write(`${text}\n`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
