/**
 * `paceline backup`: copies the database of a running node into a file.
 *
 * Not here: the file and how it comes about (src/archive/).
 */

import { setPriority } from "node:os";
import type { Command } from "commander";
import { takeBackup } from "../../archive/take.ts";
import { CorruptionError, messageOf, ProtocolError } from "../../base/errors.ts";
import { RealClock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import type { SyncProgress } from "../../sync/progress.ts";
import type { Settings } from "../../vocabulary.ts";
import { Progress } from "../import/progress.ts";
import { settingsPhrase } from "../operate/settings-text.ts";
import { defaultUrl, Remote } from "../remote/remote.ts";
import { Failure, formatSeconds, misuse, plural, type Terminal } from "../terminal.ts";
import { parseSize } from "./flags.ts";

/** As of nice(1): a node on the same machine goes first. */
const niceness = 10;

type Flags = { readonly url: string; readonly rate: string; readonly json?: boolean };

export function addBackup(program: Command, terminal: Terminal): void {
  program
    .command("backup")
    .summary("copy the database of a running node into a file")
    .description(
      "Copies the database of a node while reads and writes go on; nobody is locked. The file is the database at " +
        "one position of the log, checked page by page. Any SQLite opens it, and `paceline restore` starts a " +
        "cluster from it, with the settings that this one has. Take it from a follower, and the leader does not " +
        "notice. On a machine that has other work, this command gives way (nice 10).",
    )
    .argument("<file>", "where the backup goes; an older backup there is brought up to date")
    .option("--url <url>", "the node that is copied", defaultUrl())
    .option(
      "--rate <size>",
      "bytes per second at most (the node's --sync-rate is a bound as well)",
      "4M",
    )
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Examples:
  paceline backup --url http://10.0.0.2:7001 shop.backup
  paceline backup --rate 100M shop.backup

At the default rate even a leader on the same small machine loses less than one write in twenty while it runs; where
nodes have machines of their own, or nobody writes, take a higher one.

If FILE is an older backup, only the pages that differ are copied, and the old one stays until the new one is
complete. An interrupted backup leaves FILE.partial; the next run goes on from it.

Exit status: 0 when the file is complete, on the disk, and has been read back.`,
    )
    .action(async (path: string, flags: Flags) => {
      const startMs = performance.now();
      setPriority(niceness);
      const remote = new Remote(flags.url);
      const bytesPerSecond = parseSize(flags.rate, "--rate");
      if (bytesPerSecond < limits.pageSize) {
        const text = `--rate: ${flags.rate} per second is less than a page of ${limits.pageSize} bytes`;
        throw misuse(text, "For example 4M or 1G");
      }
      const { clusterId } = await remote.status();
      const bar = new PagesBar(terminal);
      try {
        const report = await takeBackup({
          ...{ address: new URL(remote.url).host, clusterId: clusterId ?? "", path },
          ...{ bytesPerSecond, clock: new RealClock(), signal: terminal.signal },
          onProgress: (progress) => bar.show(progress),
        });
        bar.stop();
        const { label, pagesMoved, bytesMoved } = report;
        const seconds = Math.round(performance.now() - startMs) / 1000;
        const position = `${label.lsn}@${label.term}`;
        const { pageCount, checksum } = label;
        const settings = label.settings as Settings;
        terminal.out.write(
          flags.json
            ? `${JSON.stringify({ position, pageCount, checksum, settings, pagesMoved, bytesMoved, seconds })}\n`
            : `${path}: ${plural(pageCount, "page")} at position ${position}, checksum ${checksum}; ` +
                `${plural(pagesMoved, "page")} copied in ${formatSeconds(seconds * 1000)}\n` +
                `settings in it: ${settingsPhrase(settings)}\n`,
        );
      } catch (error) {
        throw explained(error, remote.url, path);
      } finally {
        bar.stop();
      }
    });
}

/** How many pages are there, as a bar or as lines. */
class PagesBar {
  readonly #terminal: Terminal;
  #progress: Progress | undefined;
  #shown = 0;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show({ pagesDone, pagesTotal, round }: SyncProgress): void {
    if (pagesTotal === 0) return;
    this.#progress ??= new Progress(this.#terminal, pagesTotal, "pages");
    this.#progress.total(pagesTotal);
    this.#progress.rows(pagesDone - this.#shown, `round ${round}`);
    this.#shown = pagesDone;
  }

  stop(): void {
    this.#progress?.stop();
  }
}

function explained(error: unknown, url: string, path: string): unknown {
  if (error instanceof CorruptionError) {
    return new Failure(
      messageOf(error),
      `Give another FILE, or remove ${path} and ${path}.partial first.`,
      1,
      { cause: error },
    );
  }
  const code = (error as NodeJS.ErrnoException).code;
  if (error instanceof ProtocolError || code === "ECONNREFUSED" || code === "ECONNRESET") {
    return new Failure(
      `the backup from ${url} broke off: ${messageOf(error)}`,
      "Run it again, from another node perhaps; it goes on where it was.",
      1,
      { cause: error },
    );
  }
  if (code?.startsWith("E")) {
    return new Failure(
      `cannot write the backup: ${messageOf(error)}`,
      "Is there room, and may this user write there?",
    );
  }
  return error;
}
