// A backend of one node without a cluster: the real execution of requests on a real database, one unit at a time.
// Has no tests of its own.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { makeGenesisImage } from "../db/served/birth.ts";
import { GroupCommit, type RunSession } from "../db/sql/group-commit.ts";
import type { Unit } from "../db/sql/request.ts";
import type { RunAnswer, RunOptions } from "../node/route/run.ts";
import { lsn, term } from "../vocabulary.ts";
import { ScriptedBackend } from "./scripted-backend.test.ts";

export class SqliteBackend extends ScriptedBackend {
  readonly #dir = mkdtempSync(join(tmpdir(), "paceline-api-"));
  readonly #db: DatabaseSync;
  readonly #commit: GroupCommit;
  #lsn = 0;
  #session: string | undefined;
  /** The session was closed from outside; the next run undoes it. */
  #undo = false;
  /** Units that wait for the end of a transaction that is not theirs. */
  #waiting: (() => void)[] = [];

  constructor() {
    super();
    const path = join(this.#dir, "main.sqlite");
    writeFileSync(path, makeGenesisImage(this.#dir).pages);
    this.#db = new DatabaseSync(path, { readBigInts: true, returnArrays: true });
    this.#commit = new GroupCommit(this.#db, { onUnit: () => {}, onStatement: () => {} });
    this.answer = (unit, options) => this.#run(unit, options);
  }

  override closeSession(session: string): void {
    super.closeSession(session);
    if (session !== this.#session) return;
    this.#undo = true;
    this.#end();
  }

  [Symbol.dispose](): void {
    this.#db.close();
    rmSync(this.#dir, { recursive: true });
  }

  async #run(unit: Unit, { session }: RunOptions): Promise<RunAnswer> {
    while (this.#session !== undefined && this.#session !== session) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    let how: RunSession = "none";
    if (session !== undefined && session === this.#session) how = "continue";
    else if (this.#undo) how = "rollback";
    this.#undo = false;
    const position = { lsn: lsn(++this.#lsn), term: term(1) };
    const run = this.#commit.run([unit], position, how);
    if (run.open) this.#session ??= `s${this.#lsn}`;
    else this.#end();
    const { results, connection } = run.outcomes[0]!;
    return { results, position, session: this.#session, connection };
  }

  #end(): void {
    this.#session = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
