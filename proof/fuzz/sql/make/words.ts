/**
 * How a statement is written: spaces, comments, marks, letter case, quotes. Whatever is done here means the same to
 * SQLite, or is an error to it; it is for the two sides to agree on which.
 */

import type { Prng } from "../../../../src/base/prng.ts";
import { pick } from "../../mutate.ts";

/** The byte order mark: a space to SQLite where a token begins, a letter within a name. */
const mark = "\uFEFF";

const spaces = [
  ...["  ", "\t", "\n", "\r\n", "\f", " \v", "\v", "/**/", "/* c */", " /* ; */ ", "-- c\n"],
  ...[` ${mark}`, mark, ` ${mark} `, "/*/*/", "-- c ; x\n", " /* ' */ ", "\u00a0", " \0"],
];
const fronts = [
  ...[mark, ` ${mark}`, `${mark}${mark}`, "/* c */", "-- c\n", ";", "; ;", "\n", "\f", " \v"],
  ...[`;${mark}`, `/* c */${mark}`, "\v", "/* /* */", "-- c", "\u2028"],
];
const backs = [
  ...[";", ";;", " ; ", ` ${mark}`, `;${mark}`, "-- c", "/* c", "/* c */", "; -- c", " \f"],
  ...["/", "--", ";/*", "\n", mark, ";\v", "\u00a0"],
];
/** A statement in its tokens, as far as it matters here: texts, names, parameters stay whole. */
const tokens = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|[:@$]\w+|\s+|[A-Za-z_]+|./gsu;

/** The same statement in other words. `oddness` is the chance of something odd at each place. */
export function dressed(sql: string, prng: Prng, oddness: number): string {
  if (oddness === 0) return sql;
  const found = sql.match(tokens) ?? [];
  const texts = found.map((token, at) => {
    // Behind a parameter, what is no space would be part of its name.
    const isNamed = isParameter(found[at - 1]);
    if (/^\s/.test(token)) return !isNamed && prng.chance(oddness / 2) ? pick(spaces, prng) : token;
    if (!/^[A-Za-z_]/.test(token)) return token;
    return prng.chance(oddness * 2) ? otherCase(token, prng) : token;
  });
  const front = prng.chance(oddness * 2) ? pick(fronts, prng) : "";
  const back = prng.chance(oddness * 2) && !isParameter(found.at(-1)) ? pick(backs, prng) : "";
  return front + texts.join("") + back;
}

function isParameter(token: string | undefined): boolean {
  return /^[:@$?]/.test(token ?? "");
}

function otherCase(word: string, prng: Prng): string {
  const how = prng.integer(0, 3);
  if (how === 0) return word.toLowerCase();
  if (how === 1) return word.toUpperCase();
  return [...word].map((c) => (prng.chance(0.5) ? c.toLowerCase() : c.toUpperCase())).join("");
}

/** A name, quoted in one of SQLite's ways. */
export function named(name: string, prng: Prng): string {
  const isPlain = /^[A-Za-z_]\w*$/.test(name) && !reserved.has(name.toLowerCase());
  if (isPlain && prng.chance(0.8)) return name;
  const how = prng.integer(0, 4);
  if (how === 0 && !name.includes("]")) return `[${name}]`;
  if (how === 1) return `\`${name.replaceAll("`", "``")}\``;
  return `"${name.replaceAll('"', '""')}"`;
}

const reserved = new Set(["order", "group", "select", "where", "on", "set", "key"]);
