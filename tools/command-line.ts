/**
 * The command line of the scripts that npm runs and that are no verbs of `paceline` (bench, fuzz, mutants, proof,
 * shop, sim): they explain themselves with --help, and say in one line what was written wrongly, with exit status 2,
 * before anything is done.
 */

import { type ParseArgsConfig, parseArgs } from "node:util";

type Options = NonNullable<ParseArgsConfig["options"]>;
type Values<T extends Options> = ReturnType<typeof parseArgs<{ options: T }>>["values"];

/** Bounds of a number. Whole unless said otherwise. */
export type Bounds = { readonly min: number; readonly max?: number; readonly whole?: boolean };

/** What somebody typed after `npm run NAME --`. */
export class CommandLine<const T extends Options> {
  readonly #name: string;
  readonly values: Values<T>;

  /** Ends the process where the arguments ask for help, or are none that `options` has. */
  constructor(name: string, help: string, options: T) {
    this.#name = name;
    const { help: isWanted, ...values } = this.#parsed(options) as Values<T> & { help?: unknown };
    if (isWanted === true) {
      process.stdout.write(`${help.trim()}\n`);
      process.exit(0);
    }
    this.values = values as unknown as Values<T>;
  }

  /** Value of an option that is a number. Ends the process when it is none within the bounds. */
  number(
    flag: keyof T & string,
    { min, max = Number.MAX_SAFE_INTEGER, whole = true }: Bounds,
  ): number {
    const text = String((this.values as Record<string, unknown>)[flag]);
    const n = Number(text);
    const fits = text.trim() !== "" && Number.isFinite(n) && n >= min && n <= max;
    if (fits && (!whole || Number.isSafeInteger(n))) return n;
    const upTo = max === Number.MAX_SAFE_INTEGER ? " on" : ` to ${max}`;
    return this.refuse(
      `--${flag} takes a ${whole ? "whole " : ""}number from ${min}${upTo}, not "${text}"`,
    );
  }

  /** The names of a list with commas. Ends the process at one that is not among `known`. */
  names(flag: keyof T & string, known: readonly string[]): readonly string[] {
    const names = String((this.values as Record<string, unknown>)[flag]).split(",");
    const unknown = names.find((name) => !known.includes(name));
    if (unknown === undefined) return names;
    return this.refuse(`--${flag}: there is no "${unknown}"; there are ${known.join(", ")}`);
  }

  /** Ends the process. */
  refuse(why: string): never {
    process.stderr.write(`${this.#name}: ${why}\nnpm run ${this.#name} -- --help explains\n`);
    process.exit(2);
  }

  #parsed(options: T): unknown {
    try {
      return parseArgs({ options: { ...options, help: { type: "boolean", short: "h" } } }).values;
    } catch (error) {
      return this.refuse((error as Error).message);
    }
  }
}
