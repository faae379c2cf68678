/**
 * `paceline configure`: shows and changes what a cluster has agreed on: how many copies make a write safe, and the
 * like.
 */

import type { Command } from "commander";
import type { Settings } from "../../vocabulary.ts";
import { callLeader, defaultUrl, Remote } from "../remote/remote.ts";
import type { Terminal } from "../terminal.ts";
import { completeSettings, parseSettings, settingLines } from "./settings-text.ts";

export function addConfigure(program: Command, terminal: Terminal): void {
  program
    .command("configure")
    .summary("show or change the settings of a cluster")
    .description(
      "Shows the settings of a cluster, or changes some of them while it runs. All nodes have the same settings: " +
        "they are agreed on in the log, and in force when the command is done.",
    )
    .argument("[key=value...]", "settings to change; none: show them all")
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--json", "print the settings as JSON")
    .addHelpText("after", explanation)
    .action(async (pairs: string[], options: { url: string; json?: boolean }) => {
      const remote = new Remote(options.url);
      const wanted = parseSettings(pairs);
      completeSettings(wanted);
      const settings =
        pairs.length === 0
          ? (await remote.status()).settings
          : ((await callLeader(remote, "POST", "/admin/settings", wanted)).body as Settings);
      terminal.out.write(
        options.json
          ? `${JSON.stringify(settings)}\n`
          : settingLines(settings)
              .map((line) => `${line}\n`)
              .join(""),
      );
    });
}

const explanation = `
Settings, the default first:
  commitRule           when a write is safe, and answered:
     quorum              a majority of the voters has it on disk. No failover loses it
     all                 every voter has it
     one                 the leader and one other voter have it (semi-synchronous)
     leader              the leader has it (asynchronous). A failover may lose the last writes; the old leader keeps
                         them in discarded/ and says so
  whenCopiesMissing    when too few copies can be made: wait · fail (answered as UNKNOWN_OUTCOME after
                       copiesTimeoutMs) · degrade (all to quorum, one to leader, until the copies are back)
  copiesTimeoutMs      2000, or 2s
  logKind              pages · rows · statements · triggers
  coordinator          quorum · manual
  foreignKeys          on · off: what PRAGMA foreign_keys is for a stream that has not set it. Clusters that were made
                       before this setting have off
  begin                deferred: a plain BEGIN reads, and takes the writer at its first write · immediate: at once
  record.statements    false; true: entries also carry the SQL that made them
  record.changes       false; true: entries also carry the rows that changed. Rules one and leader switch both on

Examples:
  paceline configure
  paceline configure commitRule=leader
  paceline configure commitRule=one whenCopiesMissing=degrade copiesTimeoutMs=500ms --url http://10.0.0.2:7001

Exit status: 0 when the settings are in force.`;
