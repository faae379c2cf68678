/**
 * `paceline import`: brings an existing SQLite database into a cluster.
 *
 * Not here: what is read (import/plan.ts) and how it is carried over (import/importer.ts).
 */

import type { Command } from "commander";
import { limits } from "../limits.ts";
import { type Orphans, orphansIn } from "./import/foreign-keys.ts";
import { Importer } from "./import/importer.ts";
import { ledgersLeft } from "./import/ledger.ts";
import { nodesOf, PatientSql } from "./import/patient.ts";
import { type Plan, planImport } from "./import/plan.ts";
import { Progress } from "./import/progress.ts";
import { openSource } from "./import/source.ts";
import { defaultUrl, Remote } from "./remote/remote.ts";
import { Failure, formatSeconds, plural, type Terminal } from "./terminal.ts";

type Flags = {
  readonly url: string;
  readonly replace?: boolean;
  readonly strict?: boolean;
  readonly json?: boolean;
};

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
    .option("--strict", "refuse a file with rows whose foreign keys name no row")
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Examples:
  paceline import shop.sqlite
  paceline import --url http://10.0.0.2:7001 --replace shop.sqlite

SQL text is not imported directly. Build a database from it first:
  sqlite3 new.sqlite < dump.sql && paceline import new.sqlite

Values and rows may have up to ${limits.valueBytesMax / 2 ** 20} MiB. Full-text indexes (FTS5) arrive with the rows
and the settings that they have.
Rows whose foreign keys name no row are imported as they are, and told.

An import that fails or is interrupted (Ctrl-C) removes what it had created, and says so. One that is killed leaves
its tables and a table paceline_import_…; import again with --replace, and drop that one.

Exit status: 0 when everything is in the cluster.`,
    )
    .action(async (file: string, flags: Flags) => {
      await importFile(file, flags, terminal);
    });
}

async function importFile(file: string, flags: Flags, terminal: Terminal): Promise<void> {
  const startMs = performance.now();
  const db = openSource(file, (text) => terminal.err.write(`${text}\n`));
  let progress: Progress | undefined;
  try {
    const plan = planImport(db, file);
    const orphans = orphansIn(db);
    if (orphans.text !== "" && flags.strict) throw new Failure(orphans.text, "Nothing was done.");
    const remotes = await nodesOf(new Remote(flags.url));
    const total = { rows: 0, bytes: 0 };
    for (const { rows, bytes } of plan.tables) {
      total.rows += rows;
      total.bytes += bytes;
    }
    progress = new Progress(terminal, total.rows, "rows", total.bytes);
    const note = (why: string): void => progress?.note(why);
    const sql = new PatientSql(remotes, terminal.signal, (why) => note(`waiting: ${why}`));
    for (const name of await ledgersLeft(sql)) {
      note(
        `there is a table ${name}: of an import under way, or of one that was killed; drop it then`,
      );
    }
    await new Importer(db, plan, sql, progress).run(flags.replace === true);
    progress.stop();
    if (orphans.text !== "") terminal.err.write(`imported as it is in the file: ${orphans.text}\n`);
    const ms = performance.now() - startMs;
    report(plan, { position: sql.position, ms, orphans }, { flags, terminal });
  } finally {
    progress?.stop();
    db.close();
  }
}

type Outcome = {
  readonly position: string | undefined;
  readonly ms: number;
  readonly orphans: Orphans;
};

function report(
  plan: Plan,
  { position, ms, orphans }: Outcome,
  { flags, terminal }: { readonly flags: Flags; readonly terminal: Terminal },
): void {
  const { tables, indexes, behaviours, rows } = plan;
  if (flags.json) {
    const seconds = Math.round(ms) / 1000;
    const foreignKeyViolations = orphans.count;
    const outcome = { tables: tables.length, rows, seconds, position, foreignKeyViolations };
    terminal.out.write(`${JSON.stringify(outcome)}\n`);
    return;
  }
  const count = (type: string): number => behaviours.filter((piece) => piece.type === type).length;
  const parts = [
    plural(rows, "row"),
    ...(indexes.length === 0 ? [] : [plural(indexes.length, "index", "indexes")]),
    ...["view", "trigger"].flatMap((type) => (count(type) === 0 ? [] : plural(count(type), type))),
  ];
  const last = parts.pop()!;
  const list = parts.length === 0 ? last : `${parts.join(", ")} and ${last}`;
  terminal.out.write(
    `imported ${plural(tables.length, "table")} with ${list} in ${formatSeconds(ms)}` +
      `${position === undefined ? "" : `; the cluster is at ${position}`}\n`,
  );
}
