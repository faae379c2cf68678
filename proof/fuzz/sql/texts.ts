/** Lists as texts: scripts for SQLite, lines for people. */

import type { SqlValue } from "../../../src/changes/values.ts";
import type { Argument, List, Request, Send, Step } from "./list.ts";

/** The text of a script. */
export function scriptOf(request: Request): string {
  return request.steps.map(({ statement }) => statement.sql).join(";");
}

export function countOfSend(send: Send): number {
  return send.requests.reduce((sum, { steps }) => sum + Math.max(1, steps.length), 0);
}

/** The same list with other names. */
export function renamed(list: List, prefix: string): List {
  const old = new RegExp(list.prefix, "gi");
  const rename = ({ statement, condition }: Step): Step => {
    const [sql, plain] = [statement.sql, statement.plain].map((text) => text.replace(old, prefix));
    return { statement: { ...statement, sql: sql!, plain: plain! }, condition };
  };
  const sends = list.sends.map((send) => ({
    ...send,
    requests: send.requests.map(({ type, steps }) => ({ type, steps: steps.map(rename) })),
  }));
  return { ...list, prefix, sends };
}

/** The list as lines, for people. Odd characters are written as JavaScript does. */
export function printed(list: List): string {
  return list.sends.map((send, at) => `  ${at + 1}. ${printedSend(send)}`).join("\n");
}

export function printedSend({ stream, requests, closes }: Send): string {
  const texts = requests.map(({ type, steps }) => {
    if (type === "get_autocommit") return type;
    const inside = steps.map(({ statement, condition }) => {
      const when = condition === undefined ? "" : ` if ${JSON.stringify(condition)}`;
      return shown(statement.sql) + printedArguments(statement.args) + when;
    });
    return type === "execute" ? inside.join() : `${type}[${inside.join(" ; ")}]`;
  });
  return `stream ${stream}: ${texts.join("\n       then ")}${closes ? " (closes)" : ""}`;
}

function printedArguments(args: readonly Argument[]): string {
  if (args.length === 0) return "";
  const texts = args.map(({ name = "", value }) => `${name} ${shownValue(value)}`.trim());
  return ` with (${texts.join(", ")})`;
}

function shownValue(value: SqlValue): string {
  if (typeof value === "bigint") return `${value}`;
  if (value instanceof Uint8Array) return `x'${Buffer.from(value).toString("hex")}'`;
  if (typeof value === "number") return Object.is(value, -0) ? "-0.0" : `${value} (real)`;
  return value === null ? "NULL" : shown(value);
}

/** As a JavaScript string, so that it can be pasted. */
export function shown(text: string): string {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
