/**
 * `paceline …`: hands the streams and signals of this process to the command.
 *
 * Ctrl-C asks a verb that has something to put in order (start, router, import, shell) to end, and ends the others.
 * What runs until it is told to stop (start, router) does not stop because its terminal, or whoever reads its output,
 * has gone away: SIGHUP and a broken standard output are no reason for a node to leave its cluster.
 */

import { interrupted } from "./local/interrupt.ts";
import { run } from "./program.ts";

const args = process.argv.slice(2);
const serves = ["start", "router"].includes(args[0] ?? "");
const tidiesUp = serves || ["import", "shell"].includes(args[0] ?? "");

let ending: AbortSignal | undefined;
// An import first checks its file. No listener is called while SQLite does that, and nothing is to be tidied up yet.
if (args[0] !== "import") listen();
// Without a listener Node opens a debugger, to anybody on this machine.
process.on("SIGUSR1", () => {});
if (serves) lastsWithoutOutput();
// Whoever reads us may have read enough: `paceline status | head -1`.
else process.stdout.on("error", () => process.exit(0));

const status = await run(args, {
  in: process.stdin,
  out: process.stdout,
  err: process.stderr,
  get signal() {
    return listen();
  },
});
// A verb that is done is done, whatever connections are still kept alive. Output must be out first.
process.stdout.write("", () => process.exit(status));

function listen(): AbortSignal {
  if (ending !== undefined) return ending;
  if (serves) process.on("SIGHUP", ignoreHangUp);
  ending = interrupted(serves ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGHUP"], end);
  if (!tidiesUp) ending.addEventListener("abort", end);
  return ending;
}

function end(): void {
  process.exit(130);
}

/** `kill -HUP` asks for the configuration to be read again, or says that the terminal was closed. */
function ignoreHangUp(): void {
  const what = "SIGHUP is ignored: there is nothing to read again; SIGTERM stops";
  process.stdout.write(`${new Date().toISOString()} ${what}\n`);
}

/** The lines of a log that nobody takes are lost, and that is said once where it may still be heard. */
function lastsWithoutOutput(): void {
  let isTold = false;
  process.stderr.on("error", () => {});
  process.stdout.on("error", (error) => {
    if (isTold) return;
    isTold = true;
    const what = `standard output cannot be written (${error.message}); its lines are lost`;
    process.stderr.write(`${new Date().toISOString()} paceline: ${what}\n`);
  });
}
