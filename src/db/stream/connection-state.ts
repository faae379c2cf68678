/**
 * What SQLite keeps for a connection, of one stream of a client. It goes out with each unit and comes back changed with
 * its outcome, because the next unit may run in another process or on another node. Plain JSON.
 *
 * Not here: an open transaction, which stays where it is.
 */

import { isSetting } from "./pragmas.ts";

export type ConnectionState = {
  /** PRAGMAs that the stream has set, by name in lower case, as SQLite answers them. All others have their default. */
  readonly settings: Readonly<Record<string, string>>;
  /** What last_insert_rowid(), changes() and total_changes() give, in decimal. */
  readonly lastInsertRowid: string;
  readonly changes: string;
  readonly totalChanges: string;
};

/** Of a stream that has done nothing yet. */
export const newConnection: ConnectionState = {
  settings: {},
  lastInsertRowid: "0",
  changes: "0",
  totalChanges: "0",
};

/** Settings that one stream may have changed, each a PRAGMA of a known name. */
const settingsMax = 64;
const integer = /^-?\d{1,19}$/;

/** What another process or node said. Undefined when it is no such state. */
export function parseConnection(value: unknown): ConnectionState | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { settings, lastInsertRowid, changes, totalChanges } = value as Record<string, unknown>;
  const counters = [lastInsertRowid, changes, totalChanges];
  if (!counters.every((each) => typeof each === "string" && integer.test(each))) return undefined;
  if (typeof settings !== "object" || settings === null) return undefined;
  const entries = Object.entries(settings);
  const isKnown = ([name, set]: [string, unknown]) =>
    typeof set === "string" && isSetting(name, set);
  if (entries.length > settingsMax || !entries.every(isKnown)) return undefined;
  return { settings, lastInsertRowid, changes, totalChanges } as ConnectionState;
}

/** As text of letters that may stand in a header. */
export function encodeConnection(state: ConnectionState): string {
  return Buffer.from(JSON.stringify(state)).toString("base64url");
}

/** Undefined when the text is none of these. */
export function decodeConnection(text: string): ConnectionState | undefined {
  try {
    return parseConnection(JSON.parse(Buffer.from(text, "base64url").toString()));
  } catch {
    return undefined;
  }
}
