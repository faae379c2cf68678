/**
 * `npm run fuzz`: spoiled input for everything that reads bytes or text from outside (proof/fuzz/). See --help, below.
 */

import { CommandLine } from "../tools/command-line.ts";
import { fuzz, playCase, targets } from "./fuzz/run.ts";
import { endTalks } from "./fuzz/targets/talks.ts";

const help = `npm run fuzz: spoiled input for everything that reads bytes or text from outside. A decoder must take
it or refuse it with its own kind of error, soon and without much memory; anything else is a finding.

  npm run fuzz -- [--cases N] [--seed S] [--only NAME] [--case I] [--json]

  --cases N    so many cases, spread over the decoders by weight (default 100000)
  --seed S     other cases (default 1)
  --only NAME  only the decoders whose name has this text
  --case I     only this case of each decoder, as a finding names it
  --json       the result as one line of JSON
  --help

Example: npm run fuzz -- --only wal --seed 7

A decoder stops at its first finding. Exit status: 0 without a finding, 1 with one, 2 for wrong options.

Decoders:
  ${targets.map(({ name }) => name).join("\n  ")}
`;

const line = new CommandLine("fuzz", help, {
  cases: { type: "string", default: "100000" },
  seed: { type: "string", default: "1" },
  only: { type: "string", default: "" },
  case: { type: "string" },
  json: { type: "boolean", default: false },
});
const { values } = line;
const seed = line.number("seed", { min: 0 });
const cases = line.number("cases", { min: 1 });
const wanted = targets.filter(({ name }) => name.includes(values.only));
if (wanted.length === 0) line.refuse(`--only: no decoder has "${values.only}" in its name`);

if (values.case !== undefined) {
  const number = line.number("case", { min: 0 });
  for (const target of wanted) {
    console.log(`${target.name}: ${await playCase(target, seed, number)}`);
  }
  await endTalks();
} else {
  const startedMs = performance.now();
  const report = await fuzz({ cases, seed, only: values.only });
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
