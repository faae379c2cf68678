/**
 * `paceline switchover`: hands the leadership to another node, without losing a write.
 */

import type { Command } from "commander";
import { nodeIdPattern } from "../vocabulary.ts";
import { callLeader, defaultUrl, Remote } from "./remote/remote.ts";
import { formatSeconds, misuse, type Terminal } from "./terminal.ts";

export function addSwitchover(program: Command, terminal: Terminal): void {
  program
    .command("switchover")
    .summary("hand the leadership to another node")
    .description(
      "Hands the leadership to another node, for example before a machine is maintained. The leader lets the other " +
        "node catch up, then steps back; writes wait for a moment and none is lost.",
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--to <id>", "the node that shall lead (default: the one that is most advanced)")
    .option("--json", "print the outcome as JSON")
    .addHelpText(
      "after",
      `
Examples:
  paceline switchover
  paceline switchover --to b

Exit status: 0 when the other node leads.`,
    )
    .action(async (options: { url: string; to?: string; json?: boolean }) => {
      if (options.to !== undefined && !nodeIdPattern.test(options.to)) {
        throw misuse(`"${options.to}" cannot be the id of a node`, "`paceline status` lists them");
      }
      const remote = new Remote(options.url);
      const before = (await remote.status()).leader;
      const startMs = performance.now();
      const answer = await callLeader(remote, "POST", "/admin/switchover", { to: options.to });
      const tookMs = Math.round(performance.now() - startMs);
      const { leader } = answer.body as { leader: string };
      terminal.out.write(
        options.json
          ? `${JSON.stringify({ leader, before: before ?? null, tookMs })}\n`
          : `${leader} leads now, after ${before ?? "no one"}; it took ${formatSeconds(tookMs)}\n`,
      );
    });
}
