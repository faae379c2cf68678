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
  program
    .command("version")
    .summary("print the version")
    .action(() => void terminal.out.write(`${version}\n`));
  markRequired(program);
  if (args.length === 0) {
    program.outputHelp();
    return 0;
  }
  try {
    await program.parseAsync([...args], { from: "user" });
    return 0;
  } catch (error) {
    if (!(error instanceof CommanderError)) return printFailure(terminal, error);
    return error.exitCode === 0 && error.code !== "commander.help" ? 0 : 2;
  }
}

/**
 * Required options are shown as such, and missed only when nothing else is wrong: whoever writes `--lsten` is told that
 * there is no such option, not that --listen is missing.
 */
function markRequired(command: Command): void {
  for (const below of command.commands) markRequired(below);
  const required = command.options.filter((option) => option.mandatory);
  if (required.length === 0) return;
  const operands = command.registeredArguments.map((argument) =>
    argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
  );
  command.usage([...operands, ...required.map((option) => option.flags), "[options]"].join(" "));
  for (const option of required) {
    option.mandatory = false;
    option.description += " (required)";
  }
  command.hook("preAction", () => {
    const missing = required.find((o) => command.getOptionValue(o.attributeName()) === undefined);
    if (missing === undefined) return;
    command.error(`error: required option '${missing.flags}' not specified`, {
      code: "commander.missingMandatoryOptionValue",
      exitCode: 2,
    });
  });
}
