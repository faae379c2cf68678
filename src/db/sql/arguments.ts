/**
 * Which value goes into which parameter. Positional arguments fill parameters by index, named ones by name, with or
 * without prefix; the exact name wins. One name may feed several parameters (`:a` and `$a`).
 *
 * `node:sqlite` wants values of named parameters in an object and the rest in order, gaps included, so the shape of
 * a call is worked out once per prepared statement.
 */

import type { SQLInputValue } from "node:sqlite";
import type { SqlValue } from "../../changes/values.ts";
import type { Stmt, Value } from "./request.ts";
import { SqlError } from "./sql-error.ts";
import type { Parameter } from "./tokenizer.ts";

/** How to call a prepared statement. */
export type BindingPlan = {
  readonly parameters: readonly Parameter[];
  /** Indexes of parameters with a name of their own. */
  readonly named: readonly { readonly index: number; readonly name: string }[];
  /** Indexes of all others (`?`, `?3`, gaps), ascending. */
  readonly unnamed: readonly number[];
};

export function bindingPlan(parameters: readonly Parameter[]): BindingPlan {
  const named: { index: number; name: string }[] = [];
  const unnamed: number[] = [];
  parameters.forEach(({ name }, index) => {
    if (name === undefined || name.startsWith("?")) unnamed.push(index);
    else named.push({ index, name });
  });
  return { parameters, named, unnamed };
}

/**
 * The arguments of a call of `run` or `iterate`. Throws SqlError when a parameter is left without value, unless
 * `lenient`: then it is NULL, as in EXPLAIN and in scripts.
 */
export function bindArguments(plan: BindingPlan, stmt: Stmt, lenient: boolean): SQLInputValue[] {
  const { args, namedArgs } = stmt;
  const { parameters, named, unnamed } = plan;
  if (namedArgs.length === 0) {
    if (args.length === 0 && parameters.length === 0) return [];
    if (named.length === 0 && args.length === parameters.length) return args.map(inputValue);
  } else if (args.length > 0) {
    throw new SqlError(
      "ARGS_BOTH_POSITIONAL_AND_NAMED",
      "positional and named arguments cannot be used together",
    );
  }
  if (args.length > parameters.length) {
    throw new SqlError(
      "ARGS_INVALID",
      `too many arguments: the statement has ${parameters.length} parameters, got ${args.length}`,
    );
  }
  const values = parameters.map((parameter, index) => {
    const value = namedArgs.length > 0 ? namedArgument(stmt, parameter.name) : args[index];
    if (value !== undefined) return inputValue(value);
    if (parameter.used && !lenient) {
      const name = parameter.name === undefined ? "" : ` (${parameter.name})`;
      throw new SqlError("ARGS_INVALID", `no value for parameter ${index + 1}${name}`);
    }
    return null;
  });
  const call: unknown[] = unnamed.map((index) => values[index]);
  if (named.length > 0) {
    call.unshift(Object.fromEntries(named.map(({ index, name }) => [name, values[index]])));
  }
  return call as SQLInputValue[];
}

function namedArgument(stmt: Stmt, name: string | undefined): Value | undefined {
  if (name === undefined) return undefined;
  const bare = name.slice(1);
  let found: Value | undefined;
  for (const argument of stmt.namedArgs) {
    if (argument.name === name) return argument.value;
    if (argument.name === bare) found ??= argument.value;
  }
  return found;
}

/** A client's value as SQLite takes it. Throws SqlError for an integer that does not fit. */
export function inputValue(value: Value): SqlValue {
  switch (value.type) {
    case "null":
      return null;
    case "integer":
      return integerFrom(value.value);
    case "float":
      return value.value;
    case "text":
      return value.value;
    case "blob":
      return Buffer.from(value.base64, "base64");
  }
}

const integerMin = -(2n ** 63n);
const integerMax = 2n ** 63n - 1n;

function integerFrom(text: string): bigint {
  let integer: bigint;
  try {
    integer = BigInt(text);
  } catch {
    throw new SqlError("ARGS_INVALID", `not an integer: ${JSON.stringify(text.slice(0, 40))}`);
  }
  if (integer < integerMin || integer > integerMax) {
    throw new SqlError("ARGS_INVALID", `integer does not fit in 64 bits: ${text.slice(0, 40)}`);
  }
  return integer;
}
