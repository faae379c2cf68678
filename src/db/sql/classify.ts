/**
 * What a statement seems to be, judged by its words alone: enough to send it to the right process. A wrong guess costs
 * a detour, never correctness: readers cannot write, what a statement may touch is decided by SQLite's authorizer
 * (authorizer.ts), and how it is run by what it was compiled to (shape.ts).
 */

import { plainShape, pragmaShape, type Shape } from "./shape.ts";
import type { Statement } from "./tokenizer.ts";

export function shapeOf(statement: Statement): Shape {
  const { head } = statement;
  if (head[0] === "PRAGMA") return pragmaByWords(head);
  if (statement.explain) return plainShape;
  const word = head[0] === "WITH" ? statement.verbAfterWith : head[0];
  switch (word) {
    case "INSERT":
    case "REPLACE":
      return { ...plainShape, kind: "change", writes: true, inserts: true };
    case "UPDATE":
    case "DELETE":
      return { ...plainShape, kind: "change", writes: true };
    case "CREATE":
    case "DROP":
    case "ALTER":
      return { ...plainShape, kind: "schema", writes: true };
    case "ANALYZE":
    case "REINDEX":
      return { ...plainShape, kind: "upkeep", writes: true };
    case "VACUUM":
      return { ...plainShape, kind: "vacuum", writes: true, cacheable: false };
    default:
      return transactionShape(head);
  }
}

function pragmaByWords(head: readonly string[]): Shape {
  // PRAGMA [schema .] name [= value | ( value )]
  const at = head[2] === "." ? 3 : 1;
  const value = head[at + 1] === undefined ? undefined : (head[at + 2] ?? "");
  return pragmaShape(head[at] ?? "", value);
}

function transactionShape(head: readonly string[]): Shape {
  switch (head[0]) {
    case "BEGIN": {
      const mode = head[1];
      const end = mode === "TRANSACTION" ? 2 : 1;
      const isReadonly = head[end] === "READONLY" && head.length === end + 1;
      const immediate = mode === "IMMEDIATE" || mode === "EXCLUSIVE";
      return { ...plainShape, kind: "begin", readonly: isReadonly, immediate };
    }
    case "COMMIT":
    case "END":
      return { ...plainShape, kind: "commit" };
    case "ROLLBACK": {
      const at = head.indexOf("TO");
      if (at < 0) return { ...plainShape, kind: "rollback" };
      return { ...plainShape, kind: "rollback-to", name: nameAt(head, at + 1) };
    }
    case "SAVEPOINT":
      return { ...plainShape, kind: "savepoint", name: head[1] };
    case "RELEASE":
      return { ...plainShape, kind: "release", name: nameAt(head, 1) };
    default:
      return plainShape;
  }
}

/** The name at `at`, or behind the word SAVEPOINT that may stand there. */
function nameAt(head: readonly string[], at: number): string | undefined {
  return head[at] === "SAVEPOINT" && head[at + 1] !== undefined ? head[at + 1] : head[at];
}

/** Whether the unit seems to end inside a transaction. A guess: conditions of a batch are taken as met. */
export function leavesOpen(shapes: readonly Shape[]): boolean {
  let open: "no" | "readonly" | "yes" = "no";
  for (const shape of shapes) open = afterStatement(open, shape);
  return open !== "no";
}

/** What is open when the statement has run, if it succeeds. */
export function afterStatement(
  open: "no" | "readonly" | "yes",
  shape: Shape,
): "no" | "readonly" | "yes" {
  switch (shape.kind) {
    case "begin":
      return shape.readonly ? "readonly" : "yes";
    case "savepoint":
      return open === "no" ? "yes" : open;
    case "commit":
    case "rollback":
      return "no";
    case "release":
      // The outermost savepoint's RELEASE commits; an inner one's, inside BEGIN, does not. Erring towards "closed"
      // is put right by whoever runs it.
      return open === "readonly" ? open : "no";
    default:
      return open;
  }
}
