/**
 * What every case must keep to:
 *
 *   errors      a decoder answers with a value, or with the errors that its callers expect of it; nothing else
 *   memory      it takes no more than a fixed part and a multiple of its input: a length field must not allocate
 *   time        it ends within a second, whatever the input
 *
 * A case that breaks one of them throws; the message says which.
 */

import { inspect, isDeepStrictEqual } from "node:util";
import { getHeapStatistics } from "node:v8";

export type ErrorClass = abstract new (...args: never[]) => Error;

const memoryMin = 8 * 1024 * 1024;
/** JSON of empty objects takes about 60 bytes of heap per byte of text. */
const memoryPerByte = 200;
const timeMaxMs = 1_000;

class BrokenRule extends Error {
  override readonly name = "BrokenRule";
}

export function demand(condition: boolean, rule: string): asserts condition {
  if (!condition) throw new BrokenRule(rule);
}

/** Decodes under watch. Undefined when it was refused by one of the `errors`. */
export function probe<T>(
  input: Uint8Array | string,
  errors: readonly ErrorClass[],
  decode: () => T,
): { readonly value: T } | undefined {
  const before = memoryBytes();
  const startedMs = performance.now();
  try {
    return { value: decode() };
  } catch (error) {
    if (!errors.some((known) => error instanceof known)) throw unexpected(error);
    return undefined;
  } finally {
    const ms = performance.now() - startedMs;
    const took = memoryBytes() - before;
    const bytes = input.length;
    demand(took <= memoryMin + memoryPerByte * bytes, `${took} bytes taken for ${bytes}`);
    demand(ms <= timeMaxMs, `${Math.round(ms)} ms for ${bytes} bytes`);
  }
}

/** The same for what is asynchronous; memory and time are those of everything that ran meanwhile. */
export async function probeAsync<T>(
  errors: readonly ErrorClass[],
  decode: () => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const startedMs = performance.now();
  const before = memoryBytes();
  try {
    return { value: await decode() };
  } catch (error) {
    if (!errors.some((known) => error instanceof known)) throw unexpected(error);
    return undefined;
  } finally {
    const ms = performance.now() - startedMs;
    demand(ms <= timeMaxMs, `${Math.round(ms)} ms`);
    const took = memoryBytes() - before;
    demand(took <= 4 * memoryMin, `${took} bytes taken`);
  }
}

export function demandSame(found: unknown, wanted: unknown, rule: string): void {
  if (isDeepStrictEqual(found, wanted) || isDeepStrictEqual(plain(found), plain(wanted))) return;
  demand(false, `${rule}: ${shown(found)} instead of ${shown(wanted)}`);
}

/** With bytes as bytes, whether they are a Buffer or not, and without fields that are undefined. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  if (ArrayBuffer.isView(value) || typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  const fields = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(fields.map(([key, field]) => [key, plain(field)]));
}

function unexpected(error: unknown): BrokenRule {
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return new BrokenRule(`an error that callers do not expect: ${text}`, { cause: error });
}

function shown(value: unknown): string {
  const text = inspect(value, { depth: 8, compact: true, breakLength: Number.POSITIVE_INFINITY });
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}

function memoryBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}
