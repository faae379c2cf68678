/**
 * Answering the clients of a batch whose entry is committed and applied here, or that only read: at once, or when the
 * write has as many copies as its client asked for.
 */

import type { UnitOutcome } from "../../db/sql/request.ts";
import type { EntryId } from "../../vocabulary.ts";
import type { Ack, AckLevel } from "../rule/ack.ts";
import type { WriteItem } from "./queue.ts";

export type Answered = {
  readonly outcomes: readonly UnitOutcome[];
  readonly position: EntryId;
  /** Handle of the transaction that the last of them left open. */
  readonly session: string | undefined;
  /** The commit rule that was followed; undefined when nothing was written. */
  readonly acked: AckLevel | undefined;
  /** Resolves with the copies of the entry once they are as many as `ack` asks for. Throws ClientError. */
  reached(ack: Ack): Promise<AckLevel>;
};

export function answer(items: readonly WriteItem[], answered: Answered): void {
  const { outcomes, position, acked } = answered;
  for (const [i, item] of items.entries()) {
    const { results, connection, overtaken } = outcomes[i]!;
    const session = i === items.length - 1 ? answered.session : undefined;
    const told = { results, position, session, connection, overtaken };
    if (acked === undefined || item.ack === undefined) item.resolve({ ...told, acked });
    else {
      const reached = answered.reached(item.ack);
      reached.then((level) => item.resolve({ ...told, acked: level }), item.reject);
    }
  }
}
