/**
 * Errors that a planted bug makes by its own clumsiness: a TypeError of the mutant is no bug of the program, and
 * whoever notices it has shown nothing. They are collected wherever they end up, told on standard error (a mutant may
 * be in a process of its own), and a hunt with one of them counts as broken.
 */

import { writeSync } from "node:fs";

/** Begins the line on standard error. */
export const faultMark = "broken mutant: ";

const faults: string[] = [];

/** Takes note of an error if it was made in the code of a mutant; errors of the program are none of ours. */
export function noteFault(error: unknown): void {
  const text = ownFault(error);
  if (text === undefined || faults.includes(text)) return;
  faults.push(text);
  writeSync(2, `${faultMark}${text}\n`);
}

/** What was noted since the last call. */
export function takeFaults(): string[] {
  return faults.splice(0);
}

function ownFault(error: unknown): string | undefined {
  if (!(error instanceof Error) || !isClumsy(error)) return undefined;
  const frames = (error.stack ?? "").split("\n").filter((line) => line.startsWith("    at "));
  const first = frames.find((line) => !line.includes("node:") && !line.includes("<anonymous>)"));
  const place = /^ {4}at (?!async ).*(\/mutants\/[\w.-]+\.ts:\d+)/.exec(first ?? "")?.[1];
  return place === undefined ? undefined : `${error.name}: ${error.message} (${place.slice(1)})`;
}

/** What a mutant throws on purpose is an error of the program's own kinds. */
function isClumsy(error: Error): boolean {
  const kinds = [TypeError, ReferenceError, RangeError, SyntaxError];
  return kinds.some((kind) => error instanceof kind) || "syscall" in error;
}
