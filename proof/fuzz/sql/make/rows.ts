/** Statements that change or read rows. */

import type { Prng } from "../../../../src/base/prng.ts";
import { pick } from "../../mutate.ts";
import type { Verb } from "../list.ts";
import type { Schema, Table } from "./schema.ts";
import type { Values } from "./values.ts";

export type Written = { readonly sql: string; readonly verb: Verb; readonly reads?: boolean };

export class Rows {
  readonly #prng: Prng;
  readonly #schema: Schema;
  readonly #values: Values;

  constructor(prng: Prng, schema: Schema, values: Values) {
    this.#prng = prng;
    this.#schema = schema;
    this.#values = values;
  }

  insert(): Written {
    const prng = this.#prng;
    const table = this.#schema.some();
    const source = prng.integer(0, 12);
    const verb = prng.chance(0.1) && !this.#schema.sound ? "REPLACE" : `INSERT${this.#or()}`;
    const columns = table.columns.filter(() => prng.chance(0.7));
    if (columns.length === 0) columns.push(table.columns[0]!);
    const alias = prng.chance(0.03) ? " AS z" : "";
    const list = columns.map((column) => this.#schema.name(column)).join(", ");
    const into = `${verb} INTO ${this.#schema.name(table.name)}${alias}`;
    if (source === 0) return this.#inserted(`${into} DEFAULT VALUES${this.#returning(table)}`);
    const rest = `${this.#upsert(table)}${this.#returning(table)}`;
    const places = prng.chance(0.9) ? `(${list})` : "";
    if (source === 1) {
      const from = this.#schema.some();
      const what = columns.map(() => this.#expression(from)).join(", ");
      const where = ` FROM ${this.#schema.name(from.name)} WHERE ${this.#condition(from)}`;
      return this.#inserted(`${into}${places} SELECT ${what}${where}${rest}`);
    }
    const width = prng.chance(0.97) ? columns.length : columns.length + 1;
    const tuple = () => `(${Array.from({ length: width }, () => this.#values.next()).join(", ")})`;
    const rows = Array.from({ length: prng.chance(0.5) ? 1 : prng.integer(2, 6) }, tuple).join(
      ", ",
    );
    if (source === 2) {
      const names = Array.from({ length: width }, (_, i) => `w${i}`).join(", ");
      const read = `SELECT * FROM w${rest === "" ? "" : " WHERE true"}`;
      return this.#inserted(`WITH w(${names}) AS (VALUES ${rows}) ${into}${places} ${read}${rest}`);
    }
    return this.#inserted(`${into}${places} VALUES ${rows}${rest}`);
  }

  update(): Written {
    const prng = this.#prng;
    const table = this.#schema.some();
    const set = Array.from({ length: prng.integer(1, 3) }, () => {
      const column = this.#schema.column(table);
      return `${column} = ${pick([this.#values.next(), this.#expression(table), `${column} + 1`], prng)}`;
    });
    const from = prng.chance(0.06) ? " FROM (SELECT 2 AS q) AS q2" : "";
    const where = prng.chance(0.8) ? ` WHERE ${this.#condition(table)}` : "";
    const sql = `UPDATE${this.#or()} ${this.#schema.name(table.name)} SET ${set.join(", ")}${from}${where}`;
    return { sql: `${this.#with()}${sql}${this.#returning(table)}`, verb: "change" };
  }

  remove(): Written {
    const table = this.#schema.some();
    const where = this.#prng.chance(0.85) ? ` WHERE ${this.#condition(table)}` : "";
    const sql = `DELETE FROM ${this.#schema.name(table.name)}${where}${this.#returning(table)}`;
    return { sql: this.#with() + sql, verb: "change" };
  }

  select(): Written {
    const prng = this.#prng;
    const table = this.#schema.some();
    const name = this.#schema.name(table.name);
    const column = this.#schema.column(table);
    const condition = this.#condition(table);
    const order = ` ORDER BY ${table.columns.map((_, i) => i + 1).join(", ")}`;
    const sql = pick(
      [
        `SELECT * FROM ${name}${order}`,
        `SELECT * FROM ${name} WHERE ${condition}${order}`,
        `SELECT count(*), sum(${column} IS NULL), typeof(max(${column})) FROM ${name}`,
        `SELECT ${this.#expression(table)} AS ${this.#schema.name("Name x")} FROM ${name} ORDER BY 1`,
        `SELECT ${column}, count(*) FROM ${name} GROUP BY ${column} ORDER BY 1, 2`,
        `VALUES (${this.#values.next()}, ${this.#values.next()}), (1, ${this.#values.next()})`,
        `SELECT ${this.#values.next()}, ${this.#values.next()} AS "two", typeof(${this.#values.next()})`,
        `SELECT json_extract(${this.#values.parameter()}, '$.k')`,
        `SELECT abs(${this.#values.parameter()})`,
        `SELECT ${column} FROM ${name} UNION SELECT ${this.#values.next()} ORDER BY 1`,
        `WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 9) SELECT sum(i) FROM r`,
        `SELECT rowid, * FROM ${name} ORDER BY 1`,
        `SELECT (SELECT count(*) FROM ${name} WHERE ${condition}), ${this.#values.next()}`,
        `SELECT abs(${this.#values.next()}), substr(${this.#values.next()}, 1, 2), hex(${this.#values.next()})`,
        `SELECT sum(${column}) OVER (ORDER BY ${column}) FROM ${name} ORDER BY 1`,
        table.kind === "fts"
          ? `SELECT rowid, a FROM ${name}(${pick(["'a'", "'b OR a'", "'\"'", "'a*'"], prng)}) ORDER BY rowid`
          : `SELECT DISTINCT ${column} FROM ${name} ORDER BY 1`,
      ],
      prng,
    );
    const head = pick(["EXPLAIN QUERY PLAN ", ...Array<string>(30).fill("")], prng);
    return { sql: head + sql, verb: "other", reads: true };
  }

  #inserted(sql: string): Written {
    return { sql, verb: "insert" };
  }

  #or(): string {
    return this.#prng.chance(0.3) ? ` OR ${this.#schema.clause()}` : "";
  }

  #with(): string {
    return this.#prng.chance(0.08) ? "WITH u(i) AS (SELECT 1) " : "";
  }

