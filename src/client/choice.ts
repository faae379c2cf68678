/**
 * Which node a read goes to. A pure judgement over what is known now: the best first, and every node that could do it
 * at all in the list, so that the next one is at hand when the first fails.
 *
 *   first     followers that are fresh enough, by cost
 *   then      the leader, which has everything, and writes to do
 *   at last   followers that are too far behind or of unknown lag, unless the read set a bound
 *
 * The cost of a follower is the number of requests it has under way here. Being far away, behind, or not known to have
 * the wanted position counts as so many requests more.
 */

/** A node that answers and has a database. */
export type Candidate<Node> = {
  readonly node: Node;
  readonly leads: boolean;
  /** As of now, the age of what is known included. Undefined: unknown, which is never taken for zero. */
  readonly lagMs: number | undefined;
  readonly appliedLsn: number;
  /** Requests under way. */
  readonly load: number;
  /** In the zone that is preferred. */
  readonly near: boolean;
};

export type ReadWish = {
  /** Above this a follower is too far behind. */
  readonly maxLagMs: number;
  /** The read may not be answered from an older state than maxLagMs at all. */
  readonly bounded: boolean;
  /** The position that the answer must have reached. */
  readonly minLsn: number;
};

/** A node nearby is preferred until it has this many requests more. */
const farCost = 16;
/** Waiting for a position takes about as long as this many short reads. */
const waitCost = 2;
/** This much lag weighs like one request. */
const lagCostMs = 100;

/** The candidates, best first. Those of equal cost keep their order. */
export function rank<Node>(candidates: readonly Candidate<Node>[], wish: ReadWish): Node[] {
  const usable = wish.bounded ? candidates.filter((c) => c.leads || isFresh(c, wish)) : candidates;
  return usable
    .map((candidate) => ({ ...candidate, tier: tierOf(candidate, wish) }))
    .sort((a, b) => a.tier - b.tier || costOf(a, wish) - costOf(b, wish))
    .map(({ node }) => node);
}

function tierOf<Node>(candidate: Candidate<Node>, wish: ReadWish): number {
  if (candidate.leads) return 1;
  return isFresh(candidate, wish) ? 0 : 2;
}

function isFresh<Node>({ lagMs }: Candidate<Node>, { maxLagMs }: ReadWish): boolean {
  return lagMs !== undefined && lagMs <= maxLagMs;
}

function costOf<Node>(candidate: Candidate<Node>, { minLsn }: ReadWish): number {
  const { load, near, lagMs = 60_000, appliedLsn } = candidate;
  const waits = appliedLsn < minLsn ? waitCost : 0;
  return load + (near ? 0 : farCost) + waits + Math.floor(lagMs / lagCostMs);
}
