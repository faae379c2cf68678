/** Events of the change stream as a copy takes them (db/copy/row-copy.ts). */

import {
  fromJson,
  type JsonRow,
  type JsonStep,
  rowValueFrom,
} from "../../api/changes/change-json.ts";
import { ProtocolError } from "../../base/errors.ts";
import type { RecordedStatement } from "../../changes/steps.ts";
import type { CopyRow, CopyStep } from "../../db/copy/row-copy.ts";

/** All that an event did, in order. Throws ProtocolError. */
export function copySteps(transactions: readonly (readonly JsonStep[])[]): CopyStep[] {
  return transactions.flat().map(copyStep);
}

function copyStep(step: JsonStep): CopyStep {
  if (step.op === "sequence") {
    const { table, value } = step;
    return { type: "sequence", table, value: toInteger(value) };
  }
  if (step.op === "statement") {
    return { type: "statement", why: step.why, statement: statementOf(step) };
  }
  const { op, table, key, before, after } = step;
  return {
    ...{ type: "row", op, table, key },
    before: before === undefined ? undefined : toRow(before),
    after: after === undefined ? undefined : toRow(after),
  };
}

function statementOf(step: Extract<JsonStep, { op: "statement" }>): RecordedStatement {
  const { sql, args, namedArgs, captured, foreignKeys, failed, unsure, lastRowid } = step;
  return {
    ...{ sql, foreignKeys, failed: failed === true, isUnsure: unsure === true },
    args: args.map(fromJson),
    namedArgs: Object.entries(namedArgs).map(([name, value]) => ({ name, value: fromJson(value) })),
    captured: captured.map(fromJson),
    lastRowid: lastRowid === undefined ? undefined : toInteger(lastRowid),
  };
}

function toInteger(value: unknown): bigint {
  const integer = fromJson(value);
  if (typeof integer === "bigint") return integer;
  throw new ProtocolError(`${JSON.stringify(value)} is no integer`);
}

function toRow(row: JsonRow): CopyRow {
  return new Map(Object.entries(row).map(([name, value]) => [name, rowValueFrom(value)]));
}
