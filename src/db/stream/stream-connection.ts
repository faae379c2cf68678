/**
 * A real connection as the connection of the stream whose unit runs on it: its settings, its counters, and the PRAGMAs
 * that it is answered without the real one. Streams take turns, one unit each.
 *
 * Not here: transactions (sql/client-transaction.ts).
 */

import type { DatabaseSync } from "node:sqlite";
import type { Authorizer, PragmaCall } from "../sql/authorizer.ts";
import type { Unit } from "../sql/request.ts";
import type { Shape } from "../sql/shape.ts";
import { SqlError } from "../sql/sql-error.ts";
import { type ConnectionState, newConnection } from "./connection-state.ts";
import { Counters } from "./counters.ts";
import { ModelConnection, type PragmaAnswer } from "./model.ts";
import { pragmaUse, settings } from "./pragmas.ts";
import { ConnectionSettings } from "./settings.ts";

/** What a statement uses of what the connection counts. */
type Uses = {
  readonly usesRowid: boolean;
  readonly usesChanges: boolean;
  readonly usesTotal: boolean;
  readonly explained: Shape;
  readonly shape: Shape;
};

export class StreamConnection {
  readonly counters: Counters;
  readonly #settings: ConnectionSettings;
  #model: ModelConnection | undefined;
  // Of the stream:
  #before: ConnectionState = newConnection;
  #own: Readonly<Record<string, string>> = {};
  /** Something ran that ends a transaction of its own, where none is open. */
  #ranStatement = false;

  /** Before the authorizer is set. */
  constructor(db: DatabaseSync, authorizer: Authorizer) {
    this.counters = new Counters(db, authorizer);
    this.#settings = new ConnectionSettings(db, authorizer);
  }

  /** Units with these settings come next. Outside of transactions. True when the connection had others. */
  use(unit: Unit): boolean {
    return this.#settings.apply(unit);
  }

  /** The unit begins. */
  enter({ connection }: Unit): void {
    this.#before = connection ?? newConnection;
    this.#own = this.#before.settings;
    this.#ranStatement = false;
    this.counters.enter(this.#before);
  }

  /** The unit has ended: what its stream has now, if that has changed. */
  leave(inTransaction: boolean): ConnectionState | undefined {
    if ("defer_foreign_keys" in this.#own) this.#endDeferral(inTransaction);
    const { state } = this.counters;
    if (this.#own === this.#before.settings && state === this.#before) return undefined;
    const { lastInsertRowid, changes, totalChanges } = state;
    return { settings: this.#own, lastInsertRowid, changes, totalChanges };
  }

  /** The stream has said PRAGMA query_only. */
  get isReadonly(): boolean {
    return this.#own["query_only"] === "1";
  }

  /** A statement is about to run. Throws SqlError when it uses what cannot be right. */
  ready({ usesRowid, usesChanges, usesTotal, explained, shape }: Uses): void {
    this.#ranStatement = true;
    if (usesTotal) {
      throw new SqlError(
        "BLOCKED",
        "total_changes() is not available inside a view, trigger, DEFAULT or CHECK: clients share connections; " +
          "call it outside",
      );
    }
    if (usesRowid) this.counters.giveRowid();
    if (usesChanges) this.counters.giveChanges();
    // SQLite counts a change that is only explained as one of nothing.
    if (explained.kind === "change" && shape.kind === "select") this.counters.nothing();
  }

  /** Sets what changes how statements run. True: statements must be compiled anew. */
  set({ name, value }: PragmaCall): void {
    const key = name.toLowerCase();
    this.#settings.set(key, value ?? "");
    const now = this.#settings.readBack().get(key)!;
    // The usual value of foreign_keys is another one in each cluster.
    this.#keep(key, now === settings.get(key) && key !== "foreign_keys" ? undefined : now);
  }

  /** Answers what does not concern the real connection. Throws SqlError. */
  ask({ name, value }: PragmaCall, inTransaction: boolean): PragmaAnswer {
    this.#model ??= new ModelConnection();
    const key = name.toLowerCase();
    if (pragmaUse(key, value) === "fixed") return this.#model.fixed(key, value);
    const { answer, own } = this.#model.kept({ name: key, value }, this.#own[key], inTransaction);
    this.#keep(key, own);
    return answer;
  }

  /** Undefined for the usual value. */
  #keep(name: string, value: string | undefined): void {
    if (this.#own[name] === value) return;
    const { [name]: _, ...others } = this.#own;
    this.#own = value === undefined ? others : { ...others, [name]: value };
  }

  /** It is over with the transaction, and SQLite has switched it off then. */
  #endDeferral(inTransaction: boolean): void {
    const isOn = this.#settings.readBack().get("defer_foreign_keys") === "1";
    if (isOn && (inTransaction || !this.#ranStatement)) return;
    this.#keep("defer_foreign_keys", undefined);
  }
}
