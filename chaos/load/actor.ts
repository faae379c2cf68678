/**
 * A client as the history knows it: a process that does one thing at a time. After an operation whose end nobody knows
 * it goes on under another name, since that operation may still be under way.
 */

import type { HistoryEvent, Json } from "../../src/sim/checkers/history.ts";
import type { History } from "../history/history.ts";
import type { Outcome } from "./hrana.ts";

export type Doing = {
  readonly op: string;
  readonly key: string;
  readonly value?: Json | undefined;
  /** The position that a read asks for. */
  readonly asked?: string | undefined;
};

const typeByOutcome = { ok: "ok", failed: "fail", unknown: "info" } as const;

export class Actor {
  readonly #history: History;
  readonly #name: string;
  #lives = 0;

  constructor(history: History, name: string) {
    this.#history = history;
    this.#name = name;
  }

  /** Runs `ask`, with its start and its end in the history. `answer` is what the end says when it went well. */
  async does<O extends Outcome>(
    doing: Doing,
    ask: () => Promise<O>,
    answer?: (outcome: O & { type: "ok" }) => Json | undefined,
  ): Promise<O> {
    const process = this.#lives === 0 ? this.#name : `${this.#name}.${this.#lives}`;
    const { op, key, value } = doing;
    this.#history.tell({ process, op, key, type: "invoke", value, ...placeOf(doing.asked) });
    const outcome = await ask();
    const type: HistoryEvent["type"] = typeByOutcome[outcome.type];
    const same = { process, op, key, type, node: outcome.node };
    if (outcome.type === "ok") {
      const said = answer?.(outcome as O & { type: "ok" });
      this.#history.tell({ ...same, value: said, ...placeOf(outcome.position) });
    } else {
      this.#history.tell(same);
      if (outcome.type === "unknown") this.#lives++;
    }
    return outcome;
  }
}

/** Of a position such as 42@3. */
export function placeOf(position: string | undefined): { lsn?: number; term?: number } {
  const [lsn, term] = position?.split("@").map(Number) ?? [];
  return lsn === undefined || term === undefined ? {} : { lsn, term };
}
