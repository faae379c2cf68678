/**
 * What one key of a database does, as a machine over small integers, compiled for the operations of one history.
 *
 *   tableModel  read, write, cas, append, and the parts of a txn that are about this key
 *   setModel    add, read
 *
 * Besides stepping, a model knows what a search may skip, which is what makes the search fast:
 *   - a read that matches now may be taken now, with no alternative: it changes nothing
 *   - a write of a value that nobody observed may hide directly before any other blind write
 *   - a list that no read has seen as a prefix satisfies no read any more
 *
 * Operations with outcome fail must have been left out. Those with info: what they read is unknown.
 *
 * Not here: order and time (wing-gong.ts).
 */

import { HistoryError, type Json } from "../history.ts";
import { microOpsOf, type Operation } from "../operations.ts";
import { absent, Values } from "./values.ts";

/** The machine. `i` is the rank of an operation in the list the model was compiled for; states are integers from 0. */
export type Machine = {
  readonly initial: number;
  /** The state after operation `i`, or -1 when its answer does not fit this state. */
  step(state: number, i: number): number;
  /** Operation `i` changes nothing in any state. */
  isRead(i: number): boolean;
  /** Operation `i` has an answer that depends on the state. */
  observes(i: number): boolean;
  /** Operation `i` is a blind write. */
  isBlind(i: number): boolean;
  /** Nothing in the history can tell whether the effect of operation `i` was ever visible. */
  isUnobserved(i: number): boolean;
  /** Operation `i` leaves a value that nobody read, though a failed comparison may have seen that it is another one. */
  isUnread(i: number): boolean;
  /** No operation that observes can fit any more once this state is reached. */
  isHopeless(state: number): boolean;
};

export type Model = (operations: readonly Operation[], key: string) => Machine;

type Part =
  | { readonly type: "read"; readonly want: number }
  | { readonly type: "write"; readonly value: number }
  | { readonly type: "append"; readonly element: Json; readonly id: number }
  | { readonly type: "cas"; readonly from: number; readonly to: number; readonly swapped: Swapped };
type Swapped = boolean | undefined;

/** What an info read wants: anything. */
const anything = -1;

/** Registers and lists. The key starts with `initial`. */
export function tableModel(initial: Json = null): Model {
  return (operations, key) => compileTable({ operations, key, initial });
}

/** A set that only grows; reads give its elements in any order. */
export const setModel: Model = (operations) => compileSet(operations);

function compileTable(of: {
  readonly operations: readonly Operation[];
  readonly key: string;
  readonly initial: Json;
}): Machine {
  const values = new Values();
  const initial = values.id(of.initial);
  const compiled = of.operations.map((operation) => partsOf(operation, of.key, values));
  const observed = observationsOf(of.operations, compiled, values);
  const onlyLists = compiled.flat().every((part) => part.type === "read" || part.type === "append");
  const isBlind = (i: number): boolean =>
    compiled[i]!.length === 1 && compiled[i]![0]!.type === "write";
  return {
    initial,
    step: (state, i) => {
      for (const part of compiled[i]!) {
        state = stepPart(state, part, values);
        if (state === -1) return -1;
      }
      return state;
    },
    isRead: (i) => compiled[i]!.every((part) => part.type === "read" || isFailedCas(part)),
    observes: (i) => of.operations[i]!.outcome === "ok" && compiled[i]!.some(isObserver),
    isBlind,
    isUnobserved: (i) => compiled[i]!.every((part) => isUnseen(part, observed)),
    isUnread: (i) => isUnreadPart(compiled[i]!, observed),
    isHopeless: (state) => onlyLists && !observed.prefixes.has(state),
  };
}

function partsOf(operation: Operation, key: string, values: Values): Part[] {
  const { op, input, output, outcome } = operation;
  const known = outcome === "ok";
  switch (op) {
    case "read":
      return [{ type: "read", want: known ? values.id(output) : anything }];
    case "write":
      return [{ type: "write", value: values.id(input) }];
    case "append":
      return [{ type: "append", element: input, id: values.id(input) }];
    case "cas": {
      if (!Array.isArray(input))
        throw new HistoryError(`operation ${operation.index}: no [from, to]`);
      const [from, to] = input as readonly Json[];
      const swapped = known ? output !== false : undefined;
      return [{ type: "cas", from: values.id(from ?? null), to: values.id(to ?? null), swapped }];
    }
    case "txn":
      return microOpsOf(operation)
        .filter((part) => part[1] === key)
        .map(([f, , value]): Part => {
          if (f === "w") return { type: "write", value: values.id(value) };
          if (f === "append") return { type: "append", element: value, id: values.id(value) };
          if (f === "r") return { type: "read", want: known ? values.id(value) : anything };
          throw new HistoryError(`operation ${operation.index}: no part is called ${f}`);
        });
    default:
      throw new HistoryError(`operation ${operation.index}: a table has no ${op}`);
  }
}

