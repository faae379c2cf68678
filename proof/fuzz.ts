/**
 * `npm run fuzz`: spoiled input for everything that reads bytes or text from outside (proof/fuzz/).
 *
 *   npm run fuzz -- [--cases N] [--seed S] [--only NAME] [--case I] [--json]
 *
 * `--only` takes the decoders whose name has the text; `--case` plays one case of the seed alone. The cases of a run
 * are spread over the decoders by weight, and a decoder stops at its first finding. Exit status 1 when there is one.
 */

import { parseArgs } from "node:util";
import { fuzz, playCase, targets } from "./fuzz/run.ts";
import { endTalks } from "./fuzz/targets/talks.ts";

const { values } = parseArgs({
  options: {
    cases: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    case: { type: "string" },
    json: { type: "boolean", default: false },
  },
});
const seed = Number(values.seed);

if (values.case !== undefined) {
  for (const target of targets.filter(({ name }) => name.includes(values.only))) {
    console.log(`${target.name}: ${await playCase(target, seed, Number(values.case))}`);
  }
  await endTalks();
} else {
  const startedMs = performance.now();
  const report = await fuzz({ cases: Number(values.cases), seed, only: values.only });
  const seconds = Number(((performance.now() - startedMs) / 1000).toFixed(1));
  if (values.json) console.log(JSON.stringify({ ...report, seed, seconds }));
  else {
    for (const [name, { cases, accepted, refused }] of Object.entries(report.targets)) {
      const counts = [cases, accepted, refused].map((n) => String(n).padStart(9)).join("");
      console.log(`${name.padEnd(24)}${counts}`);
    }
    for (const { target, number, what } of report.found) {
      console.log(`\n${target}, seed ${seed}, case ${number}: ${what}`);
    }
    console.log(`${report.cases} cases in ${seconds} s, ${report.found.length} findings`);
  }
  process.exitCode = report.ok ? 0 : 1;
}
