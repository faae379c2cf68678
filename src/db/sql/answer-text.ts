/**
 * Hrana's answers as JSON text, written straight from SQLite's rows.
 *
 * The replication index of an answer is known only when its unit has ended: "wrote at this position" or "did not
 * write". So an answer is kept as pieces, and the index is what joins them.
 */

import type { SQLOutputValue } from "node:sqlite";
import type { SqlError } from "./sql-error.ts";

/** Text of a StreamResult, cut where the replication index goes. `pieces.join("null")` is valid JSON. */
export type AnswerPieces = readonly string[];

/** One statement's result. `cols` and `rows` are JSON arrays. */
export type StatementAnswer = {
  readonly cols: string;
  readonly rows: string;
  readonly affected: number | bigint;
  /** Undefined unless a row was inserted. */
  readonly rowid: number | bigint | undefined;
};

const indexKey = '"replication_index":';

export function executeAnswer(answer: StatementAnswer): AnswerPieces {
  return [
    `{"type":"ok","response":{"type":"execute","result":${statementHead(answer)}${indexKey}`,
    "}}}",
  ];
}

/** The result of one step of a batch is its answer, its error, or neither when it was skipped. */
export function batchAnswer(
  steps: readonly (StatementAnswer | SqlError | undefined)[],
): AnswerPieces {
  const pieces: string[] = [];
  let text = '{"type":"ok","response":{"type":"batch","result":{"step_results":[';
  let errors = "";
  steps.forEach((step, at) => {
    const comma = at === 0 ? "" : ",";
    if (step === undefined || step instanceof Error) {
      text += `${comma}null`;
      errors += comma + (step === undefined ? "null" : errorJson(step));
      return;
    }
    pieces.push(`${text}${comma}${statementHead(step)}${indexKey}`);
    text = "}";
    errors += `${comma}null`;
  });
  pieces.push(`${text}],"step_errors":[${errors}],${indexKey}`, "}}}");
  return pieces;
}

export function errorAnswer(error: SqlError): AnswerPieces {
  return [`{"type":"error","error":${errorJson(error)}}`];
}

/** An answer without replication index; `response` is the JSON text of a StreamResponse. */
export function plainAnswer(response: string): AnswerPieces {
  return [`{"type":"ok","response":${response}}`];
}

/** A row as a JSON array of Hrana values. */
export function rowJson(row: readonly SQLOutputValue[]): string {
  let text = "[";
  for (let at = 0; at < row.length; at++) {
    if (at > 0) text += ",";
    text += valueJson(row[at] as SQLOutputValue);
  }
  return `${text}]`;
}

function valueJson(value: SQLOutputValue): string {
  switch (typeof value) {
    case "bigint":
      return `{"type":"integer","value":"${value}"}`;
    case "string":
      return `{"type":"text","value":${JSON.stringify(value)}}`;
    case "number":
      // JSON has no word for an infinity; this is SQLite's, as CAST(… AS TEXT) gives it.
      if (!Number.isFinite(value)) return `{"type":"text","value":"${value > 0 ? "Inf" : "-Inf"}"}`;
      return `{"type":"float","value":${floatJson(value)}}`;
    default:
      return value === null ? '{"type":"null"}' : `{"type":"blob","base64":"${base64(value)}"}`;
  }
}

/** Keeps `1.0` and `-0.0` apart from integers for those who care. */
function floatJson(value: number): string {
  if (Object.is(value, -0)) return "-0.0";
  const text = String(value);
  return Number.isInteger(value) && !text.includes("e") ? `${text}.0` : text;
}

/** Without padding: Go's client fails on `=`, all others take both. */
function base64(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  return text.replace(/=+$/, "");
}

function statementHead(answer: StatementAnswer): string {
  const rowid = answer.rowid === undefined ? "null" : `"${answer.rowid}"`;
  return (
    `{"cols":${answer.cols},"rows":${answer.rows},` +
    `"affected_row_count":${answer.affected},"last_insert_rowid":${rowid},`
  );
}

export function errorJson(error: SqlError): string {
  const extended =
    error.extendedCode === undefined ? "" : `,"extended_code":"${error.extendedCode}"`;
  return `{"message":${JSON.stringify(error.message)},"code":"${error.code}"${extended}}`;
}
