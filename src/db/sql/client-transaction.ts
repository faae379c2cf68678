/**
 * The transaction of a client, as the client sees it, on a connection that it may share with others.
 *
 *   realm    the connection is in                        the client's BEGIN, COMMIT, ROLLBACK become
 *   shared   one outer transaction for many clients      SAVEPOINT, RELEASE, ROLLBACK TO
 *   alone    nothing, or this client's transaction       real ones, with the position written before COMMIT
 *   reading  one read transaction around the unit        nothing: there is nothing to undo
 *
 * Invariants
 *   1. Alone, every real COMMIT carries the position row; a transaction that changed nothing is rolled back instead.
 *      So no frame ever enters the scratch WAL without a position.
 *   2. Savepoints of the client nest inside ours and never have names like ours (authorizer.ts).
 *   3. Shared, when SQLite has destroyed the outer transaction (OR ROLLBACK, RAISE(ROLLBACK), a full disk), everything
 *      of it is lost, also what others did: NeedsSolo is thrown and whoever began the outer transaction starts over.
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { assert } from "../../base/assert.ts";
import type { Recorder, WriteCall } from "../record/recorder.ts";
import { type Authorizer, ownSavepointPrefix } from "./authorizer.ts";
import { quoted } from "./quoted.ts";
import type { UnitOutcome } from "./request.ts";
import { SqlError } from "./sql-error.ts";

type OpenTransaction = NonNullable<UnitOutcome["transaction"]>;

export type Realm = "shared" | "alone" | "reading";

/** The unit cannot run beside others; nothing of the outer transaction it ran in may be kept. */
export class NeedsSolo extends Error {
  override readonly name = "NeedsSolo";
}

/**
 * A statement of a client ended the transaction that it ran in, behind our back. What the connection holds is of no use
 * any more: it may have kept what nobody is told of. This should be impossible, and is looked for after each statement.
 */
export class TransactionEnded extends Error {
  override readonly name = "TransactionEnded";

  constructor() {
    super("a statement ended the transaction that it was run in");
  }
}

const unitSavepoint = `"${ownSavepointPrefix}unit"`;
const statementSavepoint = `"${ownSavepointPrefix}statement"`;

/** What the transaction needs of the connection's owner. */
export type TransactionPorts = {
  readonly authorizer: Authorizer;
  /** Writes the position row, inside the transaction about to be committed. */
  stampPosition(): void;
  /** Whether the statement that ran last has counted changes, also of what was rolled back then. */
  hasCounted(): boolean;
  /** The schema may have gone back to what it was. */
  onRollback(): void;
  /** Is told of all that takes effect, where that is recorded. */
  readonly recorder: Recorder | undefined;
};

/** How a statement behaves when it fails. */
export type WriteTraits = {
  /** It can fail after its work is done (rows of RETURNING), and must be undone then. */
  readonly undoable: boolean;
  /** SQLite may keep part of its work: OR FAIL, ON CONFLICT FAIL in the schema, RAISE(FAIL). */
  readonly keepsPart: boolean;
  /** The word FAIL stands in the statement or in the schema. */
  readonly mayFail?: boolean;
};

export type Changed<T> = { readonly changed: boolean; readonly answer: T };

export class ClientTransaction {
  readonly #db: DatabaseSync;
  readonly #ports: TransactionPorts;
  readonly #control: Map<string, StatementSync> = new Map();
  #realm: Realm = "reading";
  /** How the open transaction was begun. A transaction begun by SAVEPOINT ends with that savepoint. */
  #opened: "no" | "begin" | "savepoint" = "no";
  /** Names of the client's open savepoints, outermost first, folded as SQLite does. */
  #savepoints: string[] = [];
  /** The client promised not to write. */
  #readonly = false;
  /** Reading: something was committed since the view was taken. */
  #overtaken = false;
  /** Something was changed in the open transaction. */
  #dirty = false;
  /** Something was committed since `enter`; in the shared realm: will be, with the outer transaction. */
  #wrote = false;

  constructor(db: DatabaseSync, ports: TransactionPorts) {
    this.#db = db;
    this.#ports = ports;
  }

