/**
 * Money moved between accounts is neither made nor lost, and every read sees whole transfers only.
 *
 *   wrong-total         the balances of one read do not add up
 *   negative-balance    an account below zero, where that is forbidden
 *   missing-account     a read without one of the accounts
 *   unexpected-account  a read with an account that does not exist
 *   bad-balance         a balance that is no integer
 *   impossible-balance  no order of the transfers that respects time gives this balance (linearizable reads only)
 *
 * Operations: `transfer` with `{from, to, amount}`, and `read` that gives `{account: balance, …}`. A transfer that was
 * refused for want of money is a fail.
 */

import { SumBounds } from "./bounds.ts";
import { HistoryError, type Json } from "./history.ts";
import type { Operation } from "./operations.ts";
import { describeOperation, Findings, type Verdict } from "./verdict.ts";

export type BankAnomaly =
  | "wrong-total"
  | "negative-balance"
  | "missing-account"
  | "unexpected-account"
  | "bad-balance"
  | "impossible-balance";

/** The bank as it was before the first transfer. */
export type BankOptions = {
  readonly initial: Readonly<Record<string, number>>;
  readonly mayBeNegative: boolean;
  /** Whether a read must see every transfer that ended before it began. False for reads of followers. */
  readonly isLinearizable: (read: Operation) => boolean;
};

/** Checks every read that was ok. */
export function checkBank(
  operations: readonly Operation[],
  options: BankOptions,
): Verdict<BankAnomaly> {
  const found = new Findings<BankAnomaly>();
  const accounts = Object.keys(options.initial);
  const total = Object.values(options.initial).reduce((sum, balance) => sum + balance, 0);
  const boundsByAccount = boundsOf(operations, options.initial);
  for (const read of operations) {
    if (read.op !== "read" || read.outcome !== "ok") continue;
    const report = (name: BankAnomaly, text: string): void => {
      found.add(name, `${text}: ${describeOperation(read)}`, [read]);
    };
    const balances = balancesOf(read);
    let sum = 0;
    for (const [account, balance] of Object.entries(balances)) {
      if (!accounts.includes(account)) report("unexpected-account", account);
      if (!Number.isSafeInteger(balance)) report("bad-balance", account);
      else sum += balance as number;
      if (typeof balance === "number" && balance < 0 && !options.mayBeNegative) {
        report("negative-balance", account);
      }
    }
    const missing = accounts.filter((account) => balances[account] === undefined);
    for (const account of missing) report("missing-account", account);
    if (missing.length === 0 && sum !== total) report("wrong-total", `${sum} instead of ${total}`);
    if (!options.isLinearizable(read)) continue;
    for (const account of accounts) {
      const balance = balances[account];
      if (typeof balance !== "number") continue;
      const { least, most } = boundsByAccount.get(account)!.at(read);
      if (balance >= least && balance <= most) continue;
      report("impossible-balance", `${account} outside ${least}…${most}`);
    }
  }
  return found.verdict();
}

function balancesOf(read: Operation): Readonly<Record<string, Json>> {
  const { output } = read;
  if (output === null || typeof output !== "object" || Array.isArray(output)) return {};
  return output as Readonly<Record<string, Json>>;
}

function boundsOf(
  operations: readonly Operation[],
  initial: Readonly<Record<string, number>>,
): Map<string, SumBounds> {
  const bounds = new Map(
    Object.entries(initial).map(([account, balance]) => [account, new SumBounds(balance)]),
  );
  for (const operation of operations) {
    if (operation.op !== "transfer" || operation.outcome === "fail") continue;
    const { from, to, amount } = transferOf(operation);
    const [source, target] = [bounds.get(from), bounds.get(to)];
    if (source === undefined || target === undefined) {
      throw new HistoryError(`operation ${operation.index}: no account ${from} or ${to}`);
    }
    if (from === to) continue;
    source.add(operation, -amount);
    target.add(operation, amount);
  }
  return bounds;
}

function transferOf({ input, index }: Operation): { from: string; to: string; amount: number } {
  const of = input as Readonly<Record<string, Json>> | null;
  const amount = of?.["amount"];
  if (typeof amount !== "number" || !(amount > 0)) {
    throw new HistoryError(`operation ${index}: no amount to transfer`);
  }
  return { from: String(of?.["from"]), to: String(of?.["to"]), amount };
}
