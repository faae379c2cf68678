/**
 * `paceline promote`: makes a node the leader of a cluster whose leaders are appointed by hand.
 */

import type { Command } from "commander";
import { defaultUrl, Remote } from "../remote/remote.ts";
import type { Terminal } from "../terminal.ts";

export function addPromote(program: Command, terminal: Terminal): void {
  program
    .command("promote")
    .summary("make a node the leader, where an operator decides who leads")
    .description(
      "Makes the node at --url the leader, under coordinator=manual. A leader that answers hands over, and nothing " +
        "is lost. If it does not answer, the node leads a new term; an old leader that comes back learns of it, " +
        "stops, keeps what only it had in discarded/, and follows.",
    )
    .option("--url <url>", "the node that shall lead", defaultUrl())
    .option(
      "--accept-loss",
      "lead even if acknowledged writes are lost, or if nobody knows whether any are",
    )
    .addHelpText(
      "after",
      `
Refused, unless --accept-loss is given: when another node that answers has more, and when so many do not answer
that writes may have been acknowledged which nobody else has. The message names what would be lost.

Before you promote, be sure that the old leader takes no writes any more, or that you can do without them: one that
is only cut off keeps accepting writes under commitRule=leader, because it cannot be told to stop.

A cluster with coordinator=quorum elects its leader itself; there --accept-loss does nothing. When its majority is gone
for good, go on from a survivor: paceline backup --url SURVIVOR FILE, then paceline restore FILE begins a new cluster.

Examples:
  paceline configure coordinator=manual commitRule=leader
  paceline promote --url http://10.0.0.2:7001
  paceline promote --url http://10.0.0.2:7001 --accept-loss

Exit status: 0 when the node leads.`,
    )
    .action(async (options: { url: string; acceptLoss?: boolean }) => {
      const remote = new Remote(options.url);
      const body = { acceptLoss: options.acceptLoss === true };
      const answer = await remote.call("POST", "/admin/promote", body);
      const { leader } = answer.body as { leader: string };
      terminal.out.write(`${leader} leads now\n`);
    });
}
