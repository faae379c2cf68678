/** Beside rows and schema: transactions and savepoints, PRAGMAs, what a connection remembers, and nonsense. */

import type { Prng } from "../../../../src/base/prng.ts";
import { mutateText, pick } from "../../mutate.ts";
import type { Written } from "./rows.ts";
import type { Schema } from "./schema.ts";
import { named } from "./words.ts";

const begins = [
  ...[
    "BEGIN",
    "BEGIN",
    "BEGIN TRANSACTION",
    "BEGIN DEFERRED",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE",
  ],
  ...["BEGIN IMMEDIATE TRANSACTION", "BEGIN DEFERRED TRANSACTION"],
];
const ends = ["COMMIT", "COMMIT", "END", "COMMIT TRANSACTION", "END TRANSACTION"];
const rollbacks = ["ROLLBACK", "ROLLBACK TRANSACTION"];
const savepointNames = ["s", "s", "S", "t", "a b", "é", "1", "commit", 'q"q', "", "x]y"];

const probes = [
  "SELECT changes(), total_changes(), last_insert_rowid()",
  "SELECT changes()",
  "SELECT total_changes()",
  "SELECT last_insert_rowid()",
];

const settings = ["foreign_keys", "recursive_triggers", "defer_foreign_keys", "legacy_alter_table"];
const rareSettings = ["ignore_check_constraints", "reverse_unordered_selects", "count_changes"];
const onOff = ["on", "off", "1", "0", "true", "no", "'yes'", "7"];

const nonsense = [
  ...[
    "SELEC 1",
    "SELECT",
    "SELECT * FROM",
    "INSERT INTO",
    "SELECT 'a",
    'SELECT "a',
    "SELECT 1 /* c",
  ],
  ...["(", "SELECT nothing()", "SELECT a.b.c.d", "SELECT 1 FROM", "COMMIT COMMIT", "BEGIN BEGIN"],
  ...[
    "SELECT ?1 + :a",
    "SELECT 1, ",
    "CREATE TABLE",
    "SAVEPOINT",
    "RELEASE",
    "ROLLBACK TO",
    "\u0001",
  ],
  ...[
    "SELECT x'0'",
    "SELECT 1e",
    "SELECT ()",
    "SELECT (1, 2)",
    "VALUES (1), (1, 2)",
    "é",
    "SELECT [a",
  ],
  ...[
    "END END",
    "EXPLAIN",
    "EXPLAIN EXPLAIN SELECT 1",
    "WITH",
    "WITH x AS (SELECT 1)",
    "PRAGMA",
    "#",
  ],
  ...[
    "SELECT count(DISTINCT)",
    "SELECT 1 LIMIT 'x'",
    "SELECT CAST(1 AS",
    "SELECT raise(ABORT, 'x')",
  ],
  ...["SELECT 1 WHERE max(1, 2, 3) > sum(1)", "SELECT json('{')", "SELECT 1 COLLATE nothing"],
  ...[
    "SELECT abs(-9223372036854775807 - 1)",
    "SELECT json_extract('{', '$')",
    "SELECT 1 UNION SELECT 1, 2",
  ],
  ...["SELECT round(1, 2, 3)", "SELECT like('a', 'b', '')", "SELECT zeroblob(3000000000)"],
];

/** What the nodes refuse (refusals.ts); the lists go on behind it. */
const refused = [
  ...[
    "ATTACH ':memory:' AS other",
    "DETACH other",
    "CREATE TEMP TABLE tmp(a)",
    "PRAGMA journal_mode = DELETE",
  ],
  ...["CREATE TEMP VIEW tv AS SELECT 1", "PRAGMA writable_schema = 1", "VACUUM INTO '/tmp/none'"],
  ...["SAVEPOINT paceline_unit", "SELECT load_extension('x')", "PRAGMA locking_mode = EXCLUSIVE"],
];

export class Control {
  readonly #prng: Prng;
  readonly #schema: Schema;

  constructor(prng: Prng, schema: Schema) {
    this.#prng = prng;
    this.#schema = schema;
  }

  transaction(): Written {
    const prng = this.#prng;
    const name = named(pick(savepointNames, prng), prng);
    const to = pick(
      ["ROLLBACK TO", "ROLLBACK TRANSACTION TO SAVEPOINT", "ROLLBACK TO SAVEPOINT"],
      prng,
    );
    const sql = pick(
      [
        ...[pick(begins, prng), pick(begins, prng), pick(ends, prng), pick(ends, prng)],
        ...[pick(rollbacks, prng), `SAVEPOINT ${name}`, `SAVEPOINT ${name}`, `${to} ${name}`],
        ...[`RELEASE ${name}`, `RELEASE SAVEPOINT ${name}`],
      ],
      prng,
    );
    return { sql, verb: "other" };
  }

  begin(): Written {
    return { sql: pick([...begins, "SAVEPOINT s"], this.#prng), verb: "other" };
  }

  end(): Written {
    return { sql: pick([...ends, "ROLLBACK"], this.#prng), verb: "other" };
  }

  probe(): Written {
    const sql = this.#schema.hasSearch ? "SELECT 1" : pick(probes, this.#prng);
    return { sql, verb: "other", reads: true };
  }

  pragma(): Written {
    const prng = this.#prng;
    const setting = pick(prng.chance(0.9) ? settings : rareSettings.slice(0, 1), prng);
    const table = this.#schema.name(this.#schema.some().name);
    const sql = pick(
      [
        ...[
          `PRAGMA ${setting}`,
          `PRAGMA ${setting} = ${pick(onOff, prng)}`,
          `PRAGMA main.${setting}`,
        ],
        ...[
          `PRAGMA ${setting}(${pick(onOff, prng)})`,
          `PRAGMA table_info(${table})`,
          "PRAGMA nothing",
        ],
        ...[
          `PRAGMA table_xinfo(${table})`,
          `PRAGMA index_list(${table})`,
          `PRAGMA foreign_key_list(${table})`,
        ],
        ...[
          `PRAGMA foreign_key_check(${table})`,
          `PRAGMA integrity_check(${table})`,
          "PRAGMA encoding",
        ],
        ...[
          `SELECT name FROM pragma_table_info('${this.#schema.some().name}')`,
          "PRAGMA query_only",
        ],
        ...[`PRAGMA quick_check(${table})`, "PRAGMA journal_mode"],
      ],
      prng,
    );
    const reads = !/=|\((?:on|off|1|0|true|no|'yes'|7)\)/.test(sql);
    return { sql, verb: "other", reads };
  }

  /** Bad SQL, or good SQL spoiled. */
  nonsense(good: string): Written {
    const prng = this.#prng;
    if (prng.chance(0.6)) return { sql: pick(nonsense, prng), verb: "unknown" };
    const spoiled = mutateText(good, pick(nonsense, prng), prng).toWellFormed();
    return { sql: harmless(spoiled) ? spoiled : "SELECT 1 +", verb: "unknown" };
  }

  refused(): Written {
    return { sql: pick(refused, this.#prng), verb: "unknown" };
  }

  explain(good: string): Written {
    return { sql: `EXPLAIN ${good}`, verb: "other" };
  }
}

/** Whether spoiled SQL still keeps to the tables of its list, and gives the same each time. */
function harmless(sql: string): boolean {
  if (/random|now|CURRENT|pragma|vacuum|attach|sqlite_|uffe/i.test(sql)) return false;
  return !/\b(?:CREATE|ALTER|DROP|RENAME|TABLE|REINDEX|ANALYZE)\b/i.test(sql);
}
