/** `--check FILE`: the checks again, over a history that a run has kept; needs nothing of the run but the file. */

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { decodeHistory } from "../../src/sim/checkers/history.ts";
import { type Checked, HistoryChecks } from "./checks.ts";
import type { Finding } from "./verdicts.ts";

/** How far reading may get ahead of checking. */
const pendingMax = 8;

export type Recheck = Checked & {
  readonly ok: boolean;
  readonly events: number;
  readonly violations: readonly string[];
};

export async function recheck(path: string): Promise<Recheck> {
  const found: Finding[] = [];
  const checks = new HistoryChecks((finding) => found.push(finding));
  let events = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    for (const event of decodeHistory(line)) {
      checks.add(event);
      events++;
    }
    while (checks.pending > pendingMax) await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const checked = await checks.finish();
  const violations = found.map(({ kind, text }) => `${kind}: ${text}`);
  return { ok: found.length === 0, events, ...checked, violations };
}
