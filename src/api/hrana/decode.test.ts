// What passes the gateway of Hrana requests and what does not.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ClientError } from "../../base/errors.ts";
import { limits } from "../../limits.ts";
import { RequestDecoder, type StreamRequest } from "./decode.ts";
import { SqlTexts, type TextBudget } from "./sql-texts.ts";
import { decodeValue } from "./value.ts";

const decode = (requests: unknown, budget: TextBudget = { usedChars: 0 }) =>
  new RequestDecoder(new SqlTexts(budget)).pipeline(requests);

/** The code of the refusal; undefined when nothing was refused. */
function refusalOf(run: () => unknown): string | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof ClientError) return error.code;
    throw error;
  }
  return undefined;
}

test("values: exactly what was meant, or a refusal", () => {
  const check = (value: unknown, expected: unknown) => {
    let got: unknown = "refused";
    if (refusalOf(() => (got = decodeValue(value))) === "BAD_REQUEST") got = "refused";
    assert.deepEqual(got, expected, JSON.stringify(value));
  };
  const integer = (value: unknown) => ({ type: "integer", value });
  check({ type: "null", extra: 1 }, { type: "null" });
  check(integer("9223372036854775807"), integer("9223372036854775807"));
  check(integer("-9223372036854775808"), integer("-9223372036854775808"));
  check(integer(5), integer("5"));
  check(integer(-0), integer("0"));
  check(integer("007"), integer("7"));
  for (const bad of ["9223372036854775808", "1e3", "1.0", "", " 1", "+1", "0x1", 2 ** 53, 1.5]) {
    check(integer(bad), "refused");
  }
  for (const bad of [null, true, undefined, [], {}]) check(integer(bad), "refused");
  check({ type: "float", value: 1.5 }, { type: "float", value: 1.5 });
  for (const bad of [Number.POSITIVE_INFINITY, Number.NaN, "1.5", null]) {
    check({ type: "float", value: bad }, "refused");
  }
  check({ type: "text", value: "a\u0000😀" }, { type: "text", value: "a\u0000😀" });
  check({ type: "text", value: "\ud800" }, "refused");
  check({ type: "text" }, "refused");
  check({ type: "blob", base64: "AP8H" }, { type: "blob", base64: "AP8H" });
  check({ type: "blob", base64: "AA==" }, { type: "blob", base64: "AA==" });
  check({ type: "blob", base64: "AA" }, { type: "blob", base64: "AA" });
  for (const bad of ["A", "AAAAA", "A A=", "_-8", "AA===", 7]) {
    check({ type: "blob", base64: bad }, "refused");
  }
  check({ type: "date", value: 1 }, "refused");
  check({ type: "__proto__" }, "refused");
  check(null, "refused");
  check([], "refused");
});

test("statements and requests that cannot be read are refused", () => {
  const bad: unknown[] = [
    undefined,
    {},
    [null],
    [{}],
    [{ type: "execute" }],
    [{ type: "execute", stmt: {} }],
    [{ type: "execute", stmt: { sql: "x", sql_id: 1 } }],
    [{ type: "execute", stmt: { sql: "\udfff" } }],
    [{ type: "execute", stmt: { sql: "x", args: {} } }],
    [{ type: "execute", stmt: { sql: "x", want_rows: "yes" } }],
    [{ type: "execute", stmt: { sql: "x", named_args: [{ value: { type: "null" } }] } }],
    [{ type: "execute", stmt: { sql: "x", replication_index: "soon" } }],
    [{ type: "execute", stmt: { sql_id: 1 } }],
    [{ type: "sequence" }],
    [{ type: "describe", sql: 7 }],
    [{ type: "store_sql", sql_id: 2 ** 31, sql: "x" }],
    [{ type: "store_sql", sql_id: -0, sql: "x" }],
    [{ type: "store_sql", sql_id: 1.5, sql: "x" }],
    [{ type: "store_sql", sql_id: "1", sql: "x" }],
    [{ type: "store_sql", sql_id: 1 }],
    [{ type: "close" }, { type: "get_autocommit" }],
    [{ type: "toString" }],
  ];
  for (const requests of bad) {
    assert.equal(
      refusalOf(() => decode(requests)),
      "BAD_REQUEST",
      JSON.stringify(requests),
    );
  }
});

test("conditions refer to earlier steps only", () => {
  const batch = (condition: unknown) => [
    {
      type: "batch",
      batch: { steps: [{ stmt: { sql: "a" } }, { stmt: { sql: "b" }, condition }] },
    },
  ];
  const fine = {
    type: "and",
    conds: [
      { type: "ok", step: 0 },
      { type: "not", cond: { type: "is_autocommit" } },
    ],
  };
  const [decoded] = decode(batch(fine)) as [Extract<StreamRequest, { type: "sql" }>];
  assert.equal(
    decoded.request.type === "batch" && decoded.request.steps[1]?.condition?.type,
    "and",
  );
  assert.equal(
    refusalOf(() => decode(batch({ type: "or", conds: [] }))),
    undefined,
  );
  for (const step of [1, 2, -1, 0.5, "0", null]) {
    assert.equal(
      refusalOf(() => decode(batch({ type: "ok", step }))),
      "BAD_REQUEST",
    );
  }
  assert.equal(
    refusalOf(() => decode(batch({ type: "not" }))),
    "BAD_REQUEST",
  );
  assert.equal(
    refusalOf(() => decode(batch({ type: "xor", conds: [] }))),
    "BAD_REQUEST",
  );
});

test("stored SQL is taken in order, replaced, forgotten, and bounded", () => {
  const budget = { usedChars: 0 };
  const store = (id: number, sql: string) => ({ type: "store_sql", sql_id: id, sql });
  const execute = (id: number) => ({ type: "execute", stmt: { sql_id: id } });
  const decoded = decode(
    [store(0, "a"), execute(0), store(0, "bb"), execute(0), { type: "close_sql", sql_id: 9 }],
    budget,
  );
  const sqls = decoded.map(
    (r) => r.type === "sql" && r.request.type === "execute" && r.request.stmt.sql,
  );
  assert.deepEqual(sqls, [false, "a", false, "bb", false]);
  assert.equal(budget.usedChars, 2);
  const closed = [store(1, "a"), { type: "close_sql", sql_id: 1 }, execute(1)];
  assert.equal(
    refusalOf(() => decode(closed)),
    "BAD_REQUEST",
  );
  const many = Array.from({ length: limits.storedSqlMax + 1 }, (_, i) => store(i, "x"));
  assert.equal(
    refusalOf(() => decode(many)),
    "BAD_REQUEST",
  );
  const full = { usedChars: limits.storedSqlCharsMax };
  assert.equal(
    refusalOf(() => decode([store(1, "x")], full)),
    "OVERLOADED",
  );
});

test("a stored text referred to a thousand times counts a thousand times", () => {
  const steps = Array.from({ length: 1_000 }, () => ({ stmt: { sql_id: 1 } }));
  const bomb = (chars: number) => [
    { type: "store_sql", sql_id: 1, sql: "x".repeat(chars) },
    { type: "batch", batch: { steps } },
  ];
  assert.equal(
    refusalOf(() => decode(bomb(1_000))),
    undefined,
  );
  assert.equal(
    refusalOf(() => decode(bomb(100_000))),
    "BODY_TOO_LARGE",
  );
});

test("refusals name the place", () => {
  const requests = [
    { type: "batch", batch: { steps: [{ stmt: { sql: "a", args: [{ type: "x" }] } }] } },
  ];
  assert.throws(() => decode(requests), /requests\[0\]: steps\[0\]: unknown type of value "x"/);
});
