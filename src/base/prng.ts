/**
 * A small seeded generator (splitmix32). The only source of chance in the core: the same seed gives the same story.
 * Not for secrets; those come from `node:crypto` in the rooms that need them.
 */
export class Prng {
  /** Internal state, any 32-bit value. */
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0;
  }

  /** A 32-bit unsigned integer. */
  u32(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0;
    let z = this.#state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  }

  /** An integer in [from, to). */
  integer(from: number, to: number): number {
    return from + Math.floor((this.u32() / 0x1_0000_0000) * (to - from));
  }

  /** True with probability p. */
  chance(p: number): boolean {
    return this.u32() / 0x1_0000_0000 < p;
  }

  /** Of an exponential distribution with this mean: the pauses between events that know nothing of each other. */
  exponential(mean: number): number {
    return -Math.log(1 - this.u32() / 0x1_0000_0000) * mean;
  }

  /** A number that belongs to this moment, and no draw: all others stay what they are. */
  mark(): number {
    return new Prng(~this.#state).u32();
  }

  /** A generator of its own, so that a draw added in one component does not shift the others. */
  child(): Prng {
    return new Prng(this.u32());
  }
}
