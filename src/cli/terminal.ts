/**
 * What a verb has of the world: three streams, and a way to say that it failed.
 *
 * Results go to `out`; progress, warnings and failures go to `err`, so that a pipe gets results only. Verbs take a
 * Terminal instead of `process`, so that tests can read what they print.
 */

import type { Readable, Writable } from "node:stream";
import { messageOf } from "../base/errors.ts";

/** The streams of one run. `isTTY` on them says whether a person is there. */
export type Terminal = {
  readonly in: Readable & { isTTY?: boolean };
  readonly out: Writable & { isTTY?: boolean; columns?: number };
  readonly err: Writable & { isTTY?: boolean };
  /** Aborted when the user wants the verb to end: Ctrl-C. */
  readonly signal: AbortSignal;
};

/** A verb could not do what it was asked. `hint` says what to do next. */
export class Failure extends Error {
  override readonly name = "Failure";
  readonly hint: string | undefined;
  /** 1: failed. 2: used in the wrong way. */
  readonly exitCode: 1 | 2;

  constructor(message: string, hint?: string, exitCode: 1 | 2 = 1, options?: ErrorOptions) {
    super(message, options);
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** A command that was written wrongly. Exit status 2. */
export function misuse(message: string, hint?: string): Failure {
  return new Failure(message, hint, 2);
}

/** Prints a failure the way all verbs do, and returns the exit status. */
export function printFailure(terminal: Terminal, error: unknown): number {
  const failure = error instanceof Failure ? error : undefined;
  terminal.err.write(`paceline: ${messageOf(error)}\n`);
  if (failure?.hint !== undefined)
    terminal.err.write(`  ${failure.hint.replaceAll("\n", "\n  ")}\n`);
  if (failure === undefined && error instanceof Error && error.stack !== undefined) {
    terminal.err.write(`${error.stack}\n  This is a bug in paceline; please report it.\n`);
  }
  return failure?.exitCode ?? 1;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en-US")} ${count === 1 ? one : many}`;
}

/** `0.24 s`, `12.3 s`, `4 min 5 s`. */
export function formatSeconds(ms: number): string {
  if (ms < 10_000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms < 120_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}
