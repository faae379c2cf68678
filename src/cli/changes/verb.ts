/**
 * `paceline changes`: what was committed, row by row, as it happens; to a pipe, or into a SQLite file.
 *
 * Not here: the stream's format (api/changes/), how it is read and read on (follow.ts).
 */

import type { Command } from "commander";
import { fromJson, type JsonRow, type JsonStep } from "../../api/changes/change-json.ts";
import { CorruptionError, messageOf } from "../../base/errors.ts";
import type { SqlValue } from "../../changes/values.ts";
import { type CopyRow, type CopyStep, RowCopy } from "../../db/copy/row-copy.ts";
import { formatPosition, parsePosition } from "../../vocabulary.ts";
import { defaultUrl } from "../remote/remote.ts";
import { Failure, misuse, type Terminal } from "../terminal.ts";
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
      "Prints the changes of committed transactions as JSON, one line per entry of the log, until Ctrl-C; or keeps\n" +
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

Each line has the position to go on from. What comes after it is never missed; after a crash of the consumer the last
line may come again. When a node dies the next one of --url is asked.

Exit status: 0 after Ctrl-C or --until; 1 when the log no longer has the position, or something was not recorded.`,
    )
    .action(async (flags: Flags) => {
      const from = positionOf(flags.from, "--from");
      const until = positionOf(flags.until, "--until");
      const copy = flags.into === undefined ? undefined : new RowCopy(flags.into);
      const signal = new AbortController();
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
          take(event, copy, terminal);
          const at = parsePosition(event.position)!;
          if (until !== undefined && at.lsn >= until.lsn) return;
        }
      } catch (error) {
        if (error instanceof CorruptionError) throw new Failure(messageOf(error));
        throw error;
      } finally {
        signal.abort();
        copy?.close();
      }
    });
}

function take(event: ChangeEvent, copy: RowCopy | undefined, terminal: Terminal): void {
  if (event.type === "idle") return;
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
    return;
  }
  if (copy === undefined) {
    terminal.out.write(
      `${JSON.stringify({ position, committedAt, transactions: event.transactions })}\n`,
    );
    return;
  }
  copy.apply(parsePosition(position)!, event.transactions.flat().map(toCopyStep));
}

function toCopyStep(step: JsonStep): CopyStep {
  if (step.op === "sequence") return { ...step, value: fromJson(step.value) };
  if (step.op === "statement") {
    return {
      ...{ op: "statement", sql: step.sql, args: step.args.map(fromJson) },
      ...{ namedArgs: toRow(step.namedArgs), captured: step.captured.map(fromJson) },
    };
  }
  const { op, table, key, before, after } = step;
  return {
    ...{ op, table, key },
    before: before === undefined ? undefined : toRow(before),
    after: after === undefined ? undefined : toRow(after),
  };
}

function toRow(row: JsonRow): CopyRow {
  const entries = Object.entries(row).map(([name, value]): [string, SqlValue] => [
    name,
    fromJson(value),
  ]);
  return Object.fromEntries(entries);
}

function positionOf(text: string | undefined, flag: string) {
  if (text === undefined) return undefined;
  const position = parsePosition(text);
  if (position === undefined)
    throw misuse(`${flag}: "${text}" is not a position`, "For example 42@3, or 0");
  return position;
}
