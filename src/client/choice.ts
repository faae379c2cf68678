/**
 * Which node a read goes to. A pure judgement over what is known now: the best first, and every node that could do it
 * at all in the list, so that the next one is at hand when the first fails.
 *
 *   first     followers that are fresh enough, by cost
 *   then      the leader, which has everything, and writes to do
 *   at last   followers that are too far behind or of unknown lag, unless the read set a bound
 *
 * The cost of a follower is the number of requests it has under way here. Being far away or behind counts as so many
 * requests more. The position that a read needs does not count: a follower in step reaches it within milliseconds, and
 * to prefer the one that was seen to have it would send all reads there (courier.ts gives up on one that is not).
 */

/** A node that answers and has a database. */
export type Candidate<Node> = {
  readonly node: Node;
  readonly leads: boolean;
  /** As of now, the age of what is known included. Undefined: unknown, which is never taken for zero. */
  readonly lagMs: number | undefined;
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
};

/** A node nearby is preferred until it has this many requests more. */
const farCost = 16;
/** This much lag weighs like one request. Less is nothing: it is the time since a node was asked, and not its fault. */
const lagCostMs = 500;

/** The candidates, best first. Those of equal cost keep their order. */
export function rank<Node>(candidates: readonly Candidate<Node>[], wish: ReadWish): Node[] {
  const usable = wish.bounded ? candidates.filter((c) => c.leads || isFresh(c, wish)) : candidates;
  return usable
    .map((candidate) => ({ ...candidate, tier: tierOf(candidate, wish) }))
    .sort((a, b) => a.tier - b.tier || costOf(a) - costOf(b))
    .map(({ node }) => node);
}

function tierOf<Node>(candidate: Candidate<Node>, wish: ReadWish): number {
  if (candidate.leads) return 1;
  return isFresh(candidate, wish) ? 0 : 2;
}

function isFresh<Node>({ lagMs }: Candidate<Node>, { maxLagMs }: ReadWish): boolean {
  return lagMs !== undefined && lagMs <= maxLagMs;
}

function costOf<Node>({ load, near, lagMs = 60_000 }: Candidate<Node>): number {
  return load + (near ? 0 : farCost) + Math.floor(lagMs / lagCostMs);
}
