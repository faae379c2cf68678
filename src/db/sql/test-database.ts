/** For tests: a newborn database in a directory of its own, removed when the test process ends. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EntryId, lsn, term } from "../../vocabulary.ts";
import { openScratch } from "../process/connection.ts";
import type { Recording } from "../record/recording.ts";
import { makeGenesisImage } from "../served/birth.ts";
import { GroupCommit, type GroupRun, type RunSession } from "./group-commit.ts";
import type { Condition, SqlRequest, Stmt, Unit, Value } from "./request.ts";

process.setMaxListeners(1_000);

/** Path of a database that holds the position row and nothing else. */
export function newDatabase(): string {
  const dir = mkdtempSync(join(tmpdir(), "paceline-test-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const path = join(dir, "main.sqlite");
  writeFileSync(path, makeGenesisImage(dir).pages);
  return path;
}

/** A group commit on a fresh database, with every run one position further. */
export class TestWriter {
  readonly path = newDatabase();
  readonly db = openScratch(this.path);
  readonly group: GroupCommit;
  position: EntryId = { lsn: lsn(0), term: term(1) };

  /** `onStatement` is called before each statement, where tests do what no client may. */
  constructor(recording?: Recording, onStatement: (writer: TestWriter) => void = () => {}) {
    const watch = { onUnit() {}, onStatement: () => onStatement(this) };
    this.group = new GroupCommit(this.db, watch, recording);
  }

  run(units: readonly Unit[], session: RunSession = "none"): GroupRun {
    this.position = { lsn: lsn(this.position.lsn + 1), term: this.position.term };
    return this.group.run(units, this.position, session);
  }

  /** Runs one unit and gives its results as values. */
  results(unit: Unit, session: RunSession = "none"): unknown[] {
    return this.run([unit], session).outcomes[0]!.results.map((text) => JSON.parse(text));
  }

  /** Rows of a query as plain values, straight from the connection. */
  rows(sql: string): unknown[][] {
    return (this.db.prepare(sql).all() as unknown as unknown[][]).map((row) =>
      row.map((value) => (typeof value === "bigint" ? Number(value) : value)),
    );
  }

  stored(): EntryId {
    const [row] = this.rows("SELECT lsn, term FROM sqlite_paceline");
    return { lsn: lsn(Number(row![0])), term: term(Number(row![1])) };
  }
}

export function stmt(sql: string, args: readonly Value[] = []): Stmt {
  return { sql, args, namedArgs: [], wantRows: true };
}

export function execute(sql: string, ...args: Value[]): SqlRequest {
  return { type: "execute", stmt: stmt(sql, args) };
}

export function unit(...requests: (SqlRequest | string)[]): Unit {
  return {
    requests: requests.map((each) => (typeof each === "string" ? execute(each) : each)),
  };
}

/** A batch as @libsql/client sends it: BEGIN, each step if the one before is ok, COMMIT, else ROLLBACK. */
export function transaction(begin: string, ...sql: string[]): SqlRequest {
  const texts = [begin, ...sql, "COMMIT"];
  const steps = texts.map((text, at) => ({
    stmt: stmt(text),
    condition: at === 0 ? undefined : ({ type: "ok", step: at - 1 } as Condition),
  }));
  const failed: Condition = { type: "not", cond: { type: "ok", step: texts.length - 1 } };
  return { type: "batch", steps: [...steps, { stmt: stmt("ROLLBACK"), condition: failed }] };
}

export const integer = (value: number): Value => ({ type: "integer", value: String(value) });
export const text = (value: string): Value => ({ type: "text", value });
