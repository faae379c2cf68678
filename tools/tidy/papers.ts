/**
 * The documents that are held to the code, in both directions.
 *
 *   docs/guarantees.md    lists every error code of src/base/errors.ts with cause and remedy, and no other code
 *   docs/invariants.md    a table `| I1 | statement | asserted in | tested in |`; every file it names exists, every
 *                         word it quotes behind a file (`src/raft/raft.ts` `commit`) stands in that file, and every
 *                         "invariants I7" in a comment has its row; `open` instead of a place is a debt
 *   docs/dependencies.md  a line of reason for every package that package.json names
 */

import type { Finding, Tree } from "./source.ts";

export function checkPapers(tree: Tree): Finding[] {
  return [...checkErrorCodes(tree), ...checkInvariants(tree), ...checkDependencies(tree)];
}

function checkErrorCodes(tree: Tree): Finding[] {
  const path = "docs/guarantees.md";
  const add = (text: string): Finding => ({ path, line: 0, rule: "error-codes", text });
  const source = tree.read("src/base/errors.ts") ?? "";
  const paper = tree.read(path);
  if (paper === undefined) return [add("is missing")];
  const wanted = new Set([...source.matchAll(/^ {2}([A-Z][A-Z_]+): \{ retry/gm)].map((m) => m[1]!));
  const listed = new Set([...paper.matchAll(/^\| `([A-Z][A-Z_]+)` \|/gm)].map((m) => m[1]!));
  return [
    ...[...wanted].filter((code) => !listed.has(code)).map((code) => add(`${code} is not listed`)),
    ...[...listed].filter((code) => !wanted.has(code)).map((code) => add(`${code} does not exist`)),
  ];
}

function checkInvariants(tree: Tree): Finding[] {
  const path = "docs/invariants.md";
  const found: Finding[] = [];
  const rows = new Set<string>();
  (tree.read(path) ?? "").split("\n").forEach((text, i) => {
    const row = /^\| (I\d+) \|/.exec(text)?.[1];
    if (row === undefined) return;
    const add = (what: string): void => {
      found.push({ path, line: i + 1, rule: "invariants", text: `${row}: ${what}` });
    };
    if (rows.has(row)) add("is listed twice");
    rows.add(row);
    const cells = text.split(" | ");
    if (cells.length !== 4) add(`${cells.length} cells instead of 4`);
    for (const [cell, name] of [
      [cells[2], "asserted in"],
      [cells[3], "tested in"],
    ] as const) {
      if (/^open(?: \|)?$/.test((cell ?? "").trim())) continue;
      const quoted = [...(cell ?? "").matchAll(/`([^`]+)`/g)].map((m) => m[1]!);
      if (quoted.length === 0) add(`"${name}" names no file`);
      for (const problem of brokenReferences(tree, quoted)) add(problem);
    }
    if (!/\.test\.ts`|^open/.test(cells[3] ?? "")) add('"tested in" names no test');
  });
  for (const file of tree.sources) {
    if (!file.path.startsWith("src/")) continue;
    for (const match of file.text.matchAll(/\binvariants? (I\d+(?:, I\d+)*)/g)) {
      for (const row of match[1]!.split(", ")) {
        if (rows.has(row)) continue;
        const line = file.text.slice(0, match.index).split("\n").length;
        found.push({ path: file.path, line, rule: "invariants", text: `${row} is not in ${path}` });
      }
    }
  }
  return found;
}

/** Files that do not exist, and words that do not stand in the file quoted before them. */
function* brokenReferences(tree: Tree, quoted: readonly string[]): Generator<string> {
  let text: string | undefined;
  for (const reference of quoted) {
    if (reference.includes("/")) {
      text = tree.read(reference);
      if (text === undefined) yield `${reference} does not exist`;
    } else if (text?.includes(reference) === false) yield `"${reference}" is not in the file`;
  }
}

function checkDependencies(tree: Tree): Finding[] {
  const path = "docs/dependencies.md";
  const paper = tree.read(path) ?? "";
  const manifest = JSON.parse(tree.read("package.json") ?? "{}");
  const names = ["dependencies", "devDependencies", "optionalDependencies"].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
  return names
    .filter((name) => !paper.includes(`\`${name}\``))
    .map((name) => ({ path, line: 0, rule: "dependencies", text: `no reason given for ${name}` }));
}
