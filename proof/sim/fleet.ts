/**
 * Seeds over worker processes, one per core: each plays one seed at a time and gets the next when it has answered, so
 * that no core waits for another. A worker that dies, throws or hangs fails its seed and is replaced.
 */

import { type ChildProcess, fork } from "node:child_process";
import type { SeedOptions } from "../../src/sim/story/run.ts";
import type { Order, Reply, SeedResult } from "./messages.ts";

/** What came of one seed. */
export type Played =
  | { readonly type: "played"; readonly result: SeedResult }
  | { readonly type: "thrown"; readonly seed: number; readonly text: string };

export type FleetOptions = {
  readonly start: number;
  readonly count: number;
  readonly jobs: number;
  readonly story?: SeedOptions;
  /** Main module of a worker. */
  readonly worker?: URL;
  onPlayed(played: Played): void;
};

const workerMain = new URL("worker.ts", import.meta.url);

/** Real time; a seed takes 50 ms. One that takes this long will never end. */
const seedMaxMs = 120_000;

/** Plays the seeds `start` to `start + count - 1`; ends when all are told. */
export async function playSeeds(options: FleetOptions): Promise<void> {
  const { start, count, jobs, story = {}, worker = workerMain, onPlayed } = options;
  let next = start;
  const takeNext = () => (next < start + count ? next++ : undefined);
  const lines = Array.from({ length: Math.min(jobs, count) }, async () => {
    for (let seed = takeNext(); seed !== undefined; ) {
      const last = await new Worker(worker, story).play(seed, (played) => {
        onPlayed(played);
        return takeNext();
      });
      if (last === undefined) return;
      onPlayed(last);
      seed = takeNext();
    }
  });
  await Promise.all(lines);
}

class Worker {
  readonly #child: ChildProcess;
  readonly #story: SeedOptions;

  constructor(main: URL, story: SeedOptions) {
    this.#story = story;
    this.#child = fork(main, { stdio: "inherit" });
  }

  /** Plays seeds for as long as `onPlayed` gives the next one. What it returns ended the worker before that. */
  async play(
    first: number,
    onPlayed: (played: Played) => number | undefined,
  ): Promise<Played | undefined> {
    const { promise, resolve } = Promise.withResolvers<Played | undefined>();
    let seed = first;
    let timer: NodeJS.Timeout | undefined;
    const order = (next: number) => {
      seed = next;
      clearTimeout(timer);
      timer = setTimeout(() => fail(`not over after ${seedMaxMs / 1000} s`), seedMaxMs);
      this.#child.send({ seed: next, options: this.#story } satisfies Order);
    };
    const fail = (text: string) => resolve({ type: "thrown", seed, text });
    this.#child.on("message", (reply: Reply) => {
      if (reply.type === "ready") return order(seed);
      if (reply.type === "thrown") return fail(reply.text);
      const next = onPlayed(reply);
      if (next === undefined) resolve(undefined);
      else order(next);
    });
    this.#child.on("error", (error) => fail(error.message));
    this.#child.on("exit", (code, signal) => fail(`the worker ended: ${signal ?? code}`));
    const last = await promise;
    clearTimeout(timer);
    this.#child.kill("SIGKILL");
    return last;
  }
}
