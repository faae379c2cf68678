/**
 * A smaller list that differs in the same way: parts are left out, then what is left is written plainly, as long as
 * the difference stays. Every attempt is played on the cluster, so their number is bounded.
 */

import type { Condition, List, Request, Send, Step } from "./list.ts";
import type { Difference } from "./play.ts";

const attemptsMax = 400;

/** `play` tells whether a list still differs. */
export async function shrunk(
  list: List,
  first: Difference,
  play: (list: List) => Promise<Difference | undefined>,
): Promise<{ readonly list: List; readonly difference: Difference }> {
  let best = { list, difference: first };
  let attempts = 0;
  const attempt = async (sends: readonly Send[]): Promise<boolean> => {
    if (attempts++ >= attemptsMax) return false;
    const smaller = { ...best.list, sends };
    const found = await play(smaller);
    if (found?.what !== best.difference.what) return false;
    best = { list: smaller, difference: found };
    return true;
  };
  await withoutParts(() => best.list.sends, attempt);
  await withoutSteps(() => best.list.sends, attempt);
  await plainly(() => best.list.sends, attempt);
  await withoutParts(() => best.list.sends, attempt);
  await withoutSteps(() => best.list.sends, attempt);
  return best;
}

type Attempt = (sends: readonly Send[]) => Promise<boolean>;
type Sends = () => readonly Send[];

/** Leaves out whole requests: halves first, then less. */
async function withoutParts(sends: Sends, attempt: Attempt): Promise<void> {
  for (let size = Math.ceil(sends().length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < sends().length; ) {
      const rest = sends().filter((_, i) => i < at || i >= at + size);
      if (rest.length === 0 || !(await attempt(rest))) at += size;
    }
  }
}

async function withoutSteps(sends: Sends, attempt: Attempt): Promise<void> {
  for (let at = sends().length - 1; at >= 0; at--) {
    for (let r = (sends()[at]?.requests.length ?? 0) - 1; r >= 0; r--) {
      const requestAt = () => sends()[at]?.requests[r];
      if ((sends()[at]?.requests.length ?? 0) > 1) {
        const kept = sends()[at]!.requests.filter((_, i) => i !== r);
        if (await attempt(withSend(sends(), at, { requests: kept }))) continue;
      }
      for (let s = (requestAt()?.steps.length ?? 0) - 1; s >= 0; s--) {
        const request = requestAt();
        if (request === undefined || request.steps.length < 2) break;
        await attempt(withRequest(sends(), [at, r], without(request, s)));
      }
    }
  }
}

/** Plain words in place of odd ones, no conditions, one stream. */
async function plainly(sends: Sends, attempt: Attempt): Promise<void> {
  await attempt(sends().map((send) => ({ ...send, stream: 0 })));
  for (let at = 0; at < sends().length; at++) {
    for (let r = 0; r < sends()[at]!.requests.length; r++) {
      for (let s = 0; s < sends()[at]!.requests[r]!.steps.length; s++) {
        const request = sends()[at]!.requests[r]!;
        const step = request.steps[s]!;
        const { plain, sql } = step.statement;
        const replace = (by: Step) =>
          withRequest(sends(), [at, r], {
            ...request,
            steps: request.steps.map((each, i) => (i === s ? by : each)),
          });
        const { statement } = step;
        if (plain !== sql)
          await attempt(replace({ ...step, statement: { ...statement, sql: plain } }));
        if (step.condition !== undefined) await attempt(replace({ statement }));
      }
    }
  }
}

function withSend(sends: readonly Send[], at: number, change: Partial<Send>): Send[] {
  return sends.map((send, i) => (i === at ? { ...send, ...change } : send));
}

function withRequest(sends: readonly Send[], [at, r]: [number, number], request: Request): Send[] {
  const requests = sends[at]!.requests.map((each, i) => (i === r ? request : each));
  return withSend(sends, at, { requests });
}

/** Conditions on the step that goes are dropped, others follow their steps. */
function without(request: Request, step: number): Request {
  const steps = request.steps
    .filter((_, i) => i !== step)
    .map((each) => ({ ...each, condition: moved(each.condition, step) }));
  return { ...request, steps };
}

function moved(condition: Condition | undefined, gone: number): Condition | undefined {
  if (condition === undefined) return undefined;
  switch (condition.type) {
    case "is_autocommit":
      return condition;
    case "ok":
    case "error":
      if (condition.step === gone) return undefined;
      return { ...condition, step: condition.step - Number(condition.step > gone) };
    case "not": {
      const cond = moved(condition.cond, gone);
      return cond === undefined ? undefined : { ...condition, cond };
    }
    default: {
      const conds = condition.conds
        .map((each) => moved(each, gone))
        .filter((each) => each !== undefined);
      return conds.length === 0 ? undefined : { ...condition, conds };
    }
  }
}
