/**
 * Tidy: the rules of the house that a machine can check, and that no linter knows. `npm run tidy`.
 *
 * Each rule stands with its reason in tools/tidy/. Prints one line per finding, path:line first, so that an editor
 * can jump there; exit status 1 when there is one.
 */

import { dirname } from "node:path";
import { checkLayers, exceptions } from "./tidy/layers.ts";
import { checkPapers } from "./tidy/papers.ts";
import { checkShape } from "./tidy/shape.ts";
import { type Finding, readTree, type Tree } from "./tidy/source.ts";

/** Every finding that no exception excuses, and every exception that excuses nothing. */
export function checkTree(tree: Tree): Finding[] {
  const all = [...checkLayers(tree), ...checkShape(tree), ...checkPapers(tree)];
  const used = new Set<number>();
  const left = all.filter(({ path, rule }) => {
    const i = exceptions.findIndex((e) => e.rule === rule && e.path.test(path));
    if (i !== -1) used.add(i);
    return i === -1;
  });
  const idle = exceptions.filter((_, i) => !used.has(i));
  for (const { path, rule } of idle) {
    left.push({
      path: "tools/tidy/layers.ts",
      line: 0,
      rule: "exceptions",
      text: `${path} is no longer an exception to "${rule}"; delete the line`,
    });
  }
  return left;
}

export function formatFinding({ path, line, rule, text }: Finding): string {
  return `${path}${line === 0 ? "" : `:${line}`}: ${text} [${rule}]`;
}

if (import.meta.main) {
  const tree = readTree(dirname(import.meta.dirname));
  const findings = checkTree(tree);
  for (const finding of findings) console.error(formatFinding(finding));
  console.log(`tidy: ${tree.sources.length} files, ${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}
