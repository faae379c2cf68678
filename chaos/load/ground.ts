/**
 * What every client of the load stands on, and how it chooses the node it talks to.
 */

import { setTimeout as sleep } from "node:timers/promises";
import type { Prng } from "../../src/base/prng.ts";
import type { History } from "../history/history.ts";
import { Hrana, type Outcome, type Plant } from "./hrana.ts";
import type { Recorder } from "./recorder.ts";

/** Requests after which a client tries another node though all is well. */
const movesEvery = 60;

export class Ground {
  readonly recorder: Recorder;
  readonly history: History;
  readonly prng: Prng;
  readonly #clients: readonly Hrana[];
  readonly #loops: Promise<void>[] = [];
  #stopped = false;

  /** `nodes` by name; a client of each is made here. */
  constructor(
    { recorder, history, prng }: Pick<Ground, "recorder" | "history" | "prng">,
    nodes: readonly { readonly id: string; readonly url: string }[],
    plant?: Plant,
  ) {
    this.recorder = recorder;
    this.history = history;
    this.prng = prng;
    this.#clients = nodes.map(({ id, url }) => new Hrana(url, { name: id, plant }));
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** A client of any node, also one that is down. */
  any(): Hrana {
    return this.#clients[this.prng.integer(0, this.#clients.length)]!;
  }

  /** Of the n-th node. */
  of(n: number): Hrana {
    return this.#clients[n % this.#clients.length]!;
  }

  /** Runs `step` again and again until the load is stopped. */
  loop(step: () => Promise<void>): void {
    const run = async () => {
      while (!this.#stopped) await step();
    };
    this.#loops.push(run());
  }

  /** Lets everyone finish what it is at. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#loops);
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
  }
}

/** The node that a client stays with while it answers. */
export class Home {
  readonly #ground: Ground;
  #at: number;
  #used = 0;

  constructor(ground: Ground, first: number) {
    this.#ground = ground;
    this.#at = first;
  }

  get node(): Hrana {
    if (++this.#used % movesEvery === 0) this.#at = this.#ground.prng.integer(0, 64);
    return this.#ground.of(this.#at);
  }

  /** It did not go well: waits a moment, and goes to the next one if this one did not answer at all. */
  async retreat(outcome: Outcome): Promise<void> {
    const answered = outcome.type === "ok" || outcome.answered;
    if (!answered) this.#at++;
    // A node that is down must not cost the others the machine.
    await sleep(this.#ground.prng.integer(5, answered ? 40 : 80));
  }
}
