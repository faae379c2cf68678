/**
 * An interactive transaction. It lives on the node where it began, and ends with it: when that node is lost before
 * COMMIT was sent, nothing of it is kept, and the error says so (TRANSACTION_LOST, retry: later).
 */

import type { EntryId } from "../vocabulary.ts";
import type { Ack } from "./ack.ts";
import type { WatchedNode } from "./cluster-view.ts";
import type { Courier } from "./courier.ts";
import { PacelineError, publicError } from "./errors.ts";
import { type Result, resultOf, type Statement, stmtOf } from "./values.ts";
import { packNext, responsesOf } from "./wire.ts";

export type OpenTransaction = {
  readonly courier: Courier;
  readonly node: WatchedNode;
  /** Good for one request. */
  readonly baton: string;
  /** It was begun READONLY. */
  readonly reads: boolean;
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  saw(position: EntryId): void;
};

export class Transaction {
  readonly #open: OpenTransaction;
  /** Undefined when the transaction is over. */
  #baton: string | undefined;
  /** One request at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(open: OpenTransaction) {
    this.#open = open;
    this.#baton = open.baton;
  }

  get isOpen(): boolean {
    return this.#baton !== undefined;
  }

  /** Throws PacelineError; after SqlError the transaction is still open, unless `isOpen` says otherwise. */
  execute(statement: Statement): Promise<Result> {
    const result = this.#turn.then(() => this.#execute(statement));
    this.#turn = result.catch(() => {});
    return result;
  }

  /** Resolves with the copies that it has; undefined when nothing was changed. */
  async commit(): Promise<Ack | undefined> {
    return (await this.execute("COMMIT")).acked;
  }

  /** Never fails: what cannot be rolled back has been, or will be. */
  rollback(): void {
    const { courier, node } = this.#open;
    this.#turn.then(() => {
      const baton = this.#baton;
      this.#baton = undefined;
      if (baton !== undefined) courier.closeStream(node, baton);
    });
  }

  async #execute(statement: Statement): Promise<Result> {
    const { courier, node, reads, headers, signal, saw } = this.#open;
    const baton = this.#baton;
    if (baton === undefined) {
      throw new PacelineError("TRANSACTION_LOST", "later", "the transaction is over; begin again");
    }
    this.#baton = undefined;
    const unit = { requests: [{ type: "execute" as const, stmt: stmtOf(statement) }] };
    const packed = packNext(unit, baton, reads);
    try {
      const delivered = await courier.follow(node, {
        ...packed,
        headers: { ...packed.headers, ...headers },
        ...{ signal, maxLagMs: undefined, minLsn: 0 },
      });
      this.#baton = delivered.baton;
      saw(delivered.position);
      return resultOf(responsesOf(delivered.text)[0]?.result, delivered.acked);
    } catch (error) {
      throw publicError(error);
    }
  }
}
