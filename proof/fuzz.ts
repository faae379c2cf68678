/**
 * `npm run fuzz`: spoiled input for everything that reads bytes or text from outside (proof/fuzz/), and with
 * `--only sql` random SQL on a cluster beside stock SQLite (proof/fuzz/sql/). See --help, below.
 */

import { CommandLine } from "../tools/command-line.ts";
import { fuzz, playCase, targets } from "./fuzz/run.ts";
import { kinds } from "./fuzz/sql/ground.ts";
import { plantIn, plants } from "./fuzz/sql/plants.ts";
import { fuzzSql } from "./fuzz/sql/run.ts";
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

SQL beside stock SQLite: the same random lists of statements through a follower of three nodes and on stock
connections. Results, errors, counters, PRAGMAs and in the end every row on every node must be the same, or the
statement is one that is documented to be refused (proof/fuzz/sql/refusals.ts).

  npm run fuzz -- --only sql [--statements N] [--seed S] [--kind KIND] [--list L] [--plant BUG] [--json]

  --statements N  so many statements (default 100000)
  --kind KIND     log kind: ${kinds.join(", ")} (default pages); changes: pages, and a copy by the change stream
  --list L        only this list, as a difference names it
  --clients N     lists at a time (default 12)
  --findings N    end after so many different differences (default 1)
  --plant BUG     break the nodes, and tell after how many statements it was noticed. There are
                  ${Object.keys(plants).join(", ")}

Decoders:
  ${targets.map(({ name }) => name).join("\n  ")}
`;

const line = new CommandLine("fuzz", help, {
  cases: { type: "string", default: "100000" },
  seed: { type: "string", default: "1" },
  only: { type: "string", default: "" },
  case: { type: "string" },
  json: { type: "boolean", default: false },
  statements: { type: "string", default: "100000" },
  kind: { type: "string", default: "pages" },
  list: { type: "string" },
  clients: { type: "string", default: "12" },
  findings: { type: "string", default: "1" },
  plant: { type: "string" },
});
const { values } = line;
const seed = line.number("seed", { min: 0 });
const cases = line.number("cases", { min: 1 });
const wanted = targets.filter(({ name }) => name.includes(values.only));
if (values.only === "sql") process.exit(await besideStock());
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

/** SQL beside stock SQLite. Gives the exit status. */
async function besideStock(): Promise<number> {
  const kind = kinds.find((each) => each === values.kind);
  if (kind === undefined) return line.refuse(`--kind: there are ${kinds.join(", ")}`);
  const { plant } = values;
  if (plant !== undefined) {
    if (plants[plant] === undefined) return line.refuse(`--plant: there is no "${plant}"`);
    plantIn(plant);
  }
  const report = await fuzzSql({
    ...{ kind, seed, statements: line.number("statements", { min: 1 }) },
    clients: line.number("clients", { min: 1, max: 64 }),
    findingsMax: line.number("findings", { min: 1 }),
    list: values.list === undefined ? undefined : line.number("list", { min: 0 }),
    tell: (text) => console.error(text),
  });
  if (values.json) console.log(JSON.stringify({ ...report, plant }));
  else {
    const { statements, lists, perSecond, repeated, seconds, findings } = report;
    console.log(
      `${statements} statements in ${lists} lists under ${kind}, ${perSecond} per second, ` +
        `${repeated} lists repeated alone, ${seconds} s: ${findings.length} differences`,
    );
    if (plant !== undefined) {
      const [first] = findings;
      console.log(
        first === undefined
          ? `${plant}: not noticed`
          : `${plant}: noticed after ${first.after} statements`,
      );
    }
  }
  return report.ok ? 0 : 1;
}
