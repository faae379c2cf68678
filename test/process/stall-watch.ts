/**
 * Imported into a node by a test (NODE_OPTIONS): writes a line to stderr whenever the event loop was held up for long.
 */

import { monitorEventLoopDelay } from "node:perf_hooks";
import { isMainThread } from "node:worker_threads";

const toldMs = 50;

if (isMainThread && process.argv.includes("start")) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  setInterval(() => {
    const ms = Math.round(delay.max / 1e6);
    if (ms >= toldMs) process.stderr.write(`held up for ${ms} ms\n`);
    delay.reset();
  }, 200).unref();
}
