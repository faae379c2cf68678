/**
 * SQL on a cluster that may lose its leader while we work.
 *
 * What was refused before anything was done is repeated after a pause, on another node if one is known. What may
 * have happened (UNKNOWN_OUTCOME, a broken connection) is repeated as well, and the caller is told so: it must make
 * the second try harmless. Gives up when nothing has worked for a minute.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Hrana, type WireResult, type WireStmt } from "../remote/hrana.ts";
import { Broken, Refused, Remote, Unreachable } from "../remote/remote.ts";
import { Failure } from "../terminal.ts";

const giveUpMs = 60_000;
const pauseMs = 250;
const pauseMaxMs = 2_000;

/** Refused before anything was done, and worth another try. */
const later: ReadonlySet<string> = new Set([
  "NOT_LEADER",
  "NO_LEADER",
  "NOT_READY",
  "TOO_STALE",
  "OVERLOADED",
  "TRANSACTION_LOST",
  "TRANSACTION_TIMEOUT",
  "STREAM_EXPIRED",
  "SQLITE_BUSY",
  "STORAGE",
]);

export class PatientSql {
  readonly #nodes: readonly Hrana[];
  readonly #signal: AbortSignal;
  readonly #onWait: (why: string) => void;
  #at = 0;

  /** `remotes`: the node the user named first. */
  constructor(remotes: readonly Remote[], signal: AbortSignal, onWait: (why: string) => void) {
    // The order of tables and rows is the file's, and a parent may come later. It was checked in the file.
    const options = { consistency: "leader", before: "PRAGMA foreign_keys = off" };
    this.#nodes = remotes.map((remote) => new Hrana(remote, options));
    this.#signal = signal;
    this.#onWait = onWait;
  }

  get position(): string | undefined {
    return this.#nodes[this.#at]!.position;
  }

  async query(sql: string): Promise<string[][]> {
    const { rows } = await this.#patiently((hrana) => hrana.execute({ sql }));
    return rows.map((row) => row.map((value) => ("value" in value ? String(value.value) : "")));
  }

  /**
   * All or nothing, and at most once if the statements see to it: `done` is what a repetition is refused with whose
   * first try had worked after all. Gives undefined then, as nothing is known of the results.
   */
  async transaction(
    stmts: readonly WireStmt[],
    done: RegExp,
  ): Promise<readonly WireResult[] | undefined> {
    return await this.#patiently(async (hrana, isUnsure) => {
      try {
        return await hrana.transaction(stmts);
      } catch (error) {
        if (isUnsure && error instanceof Refused && done.test(error.message)) return undefined;
        throw error;
      }
    });
  }

  /** For statements that may be repeated freely; goes on after an interruption. */
  async cleanUp(stmts: readonly WireStmt[]): Promise<void> {
    await this.#patiently((hrana) => hrana.transaction(stmts), new AbortController().signal);
  }

  async #patiently<T>(
    action: (hrana: Hrana, isUnsure: boolean) => Promise<T>,
    signal = this.#signal,
  ): Promise<T> {
    const startMs = performance.now();
    let isUnsure = false;
    for (let pause = pauseMs; ; pause = Math.min(2 * pause, pauseMaxMs)) {
      if (signal.aborted) throw new Failure("interrupted");
      try {
        return await action(this.#nodes[this.#at]!, isUnsure);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        const mayHaveWorked =
          error instanceof Broken || (error instanceof Refused && error.code === "UNKNOWN_OUTCOME");
        const isWorthIt =
          mayHaveWorked ||
          error instanceof Unreachable ||
          (error instanceof Refused && later.has(error.code));
        if (!isWorthIt) throw error;
        if (performance.now() - startMs > giveUpMs) {
          throw new Failure(`nothing worked for a minute; at last: ${error.message}`, error.hint);
        }
        isUnsure ||= mayHaveWorked;
        this.#onWait(error.message);
        await sleep(pause, undefined, { signal }).catch(() => undefined);
        this.#at = (this.#at + 1) % this.#nodes.length;
      }
    }
  }
}

/** The node that was named, and the others of its cluster that answer. */
export async function nodesOf(remote: Remote): Promise<Remote[]> {
  const { nodes } = await remote.status();
  const others = nodes.filter((node) => node.reachable).map((node) => new Remote(node.url));
  return [remote, ...others.filter((other) => other.url !== remote.url)];
}
