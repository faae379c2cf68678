/**
 * Who may know whom [ARCHITECTURE, layers]: imports go down, never sideways, never up; only `db/` knows SQLite; the
 * pure rooms know no machine at all, and the rooms above them meet it only through `host/`.
 *
 * Tests may use what they like of the machine and of SQLite, but they keep to the layers as well.
 */

import { dirname, join } from "node:path/posix";
import { type Finding, imports, isTest, matches, type SourceFile, type Tree } from "./source.ts";

/** The rooms of `src/`, by layer. Rooms of one layer are siblings and do not know each other. */
const layers: readonly (readonly string[])[] = [
  ["base"],
  ["raft", "wal", "changes"],
  ["host"],
  ["log", "db", "payload", "sync", "peer", "coordinator"],
  ["node", "client"],
  ["api", "archive", "link", "sim"],
  ["router"],
  ["cli"],
];

/** Files that may do what a rule forbids, each with the reason. A line that excuses nothing is itself a finding. */
export const exceptions: readonly { path: RegExp; rule: string; reason: string }[] = [
  {
    path: /^src\/cli\/import\//,
    rule: "sqlite",
    reason: "reads the file the user wants imported; it is not a database of ours",
  },
  {
    path: /^src\/sim\/sqlite\//,
    rule: "sqlite",
    reason: "makes the databases of simulated machines, and looks at them as a stock reader does",
  },
];

const clockAndChance =
  /\b(?:Date\.now|Math\.random|performance\.|setTimeout\s*\(|setInterval\s*\(|process\.|new Date\s*\(\s*\))/g;
/** Rooms that may touch the clock, chance, timers and the process themselves. */
const touchesMachine = /^src\/(?:host|cli|db\/process|api)\//;
/** Rooms that may not open files, sockets or processes: they are given ports. */
const noMachine = /^src\/(?:raft|wal|changes|log|payload|sync)\//;
const machineModules =
  /^node:(?:fs|net|tls|http|https|dgram|child_process|worker_threads|os|timers)/;

export function checkLayers(tree: Tree): Finding[] {
  return tree.sources.filter((f) => f.path.startsWith("src/")).flatMap(checkFile);
}

function checkFile(file: SourceFile): Finding[] {
  const found: Finding[] = [];
  const add = (line: number, rule: string, text: string): void => {
    found.push({ path: file.path, line, rule, text });
  };
  const inTest = isTest(file.path);
  const own = roomOf(file.path);
  if (own.layer === -1)
    add(0, "layers", `no such room: ${own.room}/ (a new room needs a decision)`);
  for (const { line, from } of imports(file)) {
    if (from.endsWith(".json")) continue;
    if (from.startsWith(".")) {
      const target = join(dirname(file.path), from);
      if (inTest && target.startsWith("test/")) continue;
      const wrong = whyNot(own, roomOf(target));
      if (wrong !== undefined) add(line, "layers", `${wrong}: ${from}`);
    } else if (!inTest) {
      if (from === "node:sqlite" && own.room !== "db") {
        add(line, "sqlite", "only db/ knows SQLite");
      }
      if (machineModules.test(from) && noMachine.test(file.path)) {
        add(line, "machine", `${from} in a room that is given its ports`);
      }
    }
  }
  if (inTest || touchesMachine.test(file.path)) return found;
  for (const { line, match } of matches(file, clockAndChance)) {
    const before = file.code[match.index! - 1];
    if (before === "." || before === "#") continue;
    add(
      line,
      "machine",
      `${match[0].replace(/\W+$/, "")} is for host/, api/ and cli/; take a port`,
    );
  }
  return found;
}

type Room = { readonly room: string; readonly layer: number };

function roomOf(path: string): Room {
  const parts = path.split("/");
  if (parts[0] !== "src") return { room: parts[0]!, layer: layers.length };
  const room = parts.length === 2 ? "base" : parts[1]!;
  return { room, layer: layers.findIndex((rooms) => rooms.includes(room)) };
}

function whyNot(own: Room, other: Room): string | undefined {
  if (own.room === other.room || other.layer === -1) return undefined;
  if (other.layer > own.layer) return `${own.room}/ imports upwards from ${other.room}/`;
  if (other.layer === own.layer) return `${own.room}/ imports sideways from ${other.room}/`;
  return undefined;
}
