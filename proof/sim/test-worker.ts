/** A worker that is told by the seed how to misbehave: 3 dies, 5 throws. */

import type { Order, Reply } from "./messages.ts";

const tell = (reply: Reply) => process.send!(reply);
process.on("message", ({ seed }: Order) => {
  if (seed === 3) process.exit(7);
  if (seed === 5) tell({ type: "thrown", seed, text: "as told" });
  else {
    const counts = { seed, ok: seed !== 6, simulatedMs: 360_000, faults: { kill: 1 }, acked: 2 };
    const violations = seed === 6 ? [{ invariant: "I5", text: "differs" }] : [];
    tell({
      type: "played",
      result: { ...counts, reads: 1, lost: 0, discarded: 0, stale: 0, violations } as never,
    });
  }
});
tell({ type: "ready" });
