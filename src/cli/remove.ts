/**
 * `paceline remove`: takes a node out of the cluster.
 */

import type { Command } from "commander";
import { callLeader, defaultUrl, Remote } from "./remote/remote.ts";
import type { Terminal } from "./terminal.ts";

export function addRemove(program: Command, terminal: Terminal): void {
  program
    .command("remove")
    .summary("remove a node from the cluster")
    .description(
      "Takes a node out of the cluster: it no longer counts towards the majority and gets no more changes. " +
        "Its directory stays as it is. The leader can be removed, too; another node takes over.",
    )
    .argument("<id>", "the node to remove")
    .option("--url <url>", "a node of the cluster that stays", defaultUrl())
    .addHelpText(
      "after",
      `
A node that died for good is removed and replaced like this:
  paceline remove c
  paceline add d 10.0.0.4:7001

Exit status: 0 when the cluster has agreed.`,
    )
    .action(async (id: string, options: { url: string }) => {
      const path = `/admin/members/${encodeURIComponent(id)}`;
      await callLeader(new Remote(options.url), "DELETE", path);
      terminal.out.write(`${id} is no longer a member; stop its process when you like\n`);
    });
}
