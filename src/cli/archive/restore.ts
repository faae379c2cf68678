/**
 * `paceline restore`: makes the data directory of the first node of a new cluster from a backup.
 */

import type { Command } from "commander";
import type { BackupLabel } from "../../archive/backup-file.ts";
import { restoreBackup } from "../../archive/restore.ts";
import { ClientError, CorruptionError, messageOf } from "../../base/errors.ts";
import { RealDisk } from "../../host/disk.ts";
import { nodeId, nodeIdPattern, type Settings } from "../../vocabulary.ts";
import { Progress } from "../import/progress.ts";
import {
  completeSettings,
  pairsOf,
  parseSettings,
  settingsPhrase,
} from "../operate/settings-text.ts";
import { Failure, formatSeconds, misuse, plural, type Terminal } from "../terminal.ts";
import { parseMemberAddress } from "./flags.ts";

type Flags = {
  readonly id: string;
  readonly dir: string;
  readonly listen: string;
  readonly settings?: string;
  readonly json?: boolean;
};

export function addRestore(program: Command, terminal: Terminal): void {
  program
    .command("restore")
    .summary("begin a new cluster from a backup")
    .description(
      "Makes the data directory of a node from a file that `paceline backup` took. The file is checked first: every " +
        "page, against the checksum it carries. The node is the first of a new cluster; others join it.",
    )
    .argument("<file>", "the backup")
    .requiredOption("--id <id>", "name of the node: 1 to 32 characters of a-z 0-9 _ -")
    .requiredOption("--dir <dir>", "its data directory; must not exist, or be empty")
    .requiredOption(
      "--listen <host:port>",
      "where it will listen; the other nodes must reach it there",
    )
    .option(
      "--settings <key=value,…>",
      "settings of the new cluster in place of those in the backup; see paceline configure",
    )
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Example: a cluster of three from a backup. Nodes on several machines need a secret; make it once (openssl rand -hex 32 >
secret), copy the file, and on each machine:
  export PACELINE_SECRET="$(cat secret)"
Then on the first:
  paceline restore shop.backup --id a --dir /var/lib/paceline --listen 10.0.0.1:7001
  paceline start --id a --dir /var/lib/paceline --listen 10.0.0.1:7001
and on two other machines, with empty directories:
  paceline start --id b --dir /var/lib/paceline --listen 10.0.0.2:7001 --join 10.0.0.1:7001
  paceline start --id c --dir /var/lib/paceline --listen 10.0.0.3:7001 --join 10.0.0.1:7001

The new cluster has the settings that the backup carries (older backups carry none: the default ones), but leaders are
elected: where an operator appointed them, say so again when the others have joined: paceline configure
coordinator=manual.

The new cluster has an id of its own: nodes of the old one cannot join it with their directories.

Exit status: 0 when the directory is complete and on the disk.`,
    )
    .action(async (path: string, flags: Flags) => {
      const startMs = performance.now();
      if (!nodeIdPattern.test(flags.id)) {
        throw misuse(
          `"${flags.id}" cannot be the id of a node`,
          "1 to 32 characters of a-z 0-9 _ -",
        );
      }
      const address = parseMemberAddress(flags.listen, "--listen");
      const wanted = parseSettings(pairsOf(flags.settings));
      completeSettings(wanted);
      let progress: Progress | undefined;
      let shown = 0;
      try {
        const { label, clusterId, settings, changes } = await restoreBackup({
          ...{ path, dir: flags.dir.replace(/\/+$/, ""), disk: new RealDisk() },
          ...{ id: nodeId(flags.id), address, settings: wanted },
          onProgress: (done, total) => {
            progress ??= new Progress(terminal, total, "pages");
            progress.rows(done - shown, "");
            shown = done;
          },
        });
        progress?.stop();
        const { pageCount, takenAt } = label;
        const position = `${label.lsn}@${label.term}`;
        const seconds = Math.round(performance.now() - startMs) / 1000;
        terminal.out.write(
          flags.json
            ? `${JSON.stringify({ clusterId, position, pageCount, takenAt, settings, changes, seconds })}\n`
            : `${flags.dir}: ${plural(pageCount, "page")} as of ${takenAt}, position ${position}, ` +
                `in ${formatSeconds(seconds * 1000)}\n` +
                settingsText(label, settings, changes) +
                `next: paceline start --id ${flags.id} --dir ${flags.dir} --listen ${flags.listen}\n`,
        );
      } catch (error) {
        throw explained(error, path);
      } finally {
        progress?.stop();
      }
    });
}

function settingsText(label: BackupLabel, settings: Settings, changes: readonly string[]): string {
  const source = label.settings === undefined ? " (the backup carries none)" : "";
  const lines = [`settings: ${settingsPhrase(settings)}${source}`, ...changes];
  return lines.map((line) => `${line}\n`).join("  ");
}

function explained(error: unknown, path: string): unknown {
  if (error instanceof CorruptionError) {
    const hint =
      "Nothing was restored. Use another backup.\n" +
      `A SQLite database that is none goes into a running cluster: paceline import ${path}`;
    return new Failure(messageOf(error), hint, 1, {
      cause: error,
    });
  }
  if (error instanceof ClientError) return new Failure(messageOf(error), "Nothing was restored.");
  if ((error as NodeJS.ErrnoException).code !== undefined) {
    return new Failure(`cannot restore ${path}: ${messageOf(error)}`, "Nothing was restored.");
  }
  return error;
}
