/**
 * What a random application does to its database: tables of all kinds come, grow, shrink and go; blobs span pages and
 * are cut; free pages are given back. Every transaction also writes its number into two tables far from each other.
 */

import type { DatabaseSync } from "node:sqlite";
import type { Prng } from "../../src/base/prng.ts";
import { limits } from "../../src/limits.ts";

export class RandomWork {
  readonly #prng: Prng;
  readonly #tables = new Map<string, string>();
  #next = 1;

  constructor(prng: Prng) {
    this.#prng = prng;
  }

  begin(c: DatabaseSync): void {
    c.exec("CREATE TABLE mark_a(n INTEGER); INSERT INTO mark_a VALUES (1)");
    c.exec("CREATE TABLE pad_between(b BLOB); INSERT INTO pad_between VALUES (zeroblob(20000))");
    c.exec("CREATE TABLE mark_b(n INTEGER); INSERT INTO mark_b VALUES (1)");
  }

  transaction(c: DatabaseSync): void {
    c.exec("UPDATE mark_a SET n = n + 1");
    const steps = this.#prng.integer(1, 5);
    for (let i = 0; i < steps; i++) this.#step(c);
    c.exec("UPDATE mark_b SET n = n + 1");
  }

  #step(c: DatabaseSync): void {
    const prng = this.#prng;
    const draw = prng.integer(0, 100);
    if (this.#tables.size === 0 || (draw < 8 && this.#tables.size < 5)) return this.#create(c);
    const names = [...this.#tables.keys()];
    const name = names[prng.integer(0, names.length)]!;
    if (draw < 55) this.#insert(c, name);
    else if (draw < 70) this.#resize(c, name);
    else if (draw < 85) c.exec(`DELETE FROM ${name} WHERE k % 7 < ${prng.integer(0, 7)}`);
    else if (draw < 89) c.exec(`DELETE FROM ${name}`);
    else if (draw < 92) this.#drop(c, name);
    else if (draw < 95) c.exec(`CREATE INDEX IF NOT EXISTS ${name}_t ON ${name}(t, k)`);
    else c.exec(`PRAGMA incremental_vacuum(${prng.integer(1, 50)})`);
  }

  #create(c: DatabaseSync): void {
    const prng = this.#prng;
    const name = `t${this.#next++}`;
    const columns = Array.from({ length: prng.integer(0, 4) }, (_, i) => `, c${i} DEFAULT ${i}`);
    const unique = prng.chance(0.3) ? ", u TEXT AS (t || k) STORED UNIQUE" : "";
    const tail = prng.chance(0.3) ? " WITHOUT ROWID" : "";
    const sql = `CREATE TABLE ${name}(k INTEGER PRIMARY KEY, v BLOB, t TEXT${unique}${columns.join("")})${tail}`;
    c.exec(sql);
    this.#tables.set(name, sql);
  }

  #insert(c: DatabaseSync, name: string): void {
    const prng = this.#prng;
    const insert = c.prepare(`INSERT OR REPLACE INTO ${name}(k, v, t) VALUES (?, ?, ?)`);
    const count = prng.integer(1, 30);
    for (let i = 0; i < count; i++) {
      insert.run(prng.integer(1, 400), this.#blob(), `text ${prng.u32()}`);
    }
  }

  /** Longer or shorter by pages. */
  #resize(c: DatabaseSync, name: string): void {
    const update = c.prepare(`UPDATE ${name} SET v = ? WHERE k % 11 = ?`);
    update.run(this.#blob(), this.#prng.integer(0, 11));
  }

  #drop(c: DatabaseSync, name: string): void {
    c.exec(`DROP TABLE ${name}`);
    this.#tables.delete(name);
  }

  #blob(): Uint8Array {
    const prng = this.#prng;
    const size = limits.pageSize;
    const about = [20, 300, size - 40, size, 3 * size][prng.integer(0, 5)]!;
    const length = Math.min(30_000, Math.max(0, about + prng.integer(-20, 21)));
    return new Uint8Array(length).fill(prng.integer(0, 256));
  }
}
