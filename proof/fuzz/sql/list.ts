/**
 * A list of statements and how it is sent: on which streams, how many to a request, as what kind of Hrana request.
 * Made from a seed (make/lists.ts), played (play.ts), shrunk (shrink.ts) and printed for a report
 * (texts.ts).
 */

import type { SqlValue } from "../../../src/changes/values.ts";

/** A parameter of a statement, in the order of their indexes. `name` with its prefix; undefined: by its place. */
export type Argument = { readonly name?: string | undefined; readonly value: SqlValue };

/** What the answer of a statement counts: rows that changed, and where the last one went. */
export type Verb = "insert" | "change" | "other" | "unknown";

export type Statement = {
  readonly sql: string;
  /** The same in plain spaces and letters, which is easier to read when it fails as well. */
  readonly plain: string;
  readonly args: readonly Argument[];
  /** Sends the values of named parameters by their names, not by their places. */
  readonly byName: boolean;
  readonly verb: Verb;
  /** It has more parameters than it is given values. */
  readonly lacks?: boolean;
  /** Surely changes nothing, also not the state of its transaction. */
  readonly reads?: boolean;
};

/** On earlier steps of the same batch, by their indexes. */
export type Condition =
  | { readonly type: "ok" | "error"; readonly step: number }
  | { readonly type: "not"; readonly cond: Condition }
  | { readonly type: "and" | "or"; readonly conds: readonly Condition[] }
  | { readonly type: "is_autocommit" };

export type Step = { readonly statement: Statement; readonly condition?: Condition | undefined };

export type Request = {
  readonly type: "execute" | "batch" | "cursor" | "sequence" | "describe" | "get_autocommit";
  /**
   * A cursor is a batch whose answer is streamed; it is alone in its HTTP request. `execute` and `describe` have one
   * step, `get_autocommit` none.
   */
  readonly steps: readonly Step[];
};

/** One HTTP request. */
export type Send = {
  readonly stream: number;
  readonly requests: readonly Request[];
  readonly closes: boolean;
};

export type List = {
  readonly seed: number;
  /** Everything that the list makes has a name that begins so, in any case. */
  readonly prefix: string;
  /** In which way it is sent, for the figures. */
  readonly way: string;
  /** Index of the node that it is sent to, counted from the first follower. */
  readonly node: number;
  readonly sends: readonly Send[];
};
