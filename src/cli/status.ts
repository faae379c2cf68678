/**
 * `paceline status`: who leads, who follows, how far behind, and whether the copies are the same.
 */

import type { Command } from "commander";
import type { NodeStatus } from "../node/report/node-status.ts";
import { newClusterSettings, type Settings } from "../vocabulary.ts";
import { formatDuration } from "./archive/flags.ts";
import { settingLines } from "./operate/settings-text.ts";
import { defaultUrl, Remote, type StatusAnswer } from "./remote/remote.ts";
import { formatTable } from "./table.ts";
import { Failure, type Terminal } from "./terminal.ts";

export function addStatus(program: Command, terminal: Terminal): void {
  program
    .command("status")
    .summary("show the nodes of a cluster, who leads, and how far behind the others are")
    .description(
      "Shows the nodes of a cluster: who leads, how far the others are behind, and the checksum of each copy. " +
        "Any node may be asked; it asks the others.",
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--json", "print what GET /status answers, for programs")
    .addHelpText(
      "after",
      `
Columns:
  applied, committed, durable   positions in the replication log: in the database that readers see,
                                safe by the commit rule, on this node's disk
  behind                        committed entries that the node lacks, as far as is known
  lag                           how long ago the node surely had everything; grows while it is silent
  kind                          voter, learner or witness; what it was given beside that: a priority, a delay,
                                and the position that a delayed node is held at (paceline roll-forward)
  checksum                      of the whole database; equal positions must have equal checksums

Examples:
  paceline status
  paceline status --url http://10.0.0.2:7001 --json | jq -r .leader

Exit status: 0, or 1 when no answer came or copies at the same position differ.`,
    )
    .action(async (options: { url: string; json?: boolean }) => {
      const status = await new Remote(options.url).status();
      if (options.json) terminal.out.write(`${JSON.stringify(status, null, 2)}\n`);
      else terminal.out.write(`${formatStatus(status).join("\n")}\n`);
      const differing = findDifferent(status);
      if (differing !== undefined) {
        throw new Failure(differing, "Find the damaged pages with: paceline verify");
      }
    });
}

/** Lines of the overview. */
export function formatStatus(status: StatusAnswer): string[] {
  const leader = status.leader ?? "none (an election takes about a second; a majority must be up)";
  const head = [
    `cluster  ${status.clusterId ?? "not initialized yet"}`,
    `leader   ${leader}`,
    `term     ${status.term}`,
    `rule     ${formatRule(status)}`,
    "",
  ];
  const columns = [
    "node",
    "role",
    "kind",
    "url",
    "applied",
    "committed",
    "durable",
    "behind",
    "lag",
    "checksum",
  ];
  const lost = status.nodes.filter((node) => (node.discarded ?? 0) > 0).map((node) => node.id);
  if (lost.length > 0) {
    head.splice(
      -1,
      0,
      `lost     ${lost.join(", ")} kept writes that the cluster lost: paceline discarded list`,
    );
  }
  const rows = status.nodes.map((node) => [
    node.id,
    node.reachable ? formatRole(node) : "unreachable",
    formatKind(node),
    node.url,
    number(node.appliedLsn),
    number(node.committedLsn),
    number(node.durableLsn),
    node.role === "leader" ? "–" : number(node.lagEntries),
    formatLag(node),
    node.checksum ?? "–",
  ]);
  return [...head, ...formatTable(columns, rows, { right: [4, 5, 6, 7, 8] })];
}

/** The commit rule, and whatever else is not as in a new cluster. */
function formatRule({ commitRule, settings, degraded }: StatusAnswer): string {
  const others = settingLines(settings).filter(
    (line) => !settingLines(newClusterSettings).includes(line) && !line.startsWith("commitRule="),
  );
  const missing = degraded === true ? ["DEGRADED: copies are missing, a weaker rule does"] : [];
  return [commitRule, ...missing, ...others].join("  ");
}

/** A sentence about two copies that should be the same and are not. */
function findDifferent({ nodes, settings }: StatusAnswer): string | undefined {
  // Under the other kinds copies have the same rows in other pages. A node that says no kind knows pages only.
  if (((settings as Partial<Settings> | undefined)?.logKind ?? "pages") !== "pages")
    return undefined;
  for (const a of nodes) {
    const b = nodes.find(
      (other) => other.appliedLsn === a.appliedLsn && (other.checksum ?? a.checksum) !== a.checksum,
    );
    if (b !== undefined && (a.appliedLsn ?? undefined) !== undefined && (a.checksum ?? "") !== "") {
      return `${a.id} and ${b.id} are both at ${a.appliedLsn}, but their databases differ`;
    }
  }
  return undefined;
}

/** The kind, the priority where somebody gave one, and the delay. */
function formatKind({ kind, priority, applyDelayMs, held, tables }: NodeStatus): string {
  const kept = (tables ?? undefined) === undefined ? "" : `, tables ${tables!.join(",")}`;
  if ((applyDelayMs ?? undefined) !== undefined) {
    const where = held?.reached === true ? "held at" : "rolls forward to";
    const still = (held ?? undefined) === undefined ? "" : `, ${where} ${held!.at}`;
    return `${kind}${kept}, delayed ${formatDuration(applyDelayMs!)}${still}`;
  }
  return (priority ?? 0) === 0 ? kind + kept : `${kind}, priority ${priority}`;
}

function formatRole({ role, inSync }: NodeStatus): string {
  return inSync === false && role === "follower" ? "follower, behind" : (role ?? "?");
}

function formatLag({ role, kind, lagMs }: NodeStatus): string {
  if (role === "leader" || kind === "witness") return "–";
  return (lagMs ?? undefined) === undefined
    ? "?"
    : `${Math.round(lagMs!).toLocaleString("en-US")} ms`;
}

/** JSON has null where the node has undefined. */
function number(n: number | null | undefined): string {
  return (n ?? undefined) === undefined ? "–" : String(n);
}
