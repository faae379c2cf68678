/**
 * `paceline discarded`: what an asynchronous cluster lost and a node has kept: listed, shown as SQL, put back.
 */

import type { Command } from "commander";
import type { DiscardedChange, DiscardedStatement } from "../../node/discarded/contents.ts";
import { discardedName } from "../../node/discarded/discarded-store.ts";
import { Hrana } from "../remote/hrana.ts";
import { defaultUrl, Remote } from "../remote/remote.ts";
import { formatTable } from "../table.ts";
import { Failure, misuse, type Terminal } from "../terminal.ts";
import { replay } from "./replay.ts";
import { discardedSource } from "./source.ts";

type Flags = { readonly url: string; readonly dir?: string; readonly json?: boolean };

export function addDiscarded(program: Command, terminal: Terminal): void {
  const verb = program
    .command("discarded")
    .summary("list, show and replay writes that an asynchronous cluster lost")
    .description(
      "By commit rule leader, and rule one among more than three voters, a failover may lose the last writes. " +
        "A node that had them keeps them, before it takes in what the cluster has instead.",
    )
    .addHelpText("after", examples);
  addList(verb, terminal);
  addShow(verb, terminal);
  addReplay(verb, terminal);
}

function addList(verb: Command, terminal: Terminal): void {
  withPlace(
    verb.command("list").description("Lists what the nodes of a cluster have kept."),
  ).action(async (flags: Flags) => {
    const list = await discardedSource(flags.url, flags.dir).list();
    if (flags.json === true) {
      terminal.out.write(`${JSON.stringify(list)}\n`);
      return;
    }
    if (list.length === 0) {
      terminal.out.write("nothing was discarded\n");
      return;
    }
    const columns = ["name", "node", "from", "to", "entries", "statements", "changes", "when", ""];
    const rows = list.map((each) => [
      ...[each.name, each.node, each.from, each.to],
      ...[each.entries, each.statements, each.changes].map(String),
      new Date(each.discardedAtMs).toISOString(),
      each.maybe ? "the cluster may have some of it" : "",
    ]);
    terminal.out.write(`${formatTable(columns, rows, { right: [4, 5, 6] }).join("\n")}\n`);
  });
}

function addShow(verb: Command, terminal: Terminal): void {
  withPlace(verb.command("show").description("Shows lost writes as SQL."))
    .argument("<name>", "as in the list: TERM-LSN")
    .option("--node <id>", "the node that kept it, if several did")
    .action(async (name: string, flags: Flags & { node?: string }) => {
      checkName(name);
      const found = await discardedSource(flags.url, flags.dir).read(name, flags.node);
      if (flags.json === true) {
        terminal.out.write(`${JSON.stringify(found)}\n`);
        return;
      }
      const statements = found.statements as readonly DiscardedStatement[];
      for (const { position, sql, args, namedArgs } of statements) {
        const values =
          [...args, ...namedArgs].length === 0
            ? ""
            : `  ${JSON.stringify([...args, ...namedArgs])}`;
        terminal.out.write(`${position}  ${sql}${values}\n`);
      }
      for (const position of found.manifest.pagesOnly) {
        terminal.out.write(`${position}  (pages only: the cluster did not record SQL then)\n`);
      }
    });
}

function addReplay(verb: Command, terminal: Terminal): void {
  withPlace(
    verb.command("replay").description("Puts lost writes back, row by row, and reports conflicts."),
  )
    .argument("<name>", "as in the list: TERM-LSN")
    .option("--node <id>", "the node that kept it, if several did")
    .option("--unchecked", "also run statements that cannot be checked for conflicts")
    .action(async (name: string, flags: Flags & { node?: string; unchecked?: boolean }) => {
      checkName(name);
      const found = await discardedSource(flags.url, flags.dir).read(name, flags.node);
      const changes = found.changes as readonly DiscardedChange[];
      const hrana = new Hrana(new Remote(flags.url));
      const counts = { replayed: 0, "already there": 0, conflict: 0 };
      for await (const each of replay(hrana, changes, flags.unchecked === true)) {
        counts[each.outcome]++;
        const why = each.why === undefined ? "" : `: ${each.why}`;
        const line = `${each.position} transaction ${each.transaction}: ${each.outcome}${why}`;
        terminal.out.write(`${flags.json === true ? JSON.stringify(each) : line}\n`);
      }
      const left = found.manifest.pagesOnly.length;
      if (counts.conflict === 0 && left === 0) return;
      throw new Failure(
        `${counts.conflict} transactions in conflict, ${left} known only as pages; ` +
          `${counts.replayed} replayed, ${counts["already there"]} already there`,
        "What is in conflict was left alone: decide row by row, with paceline shell.",
      );
    });
}

function withPlace(command: Command): Command {
  return command
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--dir <dir>", "the data directory of a node, in place of asking the nodes")
    .option("--json", "print JSON, for programs");
}

function checkName(name: string): void {
  if (!discardedName.test(name))
    throw misuse(`"${name}" is not TERM-LSN`, "paceline discarded list");
}

const examples = `
Examples:
  paceline discarded list
  paceline discarded show 3-118
  paceline discarded replay 3-118
  paceline discarded show 3-118 --dir /var/lib/paceline      of a node that does not run

Replay changes a row only if it still is what it was before the lost write. It can be repeated.

Exit status: 0, or 1 when something could not be replayed.`;
