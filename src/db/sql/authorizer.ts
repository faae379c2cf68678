/**
 * What clients may do, decided per action while SQLite compiles a statement. Everything that is not allowed is
 * refused: an action that a future SQLite invents is denied until someone has thought about it.
 *
 * What may not happen, and why:
 *   ATTACH, DETACH, VACUUM INTO   touch other files of the machine, and are not replicated
 *   TEMP objects                  live on one connection only, and may shadow real tables for the next client there
 *   most PRAGMAs                  change how the file is written, which is ours (pragmas.ts)
 *   sqlite_paceline               says up to which position this database is; ours alone
 *   other virtual tables          only modules that keep everything in ordinary tables of this database
 *
 * SQLite calls back again when it compiles a statement anew after a change of schema, also in the middle of a step.
 */

import { constants } from "node:sqlite";
import { positionTable } from "../position-table.ts";
import { pragmaUse } from "../stream/pragmas.ts";

/** Savepoints of ours begin so; clients may not use such names. */
export const ownSavepointPrefix = "paceline_";

/** Triggers and changelogs of ours begin so; they are TEMP, as nothing of a client is (record/trigger-rows.ts). */
export const ownTriggerPrefix = "paceline_rows_";

/** Virtual tables that a cluster has. */
export const allowedModules: ReadonlySet<string> = new Set([
  "fts5",
  "fts5vocab",
  "rtree",
  "rtree_i32",
  "geopoly",
]);
const deniedFunctions: ReadonlySet<string> = new Set(["load_extension", "fts3_tokenizer"]);

const allowedActions: ReadonlySet<number> = new Set([
  constants.SQLITE_ALTER_TABLE,
  constants.SQLITE_ANALYZE,
  constants.SQLITE_CREATE_INDEX,
  constants.SQLITE_CREATE_TABLE,
  constants.SQLITE_CREATE_TRIGGER,
  constants.SQLITE_CREATE_VIEW,
  constants.SQLITE_DROP_INDEX,
  constants.SQLITE_DROP_TABLE,
  constants.SQLITE_DROP_TRIGGER,
  constants.SQLITE_DROP_VIEW,
  constants.SQLITE_DROP_VTABLE,
  constants.SQLITE_READ,
  constants.SQLITE_RECURSIVE,
  constants.SQLITE_REINDEX,
  constants.SQLITE_SELECT,
  constants.SQLITE_TRANSACTION,
]);

const schemaActions: ReadonlySet<number> = new Set([
  constants.SQLITE_ALTER_TABLE,
  constants.SQLITE_CREATE_INDEX,
  constants.SQLITE_CREATE_TABLE,
  constants.SQLITE_CREATE_TRIGGER,
  constants.SQLITE_CREATE_VIEW,
  constants.SQLITE_CREATE_VTABLE,
  constants.SQLITE_DROP_INDEX,
  constants.SQLITE_DROP_TABLE,
  constants.SQLITE_DROP_TRIGGER,
  constants.SQLITE_DROP_VIEW,
  constants.SQLITE_DROP_VTABLE,
]);

const temporaryActions: ReadonlySet<number> = new Set([
  constants.SQLITE_CREATE_TEMP_INDEX,
  constants.SQLITE_CREATE_TEMP_TABLE,
  constants.SQLITE_CREATE_TEMP_TRIGGER,
  constants.SQLITE_CREATE_TEMP_VIEW,
  constants.SQLITE_DROP_TEMP_INDEX,
  constants.SQLITE_DROP_TEMP_TABLE,
  constants.SQLITE_DROP_TEMP_TRIGGER,
  constants.SQLITE_DROP_TEMP_VIEW,
]);

/** What SQLite itself does to the list of TEMP objects, even an empty one, when an ordinary table is altered. */
const schemaUpkeep: ReadonlySet<number> = new Set([
  constants.SQLITE_READ,
  constants.SQLITE_SELECT,
  constants.SQLITE_UPDATE,
]);

const temporaryReason =
  "TEMP objects are not available: they live on one connection and are not replicated; use an ordinary table";

/** Lists of the schema: their rows say where things are in the file. */
const schemaTables: ReadonlySet<string> = new Set([
  "sqlite_master",
  "sqlite_schema",
  "sqlite_temp_master",
]);

/** A statement that begins or ends a transaction or savepoint. */
export type Control = {
  readonly kind: "begin" | "commit" | "rollback" | "savepoint" | "release" | "rollback-to";
  /** Of the savepoint. */
  readonly name: string | undefined;
};

