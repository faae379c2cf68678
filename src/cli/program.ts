/**
 * The command line as a whole: the verbs, and what an exit status means.
 *
 *   0 done   1 failed   2 used in the wrong way   130 interrupted
 */

import { Command, CommanderError } from "commander";
import { version } from "../version.ts";
import { addAdd } from "./add.ts";
import { addBackup } from "./archive/backup.ts";
import { addRestore } from "./archive/restore.ts";
import { addChanges } from "./changes/verb.ts";
import { addDiscarded } from "./discarded/verb.ts";
import { addImport } from "./import.ts";
import { addConfigure } from "./operate/configure.ts";
import { addMember } from "./operate/member.ts";
import { addPromote } from "./operate/promote.ts";
import { addRollForward } from "./operate/roll-forward.ts";
import { addRemove } from "./remove.ts";
import { addRouter } from "./routing/router.ts";
import { addShell } from "./shell.ts";
import { addStart } from "./start.ts";
import { addStatus } from "./status.ts";
import { addSwitchover } from "./switchover.ts";
import { printFailure, type Terminal } from "./terminal.ts";
import { addVerify } from "./verify.ts";

const help = `
A cluster on this machine, to try everything out:  npm start

Every verb explains itself, with examples:  paceline start --help`;

/** Runs one command. Resolves with its exit status and never throws. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const program = new Command("paceline")
    .description(
      "Identical copies of a SQLite database on several nodes; one leads, the others follow.",
    )
    .version(version)
    .exitOverride()
    .showHelpAfterError("(add --help for what the command takes, with examples)")
    .configureOutput({
      writeOut: (text) => terminal.out.write(text),
      writeErr: (text) => terminal.err.write(text),
    })
    .addHelpText("after", help);
  const verbs = [
    addStart,
    addRouter,
    addStatus,
    addShell,
    addImport,
    addVerify,
    addSwitchover,
    addConfigure,
    addDiscarded,
    addAdd,
    addRemove,
    addMember,
    addPromote,
    addRollForward,
    addBackup,
    addRestore,
    addChanges,
  ];
  for (const add of verbs) add(program, terminal);
  try {
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) return printFailure(terminal, error);
    // `paceline` alone shows the help as well, and that is no mistake of the user.
    return error.exitCode === 0 || error.code === "commander.help" ? 0 : 2;
  }
}
