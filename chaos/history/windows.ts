/**
 * Cuts the history into windows that can be checked one by one: the operations of one `family/number`. Clients go on to
 * the next number after a while, so a window is complete when the next one of its family has begun and nothing of its
 * own is open; then it is handed on and forgotten. So checks that search cost the same in every minute of a run.
 *
 * What cannot be seen this way: a cycle through several windows. Positions (positions.ts) are checked across them.
 */

import type { HistoryEvent } from "../../src/sim/checkers/history.ts";

/** Complete, in the order of the history. */
export type Window = { readonly key: string; readonly events: readonly HistoryEvent[] };

const windowed = /^(cell-\d+|list|bank|session)\/(\d+)$/;

type Filling = {
  readonly key: string;
  readonly number: number;
  readonly events: HistoryEvent[];
  open: number;
};

export class Windows {
  readonly #onWindow: (window: Window) => void;
  readonly #byFamily = new Map<string, Filling[]>();

  constructor(onWindow: (window: Window) => void) {
    this.#onWindow = onWindow;
  }

  add(event: HistoryEvent): void {
    const match = windowed.exec(event.key ?? "");
    if (match === null) return;
    const family = match[1]!;
    let all = this.#byFamily.get(family);
    if (all === undefined) {
      all = [];
      this.#byFamily.set(family, all);
    }
    let filling = all.find(({ key }) => key === event.key);
    if (filling === undefined) {
      filling = { key: event.key!, number: Number(match[2]), events: [], open: 0 };
      all.push(filling);
    }
    filling.events.push(event);
    filling.open += event.type === "invoke" ? 1 : -1;
    this.#handOn(all);
  }

  /** The end of the history: what is open stays open. */
  finish(): void {
    for (const all of this.#byFamily.values()) for (const filling of all) this.#onWindow(filling);
    this.#byFamily.clear();
  }

  #handOn(all: Filling[]): void {
    if (all.length < 2) return;
    const last = Math.max(...all.map(({ number }) => number));
    for (const filling of [...all]) {
      if (filling.number >= last || filling.open > 0) continue;
      all.splice(all.indexOf(filling), 1);
      this.#onWindow(filling);
    }
  }
}