function stepPart(state: number, part: Part, values: Values): number {
  switch (part.type) {
    case "read":
      return part.want === anything || part.want === state ? state : -1;
    case "write":
      return part.value;
    case "append":
      return values.append(state, part.element);
    case "cas":
      if (part.swapped === undefined) return state === part.from ? part.to : state;
      if (part.swapped !== (state === part.from)) return -1;
      return part.swapped ? part.to : state;
  }
}

function isFailedCas(part: Part): boolean {
  return part.type === "cas" && part.swapped === false;
}

function isObserver(part: Part): boolean {
  return part.type === "cas" || (part.type === "read" && part.want !== anything);
}

type Observations = {
  /** Numbers of values that somebody read or compared with. */
  readonly values: ReadonlySet<number>;
  /** Numbers of elements of lists among them. */
  readonly elements: ReadonlySet<number>;
  /** Numbers of lists that a read list starts with. */
  readonly prefixes: ReadonlySet<number>;
  /** A comparison failed, so even a value that nobody read may have been seen, as not the one compared with. */
  readonly byDifference: boolean;
};

function observationsOf(
  operations: readonly Operation[],
  compiled: readonly (readonly Part[])[],
  values: Values,
): Observations {
  const seen = new Set<number>();
  const elements = new Set<number>();
  const prefixes = new Set<number>([absent]);
  const addList = (list: Json): void => {
    if (!Array.isArray(list)) return;
    let prefix = absent;
    for (const element of list as readonly Json[]) {
      elements.add(values.id(element));
      prefix = values.append(prefix, element);
      prefixes.add(prefix);
    }
  };
  let byDifference = false;
  for (const [i, parts] of compiled.entries()) {
    for (const part of parts) {
      if (part.type === "read") seen.add(part.want);
      if (part.type !== "cas") continue;
      seen.add(part.from);
      byDifference ||= part.swapped === false;
    }
    const { op, input, output, outcome } = operations[i]!;
    if (op === "read") addList(output);
    if (op === "cas" && Array.isArray(input)) addList(input[0] as Json);
    if (op !== "txn" || outcome !== "ok") continue;
    for (const [f, , value] of microOpsOf(operations[i]!)) if (f === "r") addList(value);
  }
  return { values: seen, elements, prefixes, byDifference };
}

function isUnseen(part: Part, observed: Observations): boolean {
  switch (part.type) {
    case "read":
      return part.want === anything;
    case "write":
      return !observed.byDifference && !observed.values.has(part.value);
    case "append":
      return !observed.byDifference && !observed.elements.has(part.id);
    case "cas":
      return part.swapped === undefined && !observed.byDifference && !observed.values.has(part.to);
  }
}

function isUnreadPart([part, ...more]: readonly Part[], { values }: Observations): boolean {
  if (part === undefined || more.length > 0) return false;
  if (part.type === "write") return !values.has(part.value);
  return part.type === "cas" && part.swapped === undefined && !values.has(part.to);
}

function compileSet(operations: readonly Operation[]): Machine {
  const values = new Values();
  const sets = new SetStates();
  const read = new Set<number>();
  const compiled = operations.map(({ op, input, output, outcome, index }) => {
    if (op === "add") return { element: values.id(input), want: anything };
    if (op !== "read") throw new HistoryError(`operation ${index}: a set has no ${op}`);
    if (outcome !== "ok") return { element: -1, want: anything };
    const elements = (Array.isArray(output) ? (output as readonly Json[]) : []).map((e) =>
      values.id(e),
    );
    for (const element of elements) read.add(element);
    return { element: -1, want: sets.id(elements) };
  });
  return {
    initial: sets.id([]),
    step: (state, i) => {
      const { element, want } = compiled[i]!;
      if (element !== -1) return sets.add(state, element);
      return want === anything || want === state ? state : -1;
    },
    isRead: (i) => compiled[i]!.element === -1,
    observes: (i) => compiled[i]!.want !== anything,
    isBlind: () => false,
    isUnobserved: (i) =>
      compiled[i]!.element === -1
        ? compiled[i]!.want === anything
        : !read.has(compiled[i]!.element),
    isUnread: () => false,
    isHopeless: (state) => sets.has(state, (element) => !read.has(element)),
  };
}

/** Sets of numbers as numbers. */
class SetStates {
  readonly #idByText = new Map<string, number>();
  readonly #elements: (readonly number[])[] = [];
  readonly #nextByStep = new Map<string, number>();

  id(elements: readonly number[]): number {
    const sorted = [...new Set(elements)].sort((a, b) => a - b);
    const text = sorted.join();
    let id = this.#idByText.get(text);
    if (id === undefined) {
      id = this.#elements.push(sorted) - 1;
      this.#idByText.set(text, id);
    }
    return id;
  }

  add(set: number, element: number): number {
    const step = `${set} ${element}`;
    let next = this.#nextByStep.get(step);
    if (next === undefined) {
      next = this.id([...this.#elements[set]!, element]);
      this.#nextByStep.set(step, next);
    }
    return next;
  }

  has(set: number, wanted: (element: number) => boolean): boolean {
    return this.#elements[set]!.some(wanted);
  }
}
