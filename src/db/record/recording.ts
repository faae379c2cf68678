/**
 * What a writer is to record besides pages, and what it has recorded of one run.
 *
 * Not here: how it is encoded and which entry it goes into (payload/, node/).
 */

import type { RecordedTransaction } from "../../changes/steps.ts";
import type { LogKind } from "../../vocabulary.ts";
import type { Compiled } from "../sql/statement-cache.ts";

export type Recording = {
  readonly logKind: LogKind;
  /** Row changes, also where followers do not need them. */
  readonly changes: boolean;
  /** Statements with their arguments, also where followers do not need them. */
  readonly statements: boolean;
  /** Only these tables travel as rows; undefined is all of them. The schema always travels. */
  readonly tables?: readonly string[] | undefined;
};

export const recordNothing: Recording = { logKind: "pages", changes: false, statements: false };

export type Recorded = {
  readonly logKind: LogKind;
  readonly changes: readonly RecordedTransaction[] | undefined;
  readonly statements: readonly RecordedTransaction[] | undefined;
};

/** SQLite keeps the text of a schema up to its semicolon, comments behind it included; so must copies. */
export function recordedText({ shape, statement: { text, whole } }: Compiled): string {
  return shape.kind === "change" ? text : whole.slice(whole.indexOf(text)).replace(/;$/, "");
}
