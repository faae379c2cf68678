/**
 * `paceline add`: makes a node a member of the cluster.
 */

import type { Command } from "commander";
import { nodeIdPattern } from "../vocabulary.ts";
import { parseMemberAddress } from "./archive/flags.ts";
import { parseKind } from "./members/spec.ts";
import { callLeader, defaultUrl, Remote } from "./remote/remote.ts";
import { misuse, type Terminal } from "./terminal.ts";

export function addAdd(program: Command, terminal: Terminal): void {
  program
    .command("add")
    .summary("add a node to the cluster")
    .description(
      "Makes a node a member by hand; a node that is started with --join does it by itself. The node is brought up " +
        "to date first, without a vote; when it has nearly caught up it gets its vote. So a cluster is never weaker " +
        "for a node that is still empty.",
    )
    .argument("<id>", "name of the new node: 1 to 32 characters of a-z 0-9 _ -")
    .argument("<address>", "HOST:PORT where the other nodes reach it")
    .option("--kind <kind>", "voter, learner (no vote) or witness (no database)", "voter")
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .addHelpText(
      "after",
      `
A new node on 10.0.0.4 needs only this, there:
  paceline start --id d --dir /var/lib/paceline --listen 10.0.0.4:7001 --join 10.0.0.1:7001 --secret-file secret
The same from anywhere, before or after the node is started:
  paceline add d 10.0.0.4:7001 --url http://10.0.0.1:7001
A node that never votes; a witness, which votes and has no database (start it with --kind witness):
  paceline add e 10.0.0.5:7001 --kind learner
  paceline add w 10.0.0.6:7001 --kind witness

A member that has moved with its data is not added again: start it at its new address, and it tells the others.

Then watch it catch up with \`paceline status\`. Odd numbers of voters make sense: with 3 one may fail, with 5 two.

Exit status: 0 when the cluster has agreed to the new member.`,
    )
    .action(async (id: string, address: string, options: { url: string; kind: string }) => {
      if (!nodeIdPattern.test(id)) {
        throw misuse(`"${id}" cannot be the id of a node`, "1 to 32 characters of a-z 0-9 _ -");
      }
      const at = parseMemberAddress(address, "ADDRESS");
      const kind = parseKind(options.kind, "--kind");
      await callLeader(new Remote(options.url), "POST", "/admin/members", {
        id,
        address: at,
        kind,
      });
      terminal.out.write(`${id} at ${at} is a member; \`paceline status\` shows it catching up\n`);
    });
}
