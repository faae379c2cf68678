/** How the story of a run tells time, and how a run makes sure that nothing in it takes for ever. */

import { setTimeout as sleep } from "node:timers/promises";

/** Seconds since the start, for a line of the story. */
export function clock(ms: number): string {
  return `${(ms / 1000).toFixed(1).padStart(7)} s`;
}

/** The outcome of `work`, or an error that names it when time is up. What it does then is left under way. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  const timer = new AbortController();
  const late = sleep(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`${what} took longer than ${ms} ms`);
  });
  late.catch(() => {});
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
