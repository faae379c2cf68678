/**
 * `paceline changes`: what was committed, row by row, as it happens; to a pipe, or into a SQLite file.
 *
 * Not here: the stream's format (api/changes/), how it is read and read on (follow.ts).
 */

import type { Command } from "commander";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import { RowCopy } from "../../db/copy/row-copy.ts";
import { formatPosition, parsePosition } from "../../vocabulary.ts";
import { defaultUrl } from "../remote/remote.ts";
import { Failure, misuse, plural, type Terminal } from "../terminal.ts";
import { copySteps } from "./copy-steps.ts";
import { type ChangeEvent, followChanges } from "./follow.ts";

type Flags = {
  readonly url: string;
  readonly from?: string;
  readonly tables?: string;
  readonly into?: string;
  readonly until?: string;
};

export function addChanges(program: Command, terminal: Terminal): void {
  program
    .command("changes")
    .summary("follow what is committed, row by row")
    .description(
      "Prints the changes of committed transactions as JSON, one line per entry of the log, until Ctrl-C; or keeps " +
        "a SQLite file equal to the cluster's tables. The cluster must record them:\n" +
        "  paceline configure record.changes=true",
    )
    .option("--url <urls>", "nodes of the cluster, with commas between them", defaultUrl())
    .option(
      "--from <position>",
      "go on after this position (0: from the beginning; default: from now on)",
    )
    .option("--tables <names>", "only rows of these tables, with commas between them")
    .option("--into <file>", "a SQLite file; goes on where the file is")
    .option("--until <position>", "end when this position is reached")
    .addHelpText(
      "after",
      `
Examples:
  paceline changes --from 0
  paceline changes --url http://10.0.0.2:7001,http://10.0.0.3:7001 --from 42@3 --tables orders,items
  paceline changes --from 0 --into copy.sqlite

A file keeps every table and the schema; hidden rowids of tables with another key may differ. Only this command may
write to it. An entry with statements that act by foreign keys is put in in several transactions.

Each line has the position to go on from. What comes after it is never missed; after a crash of the consumer the last
line may come again. When a node dies the next one of --url is asked.

Exit status: 0 after Ctrl-C or --until; 1 when the log no longer has the position, or something was not recorded.`,
    )
    .action(async (flags: Flags) => {
      const from = positionOf(flags.from, "--from");
      const until = positionOf(flags.until, "--until");
      const copy = flags.into === undefined ? undefined : openCopy(flags.into);
      const signal = new AbortController();
      let gaps = 0;
      terminal.signal.addEventListener("abort", () => signal.abort(), { once: true });
      try {
        const start = copy?.position ?? from;
        const wanted = {
          urls: flags.url.split(","),
          from: start === undefined ? undefined : formatPosition(start),
          tables: flags.tables,
          signal: signal.signal,
          onNote: (line: string) => terminal.err.write(`${line}\n`),
        };
        for await (const event of followChanges(wanted)) {
          const at = parsePosition(event.position)!;
          // A run of entries may end behind what is asked for.
          const isBehind = until !== undefined && at.lsn > until.lsn;
          if (!isBehind && take(event, copy, terminal)) gaps++;
          if (until !== undefined && at.lsn >= until.lsn) break;
        }
        if (gaps > 0) {
          throw new Failure(
            `the changes of ${plural(gaps, "entry", "entries")} were not recorded`,
            "Switch it on: paceline configure record.changes=true",
          );
        }
      } catch (error) {
        if (error instanceof CorruptionError) throw new Failure(messageOf(error));
        if (isOfFile(error)) throw new Failure(`${flags.into}: ${messageOf(error)}`);
        throw error;
      } finally {
        signal.abort();
        copy?.close();
      }
    });
}

function openCopy(path: string): RowCopy {
  try {
    return new RowCopy(path);
  } catch (error) {
    if (isOfFile(error)) throw new Failure(`${path}: ${messageOf(error)}`);
    throw error;
  }
}

/** What SQLite says of the file: it is locked, full, not a database. */
function isOfFile(error: unknown): boolean {
  return (error as { code?: unknown }).code === "ERR_SQLITE_ERROR";
}

/** True for what was not recorded. */
function take(event: ChangeEvent, copy: RowCopy | undefined, terminal: Terminal): boolean {
  if (event.type === "idle") return false;
  const { position, committedAt } = event;
  if (event.type === "gap") {
    const text = `the changes at ${position} (${committedAt}) were not recorded`;
    if (copy !== undefined) {
      throw new Failure(
        text,
        "Switch it on (paceline configure record.changes=true), and begin anew.",
      );
    }
    terminal.err.write(`${text}\n`);
    return true;
  }
  if (copy === undefined) {
    terminal.out.write(
      `${JSON.stringify({ position, committedAt, transactions: event.transactions })}\n`,
    );
    return false;
  }
  copy.apply(parsePosition(position)!, copySteps(event.transactions));
  return false;
}

function positionOf(text: string | undefined, flag: string) {
  if (text === undefined) return undefined;
  const position = parsePosition(text);
  if (position === undefined)
    throw misuse(`${flag}: "${text}" is not a position`, "For example 42@3, or 0");
  return position;
}