/** A PRAGMA that was asked for. */
export type PragmaCall = { readonly name: string; readonly value: string | undefined };

/** What a statement looks at. Rows found by a SELECT come in an order that only the plan of this copy decides. */
type Reads = {
  /** It, a trigger or a foreign key action has a SELECT; VALUES with several rows is one too. */
  selects: boolean;
  /** It reads a column of a table. */
  columns: boolean;
  /** Tables of which it reads the rowid, where that is no column. */
  readonly rowids: Set<string>;
  /** The table that it makes. */
  creates: string | undefined;
};

/** What a statement does, as SQLite says while it compiles it. */
export type Trace = {
  control: Control | undefined;
  pragma: PragmaCall | undefined;
  /** It makes, changes or removes an object of the schema. */
  isSchema: boolean;
  /** It counts or rebuilds what there is. */
  upkeep: "analyze" | "reindex" | undefined;
  /** It inserts rows itself, not only by its triggers. */
  inserts: boolean;
  /** Tables and views that it writes. */
  readonly touched: Set<string>;
  /** Those of them that it may write new values into. */
  readonly filled: Set<string>;
  /** Functions that it calls, in lower case; not those in a DEFAULT. */
  readonly functions: Set<string>;
  /** What it reads that is not the same on every node. */
  readsPhysical: string | undefined;
  readonly reads: Reads;
};

export function newTrace(): Trace {
  const reads = { selects: false, columns: false, rowids: new Set<string>(), creates: undefined };
  return {
    ...{
      control: undefined,
      pragma: undefined,
      isSchema: false,
      upkeep: undefined,
      inserts: false,
    },
    ...{
      touched: new Set(),
      filled: new Set(),
      functions: new Set(),
      readsPhysical: undefined,
      reads,
    },
  };
}

/** One per connection: `db.setAuthorizer(authorizer.decide)`. */
export class Authorizer {
  /** True while statements of ours run, which may do anything. */
  #trusted = false;
  /** True while VACUUM runs: it attaches a nameless file and copies everything, by SQL of its own. */
  vacuuming = false;
  /** True while a statement of a client is compiled, not while it runs. */
  compiling = false;
  /** Why something was refused since this was last cleared. */
  reason: string | undefined;
  /** It was refused because of `hidden`. */
  isHidden = false;
  /** Tables that may not be read, in lower case: their rows are on other nodes. */
  hidden: ReadonlySet<string> = new Set();
  /** Settings of the connection that are not as usual, foreign_keys apart, which is known of every statement. */
  changedRules: ReadonlySet<string> = new Set();
  /** The statement compiled last works through a trigger or a view, so SQLite's count of changes is not all. */
  isIndirect = false;

  /** What the statement compiled last writes and uses, triggers and foreign key actions included. */
  trace: Trace = newTrace();

