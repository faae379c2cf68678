/**
 * SQL texts that clients stored under a number, to send them once. Scope: one stream.
 *
 * Storing under a number in use replaces the text: Hrana calls that an error, Turso replaces, and no client minds
 * [hrana.md §11]. The number of texts is bounded per stream, their size over all streams of the node.
 */

import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { refused } from "./value.ts";

/** Shared by all streams of a node. */
export type TextBudget = { usedChars: number };

export class SqlTexts {
  readonly #budget: TextBudget;
  readonly #textById = new Map<number, string>();

  constructor(budget: TextBudget) {
    this.#budget = budget;
  }

  get isEmpty(): boolean {
    return this.#textById.size === 0;
  }

  /** Throws ClientError BAD_REQUEST when nothing is stored under the number. */
  get(id: number): string {
    const text = this.#textById.get(id);
    if (text === undefined)
      throw refused(`no SQL text is stored under sql_id ${id} on this stream`);
    return text;
  }

  store(id: number, text: string): void {
    this.forget(id);
    if (this.#textById.size >= limits.storedSqlMax) {
      throw refused(`a stream can store ${limits.storedSqlMax} SQL texts; close some first`);
    }
    if (this.#budget.usedChars + text.length > limits.storedSqlCharsMax) {
      throw new ClientError("OVERLOADED", "the node holds too much stored SQL; send SQL directly");
    }
    this.#budget.usedChars += text.length;
    this.#textById.set(id, text);
  }

  /** Unknown numbers are fine. */
  forget(id: number): void {
    const text = this.#textById.get(id);
    if (text === undefined) return;
    this.#textById.delete(id);
    this.#budget.usedChars -= text.length;
  }

  /** When the stream ends. */
  clear(): void {
    for (const id of [...this.#textById.keys()]) this.forget(id);
  }
}
