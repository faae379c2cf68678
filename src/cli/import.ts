/**
 * `paceline import`: brings an existing SQLite database into a cluster.
 *
 * Not here: what is read (import/plan.ts) and how it is carried over (import/importer.ts).
 */

import type { Command } from "commander";
import { Importer } from "./import/importer.ts";
import { nodesOf, PatientSql } from "./import/patient.ts";
import { type Plan, planImport } from "./import/plan.ts";
import { Progress } from "./import/progress.ts";
import { openSource } from "./import/source.ts";
import { defaultUrl, Remote } from "./remote/remote.ts";
import { formatSeconds, plural, type Terminal } from "./terminal.ts";

type Flags = { readonly url: string; readonly replace?: boolean; readonly json?: boolean };

export function addImport(program: Command, terminal: Terminal): void {
  program
    .command("import")
    .summary("bring an existing SQLite database into the cluster")
    .description(
      "Copies a SQLite database into the cluster: tables, rows with their rowids, indexes, views and triggers. " +
        "The file is checked first and only read; programs may go on using it, and what they write after the start " +
        "of the import is not carried over. Nothing is done when something of the same name is in the cluster already.",
    )
    .argument("<file>", "a SQLite database file")
    .option("--url <url>", "a node of the cluster; any will do", defaultUrl())
    .option(
      "--replace",
      "drop what is in the way, with its rows; an import that fails does not bring it back",
    )
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Examples:
  paceline import shop.sqlite
  paceline import --url http://10.0.0.2:7001 --replace shop.sqlite

SQL text is not imported directly. Build a database from it first:
  sqlite3 new.sqlite < dump.sql && paceline import new.sqlite

An import that fails or is interrupted (Ctrl-C) removes what it had created, and says so.

Exit status: 0 when everything is in the cluster.`,
    )
    .action(async (file: string, flags: Flags) => {
      const startMs = performance.now();
      const db = openSource(file);
      let progress: Progress | undefined;
      try {
        const plan = planImport(db);
        const remotes = await nodesOf(new Remote(flags.url));
        progress = new Progress(terminal, plan.rows);
        const note = (why: string): void => progress?.note(`waiting: ${why}`);
        const sql = new PatientSql(remotes, terminal.signal, note);
        await new Importer(db, plan, sql, progress).run(flags.replace === true);
        progress.stop();
        report(plan, sql.position, performance.now() - startMs, { flags, terminal });
      } finally {
        progress?.stop();
        db.close();
      }
    });
}

function report(
  plan: Plan,
  position: string | undefined,
  ms: number,
  { flags, terminal }: { readonly flags: Flags; readonly terminal: Terminal },
): void {
  const { tables, indexes, behaviours, rows } = plan;
  if (flags.json) {
    const seconds = Math.round(ms) / 1000;
    terminal.out.write(`${JSON.stringify({ tables: tables.length, rows, seconds, position })}\n`);
    return;
  }
  const others = indexes.length + behaviours.length;
  const more =
    others === 0
      ? ""
      : ` and ${plural(others, "index, view or trigger", "indexes, views and triggers")}`;
  terminal.out.write(
    `imported ${plural(tables.length, "table")} with ${plural(rows, "row")}${more} in ${formatSeconds(ms)}` +
      `${position === undefined ? "" : `; the cluster is at ${position}`}\n`,
  );
}
