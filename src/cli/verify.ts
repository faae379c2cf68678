/**
 * `paceline verify`: every node reads its whole database from disk and compares it with what it should be.
 */

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
        "came with the changes. Damaged pages are found and named; nodes at equal positions must have equal " +
        "checksums. Reads and writes go on meanwhile.",
    )
    .option("--url <url>", "a node of the cluster", defaultUrl())
    .option("--json", "print what POST /admin/verify answers, for programs")
    .addHelpText(
      "after",
      `
Examples:
  paceline verify
  paceline verify --url http://10.0.0.2:7001 --json

Exit status: 0 when all copies are whole and the same; 1 when one is damaged, differs or could not be read.`,
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
    node.lsn === null || node.lsn === undefined ? "–" : String(node.lsn),
    node.checksum ?? "–",
    node.pages === null || node.pages === undefined ? "–" : node.pages.toLocaleString("en-US"),
    node.reachable ? String(node.damaged?.length ?? 0) : "–",
    formatProblem(node),
  ]);
  const verdict = report.identical ? ["", "All copies are whole and identical."] : [];
  const columns = ["node", "position", "checksum", "pages read", "damaged", ""];
  return [...formatTable(columns, rows, { right: [1, 3, 4], cellMax: 100 }), ...verdict];
}

function failureOf({ nodes }: VerifyReport): Failure {
  const unread = nodes.filter((node) => !node.reachable).map((node) => node.id);
  if (unread.length > 0) {
    return new Failure(
      `${unread.join(", ")} could not be read, so it is not known whether all is well`,
    );
  }
  return new Failure(
    "the copies are not all whole and identical",
    "A damaged node repairs itself from another one: see its log, then verify again.",
  );
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
