/**
 * Assertions. They state what must be true for the rest of the program to make sense, and they stay on in
 * production: a node that stops is repaired by a restart, a node that goes on with a broken invariant is not.
 *
 * Not here: checks of what came from a disk, a peer or a client. Those are `base/errors.ts`.
 */

export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** For the `default` of an exhaustive switch: the compiler proves it is never reached. */
export function unreachable(x: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(x)}`);
}
