/**
 * The tree as tidy reads it: files with their text, and the same text with comments, strings and regular expressions
 * blanked out, so that a rule about code does not stumble over prose. Line numbers and columns stay what they were.
 *
 * The lexer knows just enough of TypeScript for that: it tells a regular expression from a division by the character
 * before it. Not here: any rule.
 */

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A source file. `path` is relative to the root, with forward slashes. */
export type SourceFile = { readonly path: string; readonly text: string; readonly code: string };

/** What a rule has to say. `line` counts from 1; 0 is the file as a whole. */
export type Finding = {
  readonly path: string;
  readonly line: number;
  readonly rule: string;
  readonly text: string;
};

/** The tree under `root`: its sources, and how to look at any other file. */
export type Tree = {
  readonly sources: readonly SourceFile[];
  read(path: string): string | undefined;
};

const sourceFolders = ["src", "tools", "test", "sim", "bench", "chaos", "proof", "examples"];

export function readTree(root: string): Tree {
  const read = (path: string): string | undefined => {
    try {
      return readFileSync(join(root, path), "utf8");
    } catch {
      return undefined;
    }
  };
  const paths = globSync(
    sourceFolders.map((folder) => `${folder}/**/*.ts`),
    { cwd: root },
  ).sort();
  // A file may go away between the listing and the read; then it is not part of the tree.
  const sources = paths.flatMap((path) => {
    const text = read(path);
    return text === undefined ? [] : [sourceFile(path.replaceAll("\\", "/"), text)];
  });
  return { sources, read };
}

/**
 * A test, or what only tests use: all of `test/`, and beside the sources `fixtures/`, `test-database.ts`,
 * `testbed.ts`, `toy-cluster.ts`.
 */
export function isTest(path: string): boolean {
  return /^test\/|\.test\.ts$|\/fixtures\/|\/(?:test-|testbed|toy-)[^/]*$/.test(path);
}

export function sourceFile(path: string, text: string): SourceFile {
  return { path, text, code: blank(text) };
}

/** Every match of `pattern` (with flag g) in the code of a file, as line number and match. */
export function* matches(
  file: SourceFile,
  pattern: RegExp,
): Generator<{ line: number; match: RegExpMatchArray }> {
  for (const match of file.code.matchAll(pattern)) {
    yield { line: lineAt(file.code, match.index), match };
  }
}

/** Modules that a file imports or re-exports from, with the text as written. */
export function* imports(file: SourceFile): Generator<{ line: number; from: string }> {
  const pattern = /\b(?:from|import)\s*\(?\s*["']/g;
  for (const { line, match } of matches(file, pattern)) {
    const start = match.index! + match[0].length;
    const from = /^[^"'\n]*/.exec(file.text.slice(start))![0];
    yield { line, from };
  }
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split("\n").length;
}

/** Length of the token at `at` that is not code, and how much of it stays: quotes stay, contents go. */
function blank(text: string): string {
  const out: string[] = [];
  const templates: number[] = [];
  let depth = 0;
  let at = 0;
  let before = "";
  const hide = (end: number): void => {
    out.push(text.slice(at, end).replace(/[^\n]/g, " "));
    at = end;
  };
  const keep = (): void => {
    const c = text[at++]!;
    if (c.trim() !== "") before = c;
    out.push(c);
  };
  while (at < text.length) {
    const c = text[at]!;
    if (text.startsWith("//", at) || (at === 0 && text.startsWith("#!")))
      hide(endOf(text, "\n", at));
    else if (text.startsWith("/*", at)) hide(endOf(text, "*/", at + 2) + 2);
    else if (c === '"' || c === "'") {
      keep();
      hide(endOfQuoted(text, c, at));
      keep();
    } else if (c === "/" && (before === "" || "(,=:[!&|?{};+-*%~^<>".includes(before))) {
      hide(endOfRegex(text, at + 1));
    } else if (c === "`" || (c === "}" && templates.at(-1) === depth)) {
      if (c === "}") templates.pop();
      keep();
      const end = endOfTemplate(text, at);
      hide(end);
      if (text.startsWith("${", at)) {
        templates.push(depth);
        keep();
        keep();
      } else if (at < text.length) keep();
    } else {
      if (c === "{") depth++;
      if (c === "}") depth--;
      keep();
    }
  }
  return out.join("");
}

function endOf(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from);
  return end === -1 ? text.length : end;
}

function endOfQuoted(text: string, quote: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === quote || text[i] === "\n") return i;
  }
  return text.length;
}

function endOfTemplate(text: string, from: number): number {
  for (let i = from; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === "`" || text.startsWith("${", i)) return i;
  }
  return text.length;
}

function endOfRegex(text: string, from: number): number {
  let inClass = false;
  for (let i = from; i < text.length; i++) {
    const c = text[i];
    if (c === "\\") i++;
    else if (c === "[") inClass = true;
    else if (c === "]") inClass = false;
    else if (c === "\n" || (c === "/" && !inClass)) return i + 1;
  }
  return text.length;
}