  /** `names` are, as far as the action has them: two arguments, the schema, and the trigger or view that asks. */
  readonly decide = (action: number, ...names: (string | null)[]): number => {
    const [first = null, second = null, schema = null, origin = null] = names;
    const isOurs = origin?.startsWith(ownTriggerPrefix) === true;
    if (origin !== null && !isOurs) this.isIndirect = true;
    if (!isOurs) this.#note(action, first ?? "", second ?? "", origin);
    if (this.#trusted) return constants.SQLITE_OK;
    if (this.vacuuming && (action !== constants.SQLITE_ATTACH || first === "")) {
      return constants.SQLITE_OK;
    }
    if (isOurs && schema === "temp") return constants.SQLITE_OK;
    if (action === constants.SQLITE_READ && this.#hides(first ?? "")) return constants.SQLITE_DENY;
    const isTemporary = schema === "temp" && !schemaUpkeep.has(action);
    if (allowedActions.has(action) && !isTemporary) return constants.SQLITE_OK;
    if (action === constants.SQLITE_PRAGMA) return this.#pragma(first ?? "", second ?? undefined);
    const reason = isTemporary ? temporaryReason : refusal(action, first ?? "", second ?? "");
    if (reason === undefined) return constants.SQLITE_OK;
    // CREATE TEMP … begins with an INSERT into the list of TEMP objects; the first refusal ends the compilation.
    this.reason ??= reason;
    return constants.SQLITE_DENY;
  };

  /** Runs statements of ours: SQLite may compile them anew at any time, so they are trusted each time they run. */
  asOurselves<T>(run: () => T): T {
    const before = this.#trusted;
    this.#trusted = true;
    try {
      return run();
    } finally {
      this.#trusted = before;
    }
  }

  #note(action: number, first: string, second: string, origin: string | null): void {
    const { trace } = this;
    if (schemaActions.has(action)) trace.isSchema = true;
    switch (action) {
      case constants.SQLITE_INSERT:
        if (origin === null) trace.inserts = true;
        trace.touched.add(first);
        trace.filled.add(first);
        break;
      case constants.SQLITE_UPDATE:
        trace.filled.add(first);
        trace.touched.add(first);
        break;
      case constants.SQLITE_DELETE:
        trace.touched.add(first);
        break;
      case constants.SQLITE_FUNCTION:
        trace.functions.add(second.toLowerCase());
        break;
      case constants.SQLITE_TRANSACTION:
        trace.control = { kind: transactions[first] ?? "rollback", name: undefined };
        break;
      case constants.SQLITE_SAVEPOINT:
        trace.control = { kind: savepoints[first] ?? "rollback-to", name: second };
        break;
      case constants.SQLITE_ANALYZE:
        trace.upkeep = "analyze";
        break;
      case constants.SQLITE_REINDEX:
        trace.upkeep ??= "reindex";
        break;
      case constants.SQLITE_PRAGMA:
        trace.pragma = { name: first, value: second === "" ? undefined : second };
        trace.readsPhysical = `PRAGMA ${first}`;
        break;
      case constants.SQLITE_READ:
        if (schemaTables.has(first)) trace.readsPhysical = first;
        trace.reads.columns = true;
        if (second === "ROWID") trace.reads.rowids.add(first);
        break;
      case constants.SQLITE_SELECT:
        trace.reads.selects = true;
        break;
      case constants.SQLITE_CREATE_TABLE:
        trace.reads.creates = first;
        break;
    }
  }

  #hides(table: string): boolean {
    if (this.hidden.size === 0 || !this.hidden.has(table.toLowerCase())) return false;
    this.isHidden = true;
    this.reason ??= `the rows of table ${table} are not kept on this node (--tables); ask another node`;
    return true;
  }

  #pragma(name: string, value: string | undefined): number {
    const use = pragmaUse(name, value);
    if (use === "denied") {
      this.reason ??=
        value === undefined
          ? `PRAGMA ${name} is not available: Paceline looks after it`
          : `PRAGMA ${name} cannot be set: Paceline decides how the database is stored; leave the statement out`;
      return constants.SQLITE_DENY;
    }
    if (use === "read" || use === "stored") return constants.SQLITE_OK;
    // Its effect and its answer are the stream's (executor.ts): it compiles to nothing.
    if (this.compiling) return constants.SQLITE_IGNORE;
    this.reason ??= `pragma_${name} is not available as a table; use PRAGMA ${name}`;
    return constants.SQLITE_DENY;
  }
}

/** SQLite's words for what a statement does to the transaction. */
const transactions: Readonly<Record<string, Control["kind"]>> = {
  BEGIN: "begin",
  COMMIT: "commit",
  ROLLBACK: "rollback",
};
const savepoints: Readonly<Record<string, Control["kind"]>> = {
  BEGIN: "savepoint",
  RELEASE: "release",
  ROLLBACK: "rollback-to",
};

/** Why an action that depends on its arguments is refused; undefined when it is not. */
function refusal(action: number, first: string, second: string): string | undefined {
  if (temporaryActions.has(action)) return temporaryReason;
  switch (action) {
    case constants.SQLITE_INSERT:
    case constants.SQLITE_UPDATE:
    case constants.SQLITE_DELETE:
      if (first.toLowerCase() !== positionTable) return undefined;
      return `table ${positionTable} holds the replication position and is written by Paceline only`;
    case constants.SQLITE_SAVEPOINT:
      if (!second.toLowerCase().startsWith(ownSavepointPrefix)) return undefined;
      return `savepoint names beginning with ${ownSavepointPrefix} are reserved; choose another name`;
    case constants.SQLITE_FUNCTION:
      if (!deniedFunctions.has(second.toLowerCase())) return undefined;
      return `function ${second} is not available: extensions cannot be loaded`;
    case constants.SQLITE_CREATE_VTABLE:
      if (allowedModules.has(second.toLowerCase())) return undefined;
      return `virtual table module ${second} is not available; use fts5, rtree or geopoly`;
    case constants.SQLITE_ATTACH:
      return "ATTACH and VACUUM INTO are not available: a cluster serves one database; for a copy use a backup";
    case constants.SQLITE_DETACH:
      return "DETACH is not available: a cluster serves one database";
    default:
      return `this statement is not available (action ${action})`;
  }
}
