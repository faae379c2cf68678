/**
 * What is fuzzed. Beside the rules of every case (rules.ts), what was encoded must decode to the same, and so must what
 * was accepted of a spoiled input once it is written again.
 */

import type { Prng } from "../../src/base/prng.ts";
import { mutateBytes, mutateJson, randomBytes } from "./mutate.ts";
import { demand, demandSame, type ErrorClass, probe } from "./rules.ts";

/** What became of an input. Good input that came through unspoiled is not counted. */
export type Outcome = "whole" | "accepted" | "refused";

export type Target = {
  readonly name: string;
  /** How many cases it gets, against others; 1 unless a case is dear. */
  readonly weight: number;
  /** One case. Throws when a rule is broken. */
  play(prng: Prng): Outcome | Promise<Outcome>;
};

/** A format of bytes. */
export type Codec<T> = {
  readonly name: string;
  readonly errors: readonly ErrorClass[];
  readonly weight?: number;
  /** Good bytes, and what they mean. */
  sample(prng: Prng): { readonly bytes: Uint8Array; readonly value: T };
  /** Undefined: refused. */
  decode(bytes: Uint8Array): T | undefined;
  encode?(value: T): Uint8Array;
  /** Makes checksums right again, so that what they guard is seen by the decoder. */
  mend?(bytes: Uint8Array): void;
};

export function codecTarget<T>(codec: Codec<T>): Target {
  const { name, errors } = codec;
  const decoded = (bytes: Uint8Array): T | undefined =>
    probe(bytes, errors, () => codec.decode(bytes))?.value;
  const play = (prng: Prng): Outcome => {
    const { bytes, value } = codec.sample(prng);
    if (prng.chance(0.15)) {
      demandSame(decoded(new Uint8Array(bytes)), value, "decode(encode(x)) is not x");
      return "whole";
    }
    const input = prng.chance(0.05)
      ? randomBytes(prng.integer(0, 300), prng)
      : mutateBytes(bytes, codec.sample(prng).bytes, prng);
    if (codec.mend !== undefined && prng.chance(0.7)) codec.mend(input);
    const found = decoded(new Uint8Array(input));
    if (found === undefined) return "refused";
    if (codec.encode !== undefined) {
      const again = decoded(new Uint8Array(codec.encode(found)));
      demandSame(again, found, "accepted, encoded and decoded again");
    }
    return "accepted";
  };
  return { name, weight: codec.weight ?? 1, play };
}

/** `sample` of a codec whose values can be made and encoded. */
export function encoded<T>(make: (prng: Prng) => T, encode: (value: T) => Uint8Array) {
  return (prng: Prng): { bytes: Uint8Array; value: T } => {
    const value = make(prng);
    return { bytes: encode(value), value };
  };
}

/** A decoder of JSON; `decode` is given the text. */
export type JsonCodec<T> = {
  readonly name: string;
  readonly errors: readonly ErrorClass[];
  readonly weight?: number;
  /** A JSON value that is good. */
  make(prng: Prng): unknown;
  decode(text: string): T;
  /** The JSON value that decodes to this, when there is one way to write it. */
  encode?(value: T): unknown;
};

export function jsonTarget<T>(codec: JsonCodec<T>): Target {
  const { name, errors } = codec;
  const decoded = (text: string) => probe(text, errors, () => codec.decode(text));
  const again = (value: T, rule: string): void => {
    if (codec.encode === undefined) return;
    demandSame(decoded(JSON.stringify(codec.encode(value)))?.value, value, rule);
  };
  const play = (prng: Prng): Outcome => {
    const made = codec.make(prng);
    if (prng.chance(0.15)) {
      const whole = decoded(JSON.stringify(made));
      demand(whole !== undefined, "a good input is refused");
      again(whole.value, "decode(encode(x)) is not x");
      return "whole";
    }
    const found = decoded(mutateJson(made, codec.make(prng), prng));
    if (found === undefined) return "refused";
    again(found.value, "accepted, encoded and decoded again");
    return "accepted";
  };
  return { name, weight: codec.weight ?? 1, play };
}
