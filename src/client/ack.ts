/** How many copies a write has: what a program asks for, and what an answer says. */

/** How many copies a write waits for, beyond what the cluster's own rule asks. */
export type Ack = (typeof acks)[number];

const acks = ["leader", "one", "quorum", "all", "applied"] as const;

/** The header `paceline-acked`. Undefined when it is missing, or a word of a newer version. */
export function ackFrom(header: unknown): Ack | undefined {
  return acks.find((each) => each === header);
}
