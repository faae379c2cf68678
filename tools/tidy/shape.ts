/**
 * How a file may look: size, width, door sign, names, exports. Limits may be tightened, never loosened.
 *
 * The length of functions, the number of parameters, default exports and the forms of TypeScript that Node cannot
 * strip are rules of the linter (biome.json). The formatter keeps code within 100 columns; the width here is for
 * what it does not break: comments and texts.
 */

import { basename, dirname } from "node:path/posix";
import { type Finding, isTest, matches, type SourceFile, type Tree } from "./source.ts";

const linesMax = 500;
const widthMax = 120;
const exportsMax = 8;
const filesInFolderMax = 14;

/** Files where giants grow are kept smaller. */
const linesMaxOf: Readonly<Record<string, number>> = {
  "src/node/node.ts": 350,
  "src/node/leader.ts": 350,
};

/** Files that export more, each because it is a dictionary: of the whole program, of the core's interface. */
const dictionaries: readonly string[] = ["src/vocabulary.ts", "src/raft/ready.ts"];

const bannedWords = new Set(
  "manager handler helper util utils service processor data info context misc common do maybe".split(
    " ",
  ),
);
const bannedFolders = new Set(["shared", "utils", "types", "lib"]);

export function checkShape(tree: Tree): Finding[] {
  return [...tree.sources.flatMap(checkFile), ...checkFolders(tree)];
}

function checkFile(file: SourceFile): Finding[] {
  const found: Finding[] = [];
  const add = (line: number, rule: string, text: string): void => {
    found.push({ path: file.path, line, rule, text });
  };
  const inTest = isTest(file.path);
  const lines = file.text.replace(/\n$/, "").split("\n");
  const max = linesMaxOf[file.path] ?? linesMax;
  if (lines.length > max) add(0, "size", `${lines.length} lines, at most ${max}`);
  lines.forEach((line, i) => {
    if (inTest) return; // tests quote: papers, answers, golden lines
    if (line.length > widthMax) add(i + 1, "width", `${line.length} columns, at most ${widthMax}`);
  });
  if (!inTest && !/^(?:#!.*\n)?\/\*\*/.test(file.text)) {
    add(1, "door-sign", "the file does not open with a comment that says what it is");
  }
  // In a comment they compile.
  const marker = file.text.search(/^(?:<{7}|>{7}) /m);
  if (marker !== -1) {
    add(
      file.text.slice(0, marker).split("\n").length,
      "conflict",
      "a conflict was left unresolved",
    );
  }
  // It is percent-encoded: under a folder with a space in its name there is no such file.
  for (const { line } of matches(file, /import\.meta\.url\s*\)\s*\.pathname/g)) {
    add(line, "path", "the pathname of a URL is not a path; take fileURLToPath");
  }
  const exported = [...exportedNames(file)];
  if (exported.length > exportsMax && !dictionaries.includes(file.path)) {
    add(0, "exports", `${exported.length} exports, at most ${exportsMax}`);
  }
  for (const { line } of matches(file, /^export\s+\*/gm))
    add(line, "exports", "export * hides names");
  if (inTest) return found;
  for (const word of wordsOf(file.path.replace(/\.test\.ts$|\.ts$/, ""))) {
    if (bannedWords.has(word)) add(0, "names", `"${word}" in a path says nothing`);
  }
  for (const folder of file.path.split("/")) {
    if (bannedFolders.has(folder)) add(0, "names", `a folder ${folder}/ has no subject`);
  }
  for (const { line, name } of declaredNames(file)) {
    for (const word of wordsOf(name)) {
      if (bannedWords.has(word)) add(line, "names", `"${word}" in ${name} says nothing`);
    }
  }
  return found;
}

function checkFolders(tree: Tree): Finding[] {
  const count = new Map<string, number>();
  for (const { path } of tree.sources) {
    if (isTest(path)) continue;
    count.set(dirname(path), (count.get(dirname(path)) ?? 0) + 1);
  }
  return [...count]
    .filter(([, n]) => n > filesInFolderMax)
    .map(([path, n]) => ({
      path,
      line: 0,
      rule: "folder",
      text: `${n} files, at most ${filesInFolderMax}`,
    }));
}

const declaration =
  /^(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|type|interface)\s+(\w+)/gm;
const exportedDeclaration =
  /^export\s+(?:declare\s+)?(?:abstract\s+)?(?:async\s+)?(?:function\*?|class|type|interface|const|let)\s+(\w+)/gm;

function* declaredNames(file: SourceFile): Generator<{ line: number; name: string }> {
  for (const pattern of [declaration, exportedDeclaration]) {
    for (const { line, match } of matches(file, pattern)) yield { line, name: match[1]! };
  }
}

function* exportedNames(file: SourceFile): Generator<string> {
  // An overload is written several times and is one export.
  const names = new Set<string>();
  for (const { match } of matches(file, exportedDeclaration)) names.add(match[1]!);
  for (const { match } of matches(file, /^export\s+(?:type\s+)?\{([^}]*)\}/gm)) {
    for (const name of match[1]!.split(",")) if (name.trim() !== "") names.add(name.trim());
  }
  yield* names;
}

/** `log-store` and `LogStore` are both log, store. */
function wordsOf(name: string): string[] {
  return basename(name) === name && !name.includes("-")
    ? name.split(/(?=[A-Z])|_/).map((word) => word.toLowerCase())
    : name.split(/[/\-._]/).map((word) => word.toLowerCase());
}
