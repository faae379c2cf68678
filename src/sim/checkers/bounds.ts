/**
 * Between which two numbers a sum may lie that a read saw, when amounts are added to it concurrently: what had ended
 * before the read began is in it, what began after the read ended is not, everything else may be or not.
 */

import type { Operation } from "./operations.ts";

/** A closed range. */
export type Range = { readonly least: number; readonly most: number };

export class SumBounds {
  readonly #start: number;
  /** Amounts above zero and below zero, by when they may have happened and by when they must have. */
  readonly #upMay = new Timeline();
  readonly #upMust = new Timeline();
  readonly #downMay = new Timeline();
  readonly #downMust = new Timeline();

  constructor(start: number) {
    this.#start = start;
  }

  /** An operation adds an amount. One that failed must not be given. */
  add(operation: Operation, amount: number): void {
    (amount > 0 ? this.#upMay : this.#downMay).add(operation.invokedAt, amount);
    if (operation.outcome !== "ok") return;
    (amount > 0 ? this.#upMust : this.#downMust).add(operation.returnedAt, amount);
  }

  /** What a read may give. */
  at(read: Operation): Range {
    const { invokedAt, returnedAt } = read;
    return {
      least: this.#start + this.#upMust.before(invokedAt) + this.#downMay.before(returnedAt),
      most: this.#start + this.#upMay.before(returnedAt) + this.#downMust.before(invokedAt),
    };
  }
}

/** Amounts at times, and their sum before a time. */
class Timeline {
  readonly #amounts: { readonly at: number; readonly amount: number }[] = [];
  /** Sums of all amounts up to each; rebuilt when something was added since. */
  #sums: number[] = [];

  add(at: number, amount: number): void {
    this.#amounts.push({ at, amount });
  }

  before(time: number): number {
    if (this.#sums.length !== this.#amounts.length) {
      this.#amounts.sort((a, b) => a.at - b.at);
      let sum = 0;
      this.#sums = this.#amounts.map(({ amount }) => (sum += amount));
    }
    let from = 0;
    let to = this.#amounts.length;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.#amounts[middle]!.at < time) from = middle + 1;
      else to = middle;
    }
    return from === 0 ? 0 : this.#sums[from - 1]!;
  }
}
