/**
 * Arithmetic of majorities. Works on arrays of a handful of numbers and knows nothing of nodes.
 *
 * Invariant that everything rests on: any two majorities of one set share a member, and so do a majority of a set
 * and a majority of the same set with one member more or less [Raft thesis §4.1].
 */

import { assert } from "../base/assert.ts";

/** How many of `n` make a majority. */
export function majority(n: number): number {
  return Math.floor(n / 2) + 1;
}

/**
 * The highest value that a majority has reached: with the matched LSNs of all voters, the LSN that is on a majority
 * of disks. Minus infinity when there are no voters, so that nothing is ever reached by nobody. Sorts `values` in
 * place: it is called for every acknowledgement and does not allocate.
 */
export function reachedByMajority(values: number[]): number {
  return reachedBy(values, majority(values.length));
}

/** The highest value that `count` of them have reached. Sorts `values` in place. */
export function reachedBy(values: number[], count: number): number {
  const n = values.length;
  if (n === 0) return Number.NEGATIVE_INFINITY;
  for (let i = 1; i < n; i++) {
    const value = values[i]!;
    let j = i - 1;
    while (j >= 0 && values[j]! < value) {
      values[j + 1] = values[j]!;
      j--;
    }
    values[j + 1] = value;
  }
  return values[Math.min(count, n) - 1]!;
}

/**
 * How an election stands when that many of `voters` have answered. Reserved votes count only towards unanimity: they
 * come from voters who may have forgotten a promise, and only when everyone agrees is there nobody left to whom it
 * was given (election.ts).
 */
export function electionResult(votes: {
  readonly voters: number;
  readonly granted: number;
  readonly reserved: number;
  readonly refused: number;
}): "won" | "lost" | "open" {
  const { voters, granted, reserved, refused } = votes;
  assert(granted + reserved + refused <= voters, "more votes than voters");
  if (voters === 0) return "lost";
  if (granted >= majority(voters) || granted + reserved === voters) return "won";
  const isUnanimous = refused === 0;
  const grantedAtBest = voters - reserved - refused;
  return isUnanimous || grantedAtBest >= majority(voters) ? "open" : "lost";
}