  /** A unit begins. The realm may change only while no transaction is open. */
  enter(realm: Realm, overtaken = false): void {
    assert(this.#opened === "no" || realm === this.#realm, "realm changed inside a transaction");
    this.#realm = realm;
    this.#overtaken = overtaken;
    this.#wrote = false;
  }

  get isOpen(): boolean {
    return this.#opened !== "no";
  }

  get isReadonly(): boolean {
    return this.#readonly;
  }

  get realm(): Realm {
    return this.#realm;
  }

  get wrote(): boolean {
    return this.#wrote;
  }

  /**
   * What a write is refused with where none can be: whose transaction comes too late may begin again. So may what comes
   * after its end in the same unit, which runs in one place as a whole.
   */
  get writeRefusal(): SqlError {
    return this.#overtaken && this.#realm === "reading" && !this.#readonly
      ? new SqlError("SQLITE_BUSY", "database is locked", "SQLITE_BUSY_SNAPSHOT")
      : new SqlError("SQLITE_READONLY", "attempt to write a readonly database");
  }

  /** Undefined when none is open. */
  get state(): OpenTransaction | undefined {
    if (!this.isOpen) return undefined;
    const begun = this.#opened === "begin";
    return { begun, readonly: this.#readonly, savepoints: [...this.#savepoints] };
  }

  /** Reading: the transaction is again as it was, whatever a unit has said about it meanwhile. */
  restore(state: OpenTransaction | undefined): void {
    assert(this.#realm === "reading", "only where nothing has to be undone");
    this.#forget();
    if (state === undefined) return;
    this.#opened = state.begun ? "begin" : "savepoint";
    this.#savepoints = [...state.savepoints];
    this.#readonly = state.readonly;
  }

  begin(readonly: boolean): void {
    if (this.isOpen) {
      throw new SqlError("SQLITE_ERROR", "cannot start a transaction within a transaction");
    }
    this.#open("begin");
    this.#readonly = readonly;
  }

  commit(): void {
    if (!this.isOpen)
      throw new SqlError("SQLITE_ERROR", "cannot commit - no transaction is active");
    if (this.#realm === "shared") this.#run(`RELEASE ${unitSavepoint}`);
    // A COMMIT that fails (a deferred foreign key) leaves the transaction open, as SQLite does.
    if (this.#realm === "alone") this.#commitAlone();
    this.#wrote ||= this.#dirty;
    if (this.#dirty) this.#ports.recorder?.seal();
    else this.#ports.recorder?.drop();
    this.#forget();
  }

  rollback(): void {
    if (!this.isOpen) {
      throw new SqlError("SQLITE_ERROR", "cannot rollback - no transaction is active");
    }
    if (this.#realm === "shared") {
      this.#run(`ROLLBACK TO ${unitSavepoint}`);
      this.#run(`RELEASE ${unitSavepoint}`);
    }
    if (this.#realm === "alone") this.#run("ROLLBACK");
    this.#ports.recorder?.drop();
    this.#forget();
    this.#ports.onRollback();
  }

  savepoint(name: string): void {
    if (!this.isOpen) this.#open("savepoint");
    if (this.#realm !== "reading") this.#db.exec(`SAVEPOINT ${quoted(name)}`);
    this.#savepoints.push(folded(name));
    this.#ports.recorder?.savepoint();
  }

  release(name: string): void {
    const at = this.#indexOf(name);
    if (at === 0 && this.#opened === "savepoint") {
      this.commit();
      return;
    }
    if (this.#realm !== "reading") this.#db.exec(`RELEASE ${quoted(name)}`);
    this.#savepoints.length = at;
    this.#ports.recorder?.release(at);
  }

  rollbackTo(name: string): void {
    const at = this.#indexOf(name);
    if (this.#realm !== "reading") this.#db.exec(`ROLLBACK TO ${quoted(name)}`);
    this.#savepoints.length = at + 1;
    this.#ports.recorder?.rollbackTo(at);
    this.#ports.onRollback();
  }

  /**
   * Runs one statement that may write. `change` returns whether it changed something, and its answer. In autocommit,
   * alone, it gets a transaction of its own.
   */
  write<T>(change: () => Changed<T>, traits: WriteTraits, call: WriteCall): T {
    if (this.#realm === "reading") return change().answer;
    const { recorder } = this.#ports;
    recorder?.start(call);
    if (this.#realm === "alone" && !this.isOpen) return this.#writeAlone(change, traits, call);
    // Outside of the client's own transactions, SQLite alone would undo a failed statement by a rollback.
    const undoable = traits.undoable || !this.isOpen || recorder?.mayRefuse === true;
    if (undoable) this.#run(`SAVEPOINT ${statementSavepoint}`);
    try {
      const { changed, answer } = change();
      recorder?.check();
      if (undoable) this.#run(`RELEASE ${statementSavepoint}`);
      if (changed) this.#noteChange(call, false);
      return answer;
    } catch (error) {
      this.afterFailure();
      const keeps = this.#keepsPart(error, traits);
      if (undoable && this.#db.isTransaction) {
        if (!keeps) this.#run(`ROLLBACK TO ${statementSavepoint}`);
        this.#run(`RELEASE ${statementSavepoint}`);
      }
      if (keeps && this.#db.isTransaction) this.#noteChange(call, true);
      throw error;
    }
  }

  /** A statement went well: then the transaction it ran in is as we know it. Throws TransactionEnded. */
  afterSuccess(): void {
    const expected = this.#realm === "alone" ? this.isOpen : true;
    if (this.#db.isTransaction !== expected) throw new TransactionEnded();
  }

  /** A statement failed: SQLite may have rolled back everything. Throws NeedsSolo when others are concerned. */
  afterFailure(): void {
    if (this.#realm === "reading" || this.#db.isTransaction) return;
    if (this.#realm === "shared") throw new NeedsSolo("the outer transaction was rolled back");
    if (this.isOpen) {
      this.#ports.recorder?.drop();
      this.#forget();
      this.#ports.onRollback();
    }
  }

  /** Undoes whatever is open; the client went away or its unit starts over. */
  abandon(): void {
    if (this.#realm === "alone" && this.#db.isTransaction) this.#run("ROLLBACK");
    this.#ports.recorder?.drop();
    this.#forget();
    this.#wrote = false;
    this.#ports.onRollback();
  }

  /** Something was committed outside of `write`: VACUUM. */
  noteCommitted(): void {
    this.#wrote = true;
  }

  #open(how: "begin" | "savepoint"): void {
    if (this.#realm === "shared") this.#run(`SAVEPOINT ${unitSavepoint}`);
    if (this.#realm === "alone") this.#run("BEGIN IMMEDIATE");
    this.#opened = how;
  }

  #commitAlone(): void {
    if (!this.#dirty) {
      this.#run("ROLLBACK");
      return;
    }
    this.#ports.stampPosition();
    this.#run("COMMIT");
  }

  #writeAlone<T>(change: () => Changed<T>, traits: WriteTraits, call: WriteCall): T {
    const { recorder } = this.#ports;
    this.#run("BEGIN IMMEDIATE");
    let isRun = false;
    try {
      const { changed, answer } = change();
      isRun = true;
      recorder?.check();
      if (changed) this.#commitStamped(call, false);
      else {
        this.#run("ROLLBACK");
        recorder?.drop();
      }
      return answer;
    } catch (error) {
      const keeps = !isRun && this.#db.isTransaction && this.#keepsPart(error, traits);
      const failure = keeps ? (this.#commitPart(call) ?? error) : error;
      if (this.#db.isTransaction) this.#run("ROLLBACK");
      recorder?.drop();
      this.#ports.onRollback();
      throw failure;
    }
  }

  /**
   * Whether SQLite may have kept part of a failed statement's work. Not when we refused the answer ourselves.
   *
   * After a constraint failed: if it counted anything. It counts what it keeps, whichever clause, table or trigger said
   * so, but for rows of the statement of a trigger that failed; and what it undoes it counts only if a trigger did it.
   * So wherever FAIL may have been said, something may be kept; what SQLite has undone stays undone.
   *
   * After any other error (a type, an overflow) the statement is undone by a rollback outside of transactions. Inside,
   * where no clause asked for a journal of the statement, what it did before stays [vdbeaux.c, sqlite3VdbeHalt].
   */
  #keepsPart(error: unknown, traits: WriteTraits): boolean {
    if (error instanceof SqlError || !traits.keepsPart) return false;
    const isConstraint = constraints.has((error as { errcode?: number }).errcode ?? 0);
    if (!isConstraint) return this.isOpen;
    return traits.mayFail === true || this.#ports.hasCounted();
  }

  /** Why what a failed statement kept cannot be committed: a deferred foreign key is broken. */
  #commitPart(call: WriteCall): unknown {
    try {
      this.#commitStamped(call, true);
      return undefined;
    } catch (error) {
      return error;
    }
  }

  #commitStamped(call: WriteCall, failed: boolean): void {
    this.#ports.recorder?.ran(call, failed);
    this.#ports.stampPosition();
    this.#run("COMMIT");
    this.#ports.recorder?.seal();
    this.#wrote = true;
  }

  #noteChange(call: WriteCall, failed: boolean): void {
    this.#ports.recorder?.ran(call, failed);
    if (this.isOpen) {
      this.#dirty = true;
      return;
    }
    this.#ports.recorder?.seal();
    this.#wrote = true;
  }

  #forget(): void {
    this.#opened = "no";
    this.#savepoints = [];
    this.#readonly = false;
    this.#dirty = false;
  }

  #indexOf(name: string): number {
    const at = this.#savepoints.lastIndexOf(folded(name));
    if (at < 0) throw new SqlError("SQLITE_ERROR", `no such savepoint: ${name}`);
    return at;
  }

  /** Statements of ours about transactions: a handful of texts, none depends on the schema. */
  #run(sql: string): void {
    let statement = this.#control.get(sql);
    if (statement === undefined) {
      statement = this.#ports.authorizer.asOurselves(() => this.#db.prepare(sql));
      this.#control.set(sql, statement);
    }
    const prepared = statement;
    this.#ports.authorizer.asOurselves(() => prepared.run());
  }
}

/** SQLite knows large and small letters of ASCII only: "É" and "é" are two savepoints. */
function folded(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}

/** Extended codes of what a statement checks and says itself. Not of types in STRICT tables, which just fail. */
const constraints: ReadonlySet<number> = new Set([275, 787, 1299, 1555, 1811, 2067, 2579]);
