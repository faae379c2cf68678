/**
 * `paceline shell`: SQL by hand, on any node of a cluster.
 *
 * Three ways in: a prompt when a person is there, a script on standard input when not, and `-c`. A script stops at
 * its first failure; the prompt goes on. Not here: what a statement or a dot command prints (shell/).
 */

import { createInterface } from "node:readline";
import type { Command } from "commander";
import { messageOf } from "../base/errors.ts";
import { defaultUrl, Remote } from "./remote/remote.ts";
import { ShellSession } from "./shell/session.ts";
import { isComplete, statementsOf } from "./shell/statements.ts";
import { Failure, type Terminal } from "./terminal.ts";

type Flags = {
  readonly url: string;
  readonly command?: string;
  readonly consistency?: string;
  readonly ack?: string;
};

export function addShell(program: Command, terminal: Terminal): void {
  program
    .command("shell")
    .summary("run SQL on a node, at a prompt or from a script")
    .description(
      "Runs SQL on a node. Any node takes reads and writes; writes go to the leader by themselves. After each " +
        "statement it says which node answered, at which position of the replication log, and how long it took.",
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("-c, --command <sql>", "run this and leave")
    .option(
      "--consistency <how>",
      "freshness of reads: stale, session, bounded;maxLagMs=N, leader, linearizable",
    )
    .option(
      "--ack <level>",
      "copies a write waits for: leader, one, quorum, all, applied[;timeoutMs=N]",
    )
    .addHelpText(
      "after",
      `
Examples:
  paceline shell
  paceline shell --url http://127.0.0.1:7002 -c "SELECT count(*) FROM orders"
  paceline shell < schema.sql
At the prompt .help lists the dot commands. A statement ends with a semicolon and may have several lines.

Exit status: 0, or 1 when a statement of a script or of -c failed.`,
    )
    .action(async (flags: Flags) => {
      const session = new ShellSession(new Remote(flags.url), terminal, flags);
      try {
        if (flags.command !== undefined) await runScript(session, flags.command, terminal);
        else if (terminal.in.isTTY) await runPrompt(session, terminal);
        else await runScript(session, await readAll(terminal.in), terminal);
      } finally {
        await session.end();
      }
    });
}

/** Of a statement that failed, so much is shown. */
const shownLength = 100;

async function runScript(session: ShellSession, text: string, terminal: Terminal): Promise<void> {
  const statements = statementsOf(text);
  let end = 0;
  for (const [i, statement] of statements.entries()) {
    if (terminal.signal.aborted) throw new Failure("interrupted");
    const at = Math.max(text.indexOf(statement, end), end);
    end = at + statement.length;
    try {
      await session.run(statement);
    } catch (error) {
      if (statements.length === 1 || !(error instanceof Failure)) throw error;
      const line = text.slice(0, at).split("\n").length;
      const what = statement.replaceAll(/\s+/g, " ").slice(0, shownLength);
      const cut = what.length === shownLength ? "…" : "";
      const place = `statement ${i + 1}, line ${line}: ${error.message}`;
      const hint = [`in: ${what}${cut}`, ...(error.hint === undefined ? [] : [error.hint])];
      throw new Failure(place, hint.join("\n"), error.exitCode, { cause: error });
    }
  }
  if (session.inTransaction) {
    throw new Failure(
      "the script left its transaction open; it is rolled back",
      "End it with COMMIT.",
    );
  }
}

async function runPrompt(session: ShellSession, terminal: Terminal): Promise<void> {
  terminal.out.write(`${await session.greeting()}\n`);
  const lines = createInterface({ input: terminal.in, output: terminal.out, historySize: 1_000 });
  let pending = "";
  const prompt = (): void => {
    lines.setPrompt(pending === "" ? session.prompt() : "   ...> ");
    lines.prompt();
  };
  lines.on("SIGINT", () => {
    // As in other shells: Ctrl-C drops what was typed, Ctrl-D leaves.
    terminal.out.write(pending === "" && lines.line === "" ? "\n.quit or Ctrl-D leaves\n" : "\n");
    pending = "";
    lines.write(null, { ctrl: true, name: "u" });
    prompt();
  });
  terminal.signal.addEventListener("abort", () => lines.close(), { once: true });
  prompt();
  for await (const line of lines) {
    pending = pending === "" ? line : `${pending}\n${line}`;
    if (pending.trim() === "") pending = "";
    if (!isComplete(pending)) {
      prompt();
      continue;
    }
    const statements = statementsOf(pending);
    pending = "";
    for (const statement of statements) {
      if (!(await tryStatement(session, statement, terminal))) break;
    }
    if (session.ended) break;
    prompt();
  }
  lines.close();
}

async function tryStatement(
  session: ShellSession,
  statement: string,
  terminal: Terminal,
): Promise<boolean> {
  try {
    await session.run(statement);
    return !session.ended;
  } catch (error) {
    terminal.err.write(`error: ${messageOf(error)}\n`);
    const hint = error instanceof Failure ? error.hint : undefined;
    if (hint !== undefined) terminal.err.write(`  ${hint}\n`);
    return false;
  }
}

async function readAll(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}
