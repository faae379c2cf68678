/**
 * `paceline …`: hands the streams and signals of this process to the command.
 *
 * Ctrl-C asks a verb that has something to put in order (start, router, import, shell) to end, and ends the others.
 */

import { run } from "./program.ts";

const ends = new AbortController();
const args = process.argv.slice(2);
const tidiesUp = ["start", "router", "import", "shell"].includes(args[0] ?? "");

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (!tidiesUp) process.exit(130);
    ends.abort(signal);
  });
}
// Whoever reads us may have read enough: `paceline status | head -1`.
process.stdout.on("error", () => process.exit(0));

const status = await run(args, {
  in: process.stdin,
  out: process.stdout,
  err: process.stderr,
  signal: ends.signal,
});
// A verb that is done is done, whatever connections are still kept alive. Output must be out first.
process.stdout.write("", () => process.exit(status));
