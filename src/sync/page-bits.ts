/**
 * A set of page numbers, one bit each: 3 MiB for a database of 100 GiB.
 */
export class PageBits {
  /** Bit `pgno & 31` of word `pgno >>> 5`. */
  #words = new Uint32Array(64);
  #size = 0;
  /** No word before this one has a bit. */
  #firstWord = 0;

  get size(): number {
    return this.#size;
  }

  has(pgno: number): boolean {
    return ((this.#words[pgno >>> 5] ?? 0) & (1 << (pgno & 31))) !== 0;
  }

  add(pgno: number): void {
    const word = pgno >>> 5;
    if (this.has(pgno)) return;
    if (word >= this.#words.length) {
      const words = new Uint32Array(Math.max(word + 1, this.#words.length * 2));
      words.set(this.#words);
      this.#words = words;
    }
    this.#words[word]! |= 1 << (pgno & 31);
    this.#size += 1;
    this.#firstWord = Math.min(this.#firstWord, word);
  }

  delete(pgno: number): void {
    if (!this.has(pgno)) return;
    this.#words[pgno >>> 5]! &= ~(1 << (pgno & 31));
    this.#size -= 1;
  }

  /** Adds all of [from, to). */
  addRange(from: number, to: number): void {
    for (let pgno = from; pgno < to; pgno++) this.add(pgno);
  }

  deleteAbove(pgno: number): void {
    const end = this.#words.length * 32;
    for (let above = pgno + 1; above < end && this.#size > 0; above++) {
      // Whole empty words are stepped over; what is left of a set is often far apart.
      if ((above & 31) === 0 && this.#words[above >>> 5] === 0) above += 31;
      else this.delete(above);
    }
  }

  /** Removes the lowest `count` numbers, or all there are, and gives them in ascending order. */
  take(count: number): Uint32Array {
    const taken = new Uint32Array(Math.min(count, this.#size));
    let at = 0;
    while (at < taken.length) {
      const bits = this.#words[this.#firstWord]!;
      if (bits === 0) {
        this.#firstWord += 1;
        continue;
      }
      const pgno = this.#firstWord * 32 + (31 - Math.clz32(bits & -bits));
      taken[at++] = pgno;
      this.delete(pgno);
    }
    return taken;
  }
}
