/**
 * The settings of a real connection that many streams share: set to those of the stream that uses it next, and read
 * back when it has changed some. Only outside of transactions; inside, SQLite ignores some of them.
 *
 * After a setting has changed, SQLite compiles every statement anew. So units with equal settings run together
 * (group-commit.ts), and nothing is set that is so already.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../base/assert.ts";
import type { Authorizer } from "../sql/authorizer.ts";
import { quoted } from "../sql/quoted.ts";
import type { Unit } from "../sql/request.ts";
import { settings } from "./pragmas.ts";

type Values = ReadonlyMap<string, string>;

export class ConnectionSettings {
  readonly #db: DatabaseSync;
  readonly #authorizer: Authorizer;
  readonly #read: ReadonlyMap<string, StatementSync>;
  #now: Values;

  /** For a connection that is as it was opened. */
  constructor(db: DatabaseSync, authorizer: Authorizer) {
    this.#db = db;
    this.#authorizer = authorizer;
    this.#read = new Map([...settings.keys()].map((name) => [name, db.prepare(readingOf(name))]));
    this.#now = new Map();
    this.readBack();
  }

  /** Makes them those of the unit. True when something changed. */
  apply(unit: Unit): boolean {
    let changed = false;
    for (const [name, value] of wantedBy(unit)) {
      if (this.#now.get(name) === value) continue;
      assert(!this.#db.isTransaction, "settings are changed outside of transactions");
      this.set(name, value);
      changed = true;
    }
    if (changed) this.readBack();
    return changed;
  }

  /** As a client asks for it: whatever SQLite makes of the value. */
  set(name: string, value: string): void {
    this.#authorizer.asOurselves(() => this.#db.exec(`PRAGMA ${quoted(name)} = ${quoted(value)}`));
  }

  /** What they are now. */
  readBack(): Values {
    const values = this.#authorizer.asOurselves(() =>
      [...this.#read].map(([name, read]) => [name, String(read.get())] as const),
    );
    this.#now = new Map(values);
    const changed = values.filter(([name, value]) => value !== settings.get(name));
    const names = new Set(changed.map(([name]) => name));
    names.delete("foreign_keys");
    this.#authorizer.changedRules = names;
    return this.#now;
  }
}

/** Equal for units that may share a transaction as far as settings go. */
export function settingsKey(unit: Unit): string {
  const own = unit.connection?.settings ?? {};
  const isPlain = Object.keys(own).length === 0;
  return isPlain ? String(unit.foreignKeys ?? false) : [...wantedBy(unit).values()].join();
}

/** Lasts until the end of the transaction, whoever is in it. */
export function mustRunAlone(unit: Unit): boolean {
  return unit.connection?.settings["defer_foreign_keys"] === "1";
}

function wantedBy({ connection, foreignKeys }: Unit): Values {
  const own = connection?.settings ?? {};
  const agreed = foreignKeys === true ? "1" : "0";
  return new Map(
    [...settings].map(([name, usual]) => {
      const otherwise = name === "foreign_keys" ? agreed : usual;
      return [name, own[name] ?? otherwise];
    }),
  );
}

function readingOf(name: string): string {
  // It is the only one that does not tell.
  return name === "case_sensitive_like" ? "SELECT 'a' NOT LIKE 'A'" : `PRAGMA ${name}`;
}
