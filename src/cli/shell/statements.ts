/**
 * Where one thing typed at the prompt ends and the next begins: SQL statements end with a semicolon, dot commands
 * with the line.
 */

import { parseScript } from "../../db/sql/tokenizer.ts";

/** Statements and dot commands of a text, in order. */
export function statementsOf(text: string): string[] {
  const found: string[] = [];
  let sql = "";
  for (const line of text.replace(/^\uFEFF/, "").split("\n")) {
    if (isDotCommand(line) && isComplete(sql)) {
      found.push(...parseScript(sql).map((statement) => statement.text), line.trim());
      sql = "";
    } else {
      sql += `${line}\n`;
    }
  }
  return [...found, ...parseScript(sql).map((statement) => statement.text)];
}

/** Nothing is missing at the end: no semicolon, no closing quote. */
export function isComplete(text: string): boolean {
  if (isDotCommand(text)) return true;
  // A word behind a finished text is a statement of its own; behind an unfinished one it is a part of that.
  return parseScript(`${text}\nnext`).at(-1)?.text === "next";
}

function isDotCommand(line: string): boolean {
  return /^\s*\.[a-z]/i.test(line);
}
