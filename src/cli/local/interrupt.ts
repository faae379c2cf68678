/**
 * Ctrl-C, once and twice. The first asks for an orderly end; one that comes later ends at once.
 *
 * A terminal tells the whole foreground group, and our parent passes on what it is told as well [tools/bootstrap.js]:
 * one Ctrl-C may come twice.
 */

/** Two signals within this time are one. */
const sameMs = 500;

/** Aborted, with the signal as reason, by the first of `signals`. A later one calls `force`. */
export function interrupted(signals: readonly NodeJS.Signals[], force: () => void): AbortSignal {
  const ends = new AbortController();
  let sinceMs = 0;
  for (const signal of signals) {
    process.on(signal, () => {
      if (!ends.signal.aborted) {
        sinceMs = performance.now();
        ends.abort(signal);
      } else if (performance.now() - sinceMs > sameMs) {
        force();
      }
    });
  }
  return ends.signal;
}
