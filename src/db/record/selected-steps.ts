/**
 * Runs what was recorded elsewhere where only some tables are kept (selection.ts): rows of others are left out, and
 * statements that write none of the chosen ones are passed over.
 *
 * A statement that writes a chosen table and reads another cannot be run here. Nor can one of the schema that brings a
 * chosen name to rows from elsewhere. Either is a difference from the leader's copy, and is mended like any other, by
 * copying pages: CorruptionError.
 */

import type { DatabaseSync } from "node:sqlite";
import { CorruptionError } from "../../base/errors.ts";
import type { RecordedStatement, Step } from "../../changes/steps.ts";
import { shapeOf } from "../sql/classify.ts";
import { quoted } from "../sql/quoted.ts";
import { parseScript } from "../sql/tokenizer.ts";
import type { Selection, Use } from "./selection.ts";
import type { StepRunner } from "./step-runner.ts";

export class SelectedSteps {
  readonly #db: DatabaseSync;
  readonly #selection: Selection;
  readonly #runner: StepRunner;
  /** What is not chosen was looked for and removed: pages that were copied hold all tables. */
  #isPruned = false;

  /** `runner` is the one that keeps to `selection`. */
  constructor(db: DatabaseSync, selection: Selection, runner: StepRunner) {
    this.#db = db;
    this.#selection = selection;
    this.#runner = runner;
  }

  /** An entry begins. */
  start(): void {
    if (!this.#isPruned) this.#prune();
    this.#isPruned = true;
  }

  run(step: Step): void {
    if (step.type === "statement") this.#repeat(step);
    else if (step.type !== "sequence" || this.#selection.has(step.table)) this.#runner.run(step);
  }

  #repeat(step: Extract<Step, { type: "statement" }>): void {
    const { statement } = step;
    const [parsed] = parseScript(statement.sql);
    const kind = parsed === undefined ? "change" : shapeOf(parsed).kind;
    if (kind !== "change" && kind !== "schema") return this.#runner.run(step);
    // What foreign keys do is compiled as well, and depends on the PRAGMA.
    this.#runner.begin(statement.foreignKeys);
    const use = this.#selection.useOf(() => void this.#db.prepare(statement.sql));
    if (kind === "schema") return this.#changeSchema(step, use);
    if (!use.writesChosen) return;
    if (use.readsOther !== undefined) throw needs(use.readsOther, statement);
    this.#runner.run(step);
    if (use.writesOthers) this.#prune();
  }

  /** The schema is that of the leader, whatever is chosen; but rows may come to a chosen name from another one. */
  #changeSchema(step: Extract<Step, { type: "statement" }>, use: Use): void {
    const selection = this.#selection;
    const before = selection.existing;
    this.#runner.run(step);
    selection.forget();
    const isNew = [...selection.existing].find((name) => !before.has(name));
    const { statement } = step;
    if (isNew !== undefined && use.alters) throw needs(`what ${isNew} was before`, statement);
    if (isNew !== undefined && use.readsOther !== undefined) throw needs(use.readsOther, statement);
    this.#prune();
  }

  /** Removes the rows of tables that are not chosen. */
  #prune(): void {
    for (const { name, isVirtual } of this.#selection.others) {
      const table = `main.${quoted(name)}`;
      try {
        if (this.#db.prepare(`SELECT 1 FROM ${table} LIMIT 1`).get() === undefined) continue;
        this.#runner.begin(false);
        this.#withoutTriggers(name, () => this.#db.exec(`DELETE FROM ${table}`));
      } catch (cause) {
        // Some virtual tables hold no rows of their own, or cannot be emptied so; they are not read here either way.
        if (!isVirtual) throw cause;
      }
    }
  }

  /** Triggers that delete cannot be muted by an authorizer, so they go and come back. */
  #withoutTriggers(table: string, run: () => void): void {
    const triggers = this.#db
      .prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?)",
      )
      .all(table) as unknown as [string, string][];
    for (const [name] of triggers) this.#db.exec(`DROP TRIGGER main.${quoted(name)}`);
    run();
    for (const [, sql] of triggers) this.#db.exec(sql);
  }
}

function needs(what: string, { sql }: RecordedStatement): CorruptionError {
  return new CorruptionError(
    `a statement needs ${what}, which is not among the tables kept here: ${sql.slice(0, 200)}`,
  );
}