  #upsert(table: Table): string {
    const prng = this.#prng;
    if (!prng.chance(0.12) || table.kind !== "table") return "";
    const target = prng.chance(0.6) ? ` (${this.#schema.name(table.columns[0]!)})` : "";
    const column = this.#schema.column(table);
    const doing = pick(
      ["NOTHING", `UPDATE SET ${column} = excluded.${column}`, `UPDATE SET ${column} = 3`],
      prng,
    );
    return ` ON CONFLICT${target} DO ${doing}`;
  }

  #returning(table: Table): string {
    const prng = this.#prng;
    if (!prng.chance(0.15)) return "";
    const what = pick(
      ["*", this.#schema.column(table), "abs(-9223372036854775807 - 1)", "json('{')", "1, 2"],
      prng,
    );
    return ` RETURNING ${what}`;
  }

  #expression(table: Table): string {
    const column = this.#schema.column(table);
    const value = this.#values.next();
    return pick(
      [
        ...[
          column,
          column,
          `${column} + ${value}`,
          `${column} || 'x'`,
          `coalesce(${column}, ${value})`,
        ],
        ...[
          `CASE WHEN ${column} > ${value} THEN 1 ELSE ${column} END`,
          `abs(${column})`,
          this.#schema.hasSearch ? "1" : "changes()",
        ],
        ...[
          this.#schema.hasSearch ? "2" : "last_insert_rowid()",
          `(SELECT max(${column}) FROM ${this.#schema.name(table.name)})`,
        ],
        `json_array(${column})`,
      ],
      this.#prng,
    );
  }

  #condition(table: Table): string {
    const column = this.#schema.column(table);
    return pick(
      [
        ...[`${column} = ${this.#values.next()}`, `${column} > ${this.#values.small()}`, "true"],
        ...[`${column} IS ${this.#values.next()}`, `${column} IN (1, 2, ${this.#values.next()})`],
        ...[`${column} LIKE 'a%'`, `${column} BETWEEN ${this.#values.small()} AND 6`, "NOT false"],
      ],
      this.#prng,
    );
  }
}
