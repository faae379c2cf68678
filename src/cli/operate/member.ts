/**
 * `paceline member`: changes what a member of the cluster is, while it runs.
 */

import type { Command } from "commander";
import { isPriority, priorityMax } from "../../raft/rule/priority.ts";
import type { Priority } from "../../vocabulary.ts";
import { callLeader, defaultUrl, Remote } from "../remote/remote.ts";
import { misuse, type Terminal } from "../terminal.ts";

export function addMember(program: Command, terminal: Terminal): void {
  program
    .command("member")
    .summary("set the priority of a voter")
    .description(
      "Gives a voter a priority. The reachable voter of the highest priority gets the lead, by a switchover, as " +
        "soon as it has caught up; in an election it stands first. A voter of priority never votes and stores like " +
        "any other, and does not lead: it only ever takes the lead to hand on what nobody else has.",
    )
    .argument("<id>", "the node")
    .argument(
      "<priority=N>",
      `priority=0 to priority=${priorityMax}, or priority=never (default: 0)`,
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .addHelpText(
      "after",
      `
Examples:
  paceline member a priority=10
  paceline member c priority=never --url http://10.0.0.2:7001

Give priorities only when all nodes run a version that knows them. Exit status: 0 when the cluster has agreed.`,
    )
    .action(async (id: string, change: string, options: { url: string }) => {
      const priority = parseChange(change);
      const path = `/admin/members/${encodeURIComponent(id)}`;
      await callLeader(new Remote(options.url), "POST", path, { priority });
      terminal.out.write(`the priority of ${id} is ${priority}\n`);
    });
}

function parseChange(text: string): Priority {
  const value = /^priority=(.*)$/.exec(text)?.[1];
  if (value === "never") return "never";
  if (value !== undefined && /^\d{1,3}$/.test(value) && isPriority(Number(value))) {
    return Number(value);
  }
  throw misuse(
    `"${text}" is no change of a member`,
    `priority=0 to priority=${priorityMax}, or priority=never`,
  );
}
