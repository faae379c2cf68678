/**
 * Runs the command line in this process and keeps what it prints. For tests.
 */

import { PassThrough, Readable } from "node:stream";
import { run } from "../src/cli/program.ts";

export type Captured = { readonly status: number; readonly out: string; readonly err: string };

export async function runCaptured(
  args: readonly string[],
  input = "",
  signal: AbortSignal = new AbortController().signal,
): Promise<Captured> {
  const out = new PassThrough();
  const err = new PassThrough();
  const text = (stream: PassThrough): string => {
    let all = "";
    for (let part = stream.read(); part !== null; part = stream.read()) all += part;
    return all;
  };
  const status = await run(args, { in: Readable.from([Buffer.from(input)]), out, err, signal });
  return { status, out: text(out), err: text(err) };
}
