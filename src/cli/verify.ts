/**
 * `paceline verify`: every node reads its whole database from disk and compares it with what it should be.
 */

import { hash } from "node:crypto";
import type { Command } from "commander";
import type { NodeVerdict, VerifyReport } from "../node/report/node-status.ts";
import { defaultUrl, Remote } from "./remote/remote.ts";
import { formatTable } from "./table.ts";
import { Failure, type Terminal } from "./terminal.ts";

/** Reading a large database from a slow disk takes its time. */
const verifyTimeoutMs = 3_600_000;

export function addVerify(program: Command, terminal: Terminal): void {
  program
    .command("verify")
    .summary("read every copy in full and compare the checksums")
    .description(
      "Has every node read its whole database from disk, page by page, and compare it with the checksums that " +
        "came with the changes; then compares the copies with one of them: their pages at equal positions, or, " +
        "under a logical log kind, their rows at one position. " +
        "Damaged pages are found and named. Reads and writes go on.",
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--json", "print what POST /admin/verify answers, for programs")
    .addHelpText(
      "after",
      `
Examples:
  paceline verify
  paceline verify --url http://10.0.0.2:7001 --json

Exit status: 0 when every copy is whole and all that were compared are the same; only a node that stays behind by
intention (--apply-delay) may have been left out, and is named then. 1 when a copy is damaged, differs, or could not be
read or compared.`,
    )
    .action(async (options: { url: string; json?: boolean }) => {
      const remote = new Remote(options.url);
      const { body } = await remote.call("POST", "/admin/verify", {}, verifyTimeoutMs);
      const report = body as VerifyReport;
      if (!Array.isArray(report?.nodes)) throw new Failure(`${remote.url} gave no report`);
      if (options.json) terminal.out.write(`${JSON.stringify(report, null, 2)}\n`);
      else terminal.out.write(`${formatReport(report).join("\n")}\n`);
      if (!report.identical) {
        throw failureOf(report);
      }
    });
}

/** Lines of the report. */
export function formatReport(report: VerifyReport): string[] {
  const rows = report.nodes.map((node) => [
    node.id,
    String(node.comparedAt ?? node.lsn ?? "–"),
    checksumOf(node) ?? "–",
    node.pages === null || node.pages === undefined ? "–" : node.pages.toLocaleString("en-US"),
    node.reachable ? String(node.damaged?.length ?? 0) : "–",
    formatProblem(node),
  ]);
  const verdict = report.identical ? ["", ...verdictOf(report)] : [];
  const columns = ["node", "position", "checksum", "pages read", "damaged", ""];
  return [...formatTable(columns, rows, { right: [1, 3, 4], cellMax: 100 }), ...verdict];
}

/** Of its pages; of its rows, where those were compared. */
function checksumOf({ checksum, content }: NodeVerdict): string | undefined {
  if (content?.tables === undefined) return checksum;
  const tables = Object.entries(content.tables).sort(([a], [b]) => (a < b ? -1 : 1));
  return hash("sha256", JSON.stringify(tables)).slice(0, 16);
}

/** What was compared, and what was not. */
function verdictOf({ nodes, comparedWith }: VerifyReport): string[] {
  const copies = nodes.filter(({ pages }) => typeof pages === "number");
  const compared = copies.filter(({ comparedAt }) => typeof comparedAt === "number");
  if (copies.length === 1) return ["The only copy is whole."];
  const places = new Set(compared.map(({ comparedAt }) => comparedAt));
  const where =
    places.size === 1
      ? `compared at position ${[...places][0]}`
      : `each was compared with ${comparedWith ?? "the asked node"} at the position at which it was read`;
  const many =
    compared.length === copies.length
      ? `All ${copies.length}`
      : `${compared.length} of ${copies.length}`;
  const left = copies.filter((node) => !compared.includes(node));
  return [
    `${many} copies are whole and identical: ${where}.`,
    ...left.map(({ id, lsn }) => `${id} (${lsn}, delayed) was only checked against its own log.`),
  ];
}

function failureOf({ nodes }: VerifyReport): Failure {
  const unread = nodes.filter((node) => !node.reachable).map((node) => node.id);
  if (unread.length > 0) {
    return new Failure(
      `${unread.join(", ")} could not be read, so it is not known whether all is well`,
    );
  }
  const hint = nodes.some((node) => isRepairing(node))
    ? "Damaged pages, and rows that differ from the leader's, are copied from another node: see the log, then " +
      "verify again."
    : "Verify again. If a copy still differs, stop its node, remove it (paceline remove ID), and let it join anew " +
      "with an empty directory.";
  return new Failure("the copies are not all whole and identical", hint);
}

/** Damaged pages repair themselves; so do rows that were compared and differ. */
function isRepairing({ damaged, comparedAt, problem }: NodeVerdict): boolean {
  return (damaged?.length ?? 0) > 0 || (typeof comparedAt === "number" && problem != null);
}

function formatProblem(node: NodeVerdict): string {
  const pages = node.damaged ?? [];
  const named = pages.slice(0, 8).join(", ") + (pages.length > 8 ? ", …" : "");
  const empty = (node.pages ?? undefined) === undefined ? "a witness: no database" : "";
  const problem = node.problem ?? (node.reachable ? empty : "not reachable");
  return [problem, pages.length > 0 ? `pages ${named}` : ""]
    .filter((text) => text !== "")
    .join("; ");
}
