/**
 * Planted bugs. A mutant changes the program from outside, by replacing methods of its classes for a while, so that
 * nothing of it stands in the program itself.
 */

import { noteFault } from "./own-faults.ts";

export type Mutant = {
  /** What is broken, in a few words. */
  readonly name: string;
  /** Where it is looked for: in stories, unless it is in code that they do without. */
  readonly ground?: "pages" | "foreign" | "lead" | "sqlite" | undefined;
  /** Breaks it. Returns what repairs it. */
  plant(): () => void;
  /** Breaks the writer processes, each at its start. On the ground "lead" only. */
  readonly plantInWriter?: (() => void) | undefined;
};

type Method = (...args: never[]) => unknown;
// biome-ignore lint/suspicious/noExplicitAny: a replaced method may be any method
type Made = (this: any, ...args: any[]) => unknown;

/** Methods that were replaced, and calls of them: a mutant that nobody calls breaks nothing. */
export const reached = { methods: 0, calls: 0 };

/** The replacement, with an eye on what goes wrong in it. */
function watched(made: Made): Made {
  reached.methods++;
  return function (this: unknown, ...args) {
    reached.calls++;
    try {
      const result = made.apply(this, args);
      if (result instanceof Promise) result.catch(noteFault);
      return result;
    } catch (error) {
      noteFault(error);
      throw error;
    }
  };
}

/** Replaces a method of a class; `make` is given the original one. */
export function replaced<T extends object>(
  prototype: T,
  name: keyof T & string,
  make: (original: Made) => Made,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  const original = before.value as Method;
  Object.defineProperty(prototype, name, {
    ...before,
    value: watched(make(original as Made)),
  });
  return () => Object.defineProperty(prototype, name, before);
}

/** Replaces a getter. */
export function getterReplaced<T extends object>(
  prototype: T,
  name: keyof T & string,
  make: (original: Made) => Made,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, {
    ...before,
    get: watched(make(before.get as Made)),
  });
  return () => Object.defineProperty(prototype, name, before);
}

export function all(...undo: readonly (() => void)[]): () => void {
  return () => {
    for (const one of undo.toReversed()) one();
  };
}

/** Within calls of a method, `inside.is` is true. */
export function marked<T extends object>(prototype: T, name: keyof T & string) {
  const inside = { is: false };
  const undo = replaced(
    prototype,
    name,
    (original) =>
      function (this: unknown, ...args) {
        inside.is = true;
        try {
          return original.apply(this, args);
        } finally {
          inside.is = false;
        }
      },
  );
  return { inside, undo };
}
