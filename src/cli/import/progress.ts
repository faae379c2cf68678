/**
 * How far an import or a copy is: a bar for a person, a line every few seconds for a log. Always on standard error.
 */

import { SingleBar } from "cli-progress";
import { formatSeconds, type Terminal } from "../terminal.ts";

const lineEveryMs = 3_000;

/** A row costs something however short it is. */
const rowBytes = 32;

export class Progress {
  readonly #terminal: Terminal;
  #total: number;
  readonly #totalBytes: number;
  /** What is counted, in the plural. */
  readonly #what: string;
  readonly #bar: SingleBar | undefined;
  #done = 0;
  #doneBytes = 0;
  readonly #startMs = performance.now();
  #lastLineMs = performance.now();

  /** `bytes`: where things to count differ much in size, what they are together. */
  constructor(terminal: Terminal, total: number, what = "rows", bytes = 0) {
    this.#terminal = terminal;
    this.#total = total;
    this.#totalBytes = bytes;
    this.#what = what;
    if (!terminal.err.isTTY) return;
    this.#bar = new SingleBar({
      format: "{bar} {percentage} %  {count}  {left}  {table}",
      stream: terminal.err as NodeJS.WriteStream,
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      barCompleteChar: "█",
      barIncompleteChar: "░",
    });
    this.#bar.start(this.#work(total, bytes), 0, { count: this.#count(), table: "", left: "" });
  }

  rows(count: number, table: string): void {
    this.did(count, 0, table);
  }

  did(count: number, bytes: number, table: string): void {
    this.#done += count;
    this.#doneBytes += bytes;
    const work = this.#work(this.#done, this.#doneBytes);
    const left = this.#left(work);
    this.#bar?.update(work, { count: this.#count(), table, left });
    if (this.#bar !== undefined) return;
    if (performance.now() - this.#lastLineMs < lineEveryMs) return;
    this.#lastLineMs = performance.now();
    const percent = Math.min(100, Math.floor((100 * work) / this.#all));
    const where = table === "" ? "" : `, in ${table}`;
    this.note(`${percent} %: ${this.#count()}${where}${left === "" ? "" : `, ${left}`}`);
  }

  get #all(): number {
    return Math.max(1, this.#work(this.#total, this.#totalBytes));
  }

  #work(count: number, bytes: number): number {
    return this.#totalBytes === 0 ? count : bytes + rowBytes * count;
  }

  /** `622 of 15,607 rows, 3 of 70 MB`. */
  #count(): string {
    const text = (n: number): string => n.toLocaleString("en-US");
    const mb = (bytes: number): string => text(Math.round(bytes / 1_000_000));
    const counted = `${text(this.#done)} of ${text(this.#total)} ${this.#what}`;
    if (this.#totalBytes === 0) return counted;
    return `${counted}, ${mb(this.#doneBytes)} of ${mb(this.#totalBytes)} MB`;
  }

  /** How long the rest will take at this pace; nothing before there is a pace. */
  #left(work: number): string {
    const rest = this.#all - work;
    if (work === 0 || rest <= 0) return "";
    return `${formatSeconds(((performance.now() - this.#startMs) * rest) / work)} left`;
  }

  /** There turned out to be more, or less. */
  total(total: number): void {
    if (total === this.#total) return;
    this.#total = total;
    this.#bar?.setTotal(this.#all);
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
