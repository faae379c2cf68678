/**
 * Small facts that outlive a restart, each a file of JSON in a directory: `held.json`, `tables.json` and the
 * like. A file is there whole or not at all. Not here: what such a file says.
 */

import { CorruptionError } from "../base/errors.ts";
import type { Disk } from "./disk.ts";

/** What was found: a field is there or not, and nothing else is known about it. */
type Fields<T> = { readonly [K in keyof T]?: unknown };

/** One kind of file. */
export class RecordFile<T extends object> {
  readonly #name: string;
  readonly #decode: (fields: Fields<T>) => T | undefined;
  readonly #advice: string;

  /** `decode` gives undefined for fields that cannot be; the advice says what an operator does about such a file. */
  constructor(name: string, decode: (fields: Fields<T>) => T | undefined, advice: string) {
    this.#name = name;
    this.#decode = decode;
    this.#advice = advice;
  }

  /** Undefined when there is no file. Throws CorruptionError when it is no JSON, or not decoded. */
  async read(disk: Disk, dir: string): Promise<T | undefined> {
    const path = this.#in(dir);
    if (!(await disk.exists(path))) return undefined;
    const record = this.#decode(fieldsOf(await disk.readFile(path)));
    if (record !== undefined) return record;
    throw new CorruptionError(`${path} is not what was written; ${this.#advice}`);
  }

  /** Durable when it resolves. */
  async write(disk: Disk, dir: string, record: T): Promise<void> {
    await disk.replaceFile(this.#in(dir), new TextEncoder().encode(JSON.stringify(record)));
  }

  /** Durable when it resolves; harmless when there is none. */
  async remove(disk: Disk, dir: string): Promise<void> {
    if (!(await disk.exists(this.#in(dir)))) return;
    await disk.remove(this.#in(dir));
    await disk.syncDirectory(dir);
  }

  #in(dir: string): string {
    return `${dir}/${this.#name}`;
  }
}

/** None, when there is no object. */
function fieldsOf(bytes: Uint8Array): object {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) ?? {};
  } catch {
    return {};
  }
}
