/**
 * Planted bugs. A mutant changes the program from outside, by replacing methods of its classes for a while, so that
 * nothing of it stands in the program itself.
 */

export type Mutant = {
  /** What is broken, in a few words. */
  readonly name: string;
  /** Where it is looked for: in stories, unless it is in code that they do without. */
  readonly ground?: "pages" | "foreign" | "sqlite" | undefined;
  /** Breaks it. Returns what repairs it. */
  plant(): () => void;
};

type Method = (...args: never[]) => unknown;
// biome-ignore lint/suspicious/noExplicitAny: a replaced method may be any method
type Made = (this: any, ...args: any[]) => unknown;

/** Replaces a method of a class; `make` is given the original one. */
export function replaced<T extends object>(
  prototype: T,
  name: keyof T & string,
  make: (original: Made) => Made,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  const original = before.value as Method;
  Object.defineProperty(prototype, name, { ...before, value: make(original as Made) });
  return () => Object.defineProperty(prototype, name, before);
}

/** Replaces a getter. */
export function getterReplaced<T extends object>(
  prototype: T,
  name: keyof T & string,
  make: (original: Made) => Made,
): () => void {
  const before = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, { ...before, get: make(before.get as Made) });
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
