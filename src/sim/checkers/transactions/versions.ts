/**
 * From list-append transactions to the order of versions: since every append leaves its mark in the list for good, the
 * longest list that anyone read of a key is the order in which its elements were written, and every other read must be
 * a prefix of it. That gives who wrote what the other replaced or read: edges ww, wr, rw.
 *
 * An append that happened and that nobody has read yet came after all that was read, so whoever read the whole
 * longest list precedes its writer.
 *
 * A transaction sees its own appends: they are cut from the end of its reads before anything is concluded from them.
 *
 * Reported here, because it needs no cycle: see the names in transactions.ts.
 */

import { HistoryError, type Json } from "../history.ts";
import { microOpsOf, type Operation } from "../operations.ts";
import { describeOperation, type Findings } from "../verdict.ts";
import { edgeKinds, type GraphBuilder } from "./graph.ts";

export type VersionAnomaly =
  | "G1a"
  | "G1b"
  | "internal"
  | "lost-update"
  | "incompatible-order"
  | "duplicate-element"
  | "unwritten-element";

/** What a transaction read of a key: `length` elements at the front of `list` are not its own. */
type Read = { readonly rank: number; readonly list: readonly Json[]; readonly length: number };
/** Who appended an element; `last` when it was that transaction's last to the key. */
type Writer = { readonly rank: number; readonly last: boolean };

type Key = {
  readonly name: string;
  readonly reads: Read[];
  readonly writerByElement: Map<Json, Writer>;
};

type Scope = {
  readonly operations: readonly Operation[];
  readonly graph: GraphBuilder;
  readonly found: Findings<VersionAnomaly>;
};

/** Readers and writers around the end of a list; more of them say nothing new, and all pairs would be too many. */
const tailMax = 200;

/** Adds edges ww, wr, rw, and reports what is wrong with versions. Nodes are ranks in `operations`. */
export function addVersions(
  operations: readonly Operation[],
  graph: GraphBuilder,
  found: Findings<VersionAnomaly>,
): void {
  const scope: Scope = { operations, graph, found };
  const keys = new Map<string, Key>();
  for (const rank of operations.keys()) collect(scope, rank, keys);
  for (const key of keys.values()) addKey(scope, key);
}

function collect(scope: Scope, rank: number, keys: Map<string, Key>): void {
  const operation = scope.operations[rank]!;
  const parts = microOpsOf(operation);
  /** Own appends so far, by key. */
  const own = new Map<string, Json[]>();
  const firstRead = new Map<string, Read>();
  for (const [i, [f, name, value]] of parts.entries()) {
    let key = keys.get(name);
    if (key === undefined) {
      key = { name, reads: [], writerByElement: new Map() };
      keys.set(name, key);
    }
    if (f === "append") {
      if (typeof value === "object")
        throw new HistoryError(`elements are numbers or texts: ${name}`);
      if (key.writerByElement.has(value)) {
        throw new HistoryError(`two appends of ${JSON.stringify(value)} to ${name}`);
      }
      const last = !parts.some((p, j) => j > i && p[0] === "append" && p[1] === name);
      key.writerByElement.set(value, { rank, last });
      const mine = own.get(name);
      if (mine === undefined) own.set(name, [value]);
      else mine.push(value);
    } else if (f !== "r") throw new HistoryError(`no part is called ${f}`);
    else if (operation.outcome === "ok") {
      const read = readOf(rank, value, own.get(name) ?? []);
      const first = firstRead.get(name);
      if (read === undefined || (first !== undefined && !sameFront(first, read))) {
        scope.found.add("internal", `${name}: ${describeOperation(operation)}`, [operation]);
      } else if (first === undefined) {
        firstRead.set(name, read);
        key.reads.push(read);
      }
    }
  }
}

/** Undefined when the list does not end with what the transaction appended before. */
function readOf(rank: number, value: Json, own: readonly Json[]): Read | undefined {
  if (value !== null && !Array.isArray(value))
    throw new HistoryError("a read gives a list or null");
  const list = (value ?? []) as readonly Json[];
  const length = list.length - own.length;
  if (length < 0 || own.some((element, i) => list[length + i] !== element)) return undefined;
  return { rank, list, length };
}

function sameFront(a: Read, b: Read): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a.list[i] !== b.list[i]) return false;
  return true;
}

function addKey(scope: Scope, key: Key): void {
  let longest: Read | undefined;
  for (const read of key.reads) {
    if (longest === undefined || read.list.length > longest.list.length) longest = read;
  }
  const order = longest?.list ?? [];
  const compatible: Read[] = [];
  for (const read of key.reads) {
    if (isPrefix(read.list, order)) compatible.push(read);
    else {
      const pair = [scope.operations[read.rank]!, scope.operations[longest!.rank]!];
      const text = pair.map(describeOperation).join(" against ");
      scope.found.add("incompatible-order", `${key.name}: ${text}`, pair);
      checkElements(scope, key, read);
    }
  }
  if (longest !== undefined) checkElements(scope, key, longest);
  for (const read of key.reads) checkLastElement(scope, key, read);
  addOrder(scope, key, order);
  for (const read of compatible) addRead(scope, key, { read, order });
  addUnread(scope, key, { order, compatible });
  checkLostUpdates(scope, key, compatible);
}

function isPrefix(list: readonly Json[], of: readonly Json[]): boolean {
  for (let i = 0; i < list.length; i++) if (list[i] !== of[i]) return false;
  return true;
}

/** Elements read twice, written by nobody, or written by a transaction that failed. */
function checkElements({ operations, found }: Scope, key: Key, read: Read): void {
  const reader = operations[read.rank]!;
  if (new Set(read.list).size < read.list.length) {
    found.add("duplicate-element", `${key.name}: ${describeOperation(reader)}`, [reader]);
  }
  for (const element of read.list) {
    const writer = key.writerByElement.get(element);
    const text = `${key.name}: ${JSON.stringify(element)} in ${describeOperation(reader)}`;
    if (writer === undefined) found.add("unwritten-element", text, [reader]);
    else if (operations[writer.rank]!.outcome === "fail") {
      found.add("G1a", text, [reader, operations[writer.rank]!]);
    }
  }
}

/** A read that ends between two appends of one transaction saw it half done. */
function checkLastElement({ operations, found }: Scope, key: Key, read: Read): void {
  const writer = writerAt(key, read.list, read.length - 1);
  if (writer === undefined || writer.last || writer.rank === read.rank) return;
  const pair = [operations[read.rank]!, operations[writer.rank]!];
  found.add("G1b", `${key.name}: ${pair.map(describeOperation).join(" saw half of ")}`, pair);
}

function writerAt(key: Key, list: readonly Json[], i: number): Writer | undefined {
  const element = list[i];
  return element === undefined ? undefined : key.writerByElement.get(element);
}

function addOrder({ operations, graph }: Scope, key: Key, order: readonly Json[]): void {
  let before: Writer | undefined;
  for (const element of order) {
    const writer = key.writerByElement.get(element);
    if (writer === undefined || operations[writer.rank]!.outcome === "fail") continue;
    if (before !== undefined) graph.add(before.rank, writer.rank, edgeKinds.ww);
    before = writer;
  }
}

function addRead(
  { operations, graph }: Scope,
  key: Key,
  { read, order }: { readonly read: Read; readonly order: readonly Json[] },
): void {
  const source = writerAt(key, order, read.length - 1);
  if (source !== undefined && operations[source.rank]!.outcome !== "fail") {
    graph.add(source.rank, read.rank, edgeKinds.wr);
  }
  const next = writerAt(key, order, read.length);
  if (next !== undefined && operations[next.rank]!.outcome !== "fail") {
    graph.add(read.rank, next.rank, edgeKinds.rw);
  }
}

/**
 * Appends that nobody read: after the last one that was read, and after all who read the whole list. One whose outcome
 * is unknown counts as well: if nobody saw anything of its transaction, then nothing comes after it and it closes no
 * cycle; else it is committed.
 */
function addUnread(
  { operations, graph }: Scope,
  key: Key,
  { order, compatible }: { readonly order: readonly Json[]; readonly compatible: readonly Read[] },
): void {
  const read = new Set(order);
  const unread = new Set<number>();
  for (const [element, { rank }] of key.writerByElement) {
    if (!read.has(element) && operations[rank]!.outcome !== "fail") unread.add(rank);
  }
  if (unread.size === 0) return;
  // Those that ended first and the readers that started last show a lost or unseen append before all others do.
  const writers = [...unread]
    .sort((a, b) => operations[a]!.returnedAt - operations[b]!.returnedAt || 0)
    .slice(0, tailMax);
  const readers = compatible.filter(({ length }) => length === order.length).slice(-tailMax);
  const last = writerAt(key, order, order.length - 1);
  for (const writer of writers) {
    if (last !== undefined && operations[last.rank]!.outcome !== "fail") {
      graph.add(last.rank, writer, edgeKinds.ww);
    }
    for (const reader of readers) graph.add(reader.rank, writer, edgeKinds.rw);
  }
}

/** Two that read the same version and both appended: one of them did not know what it replaced. */
function checkLostUpdates(scope: Scope, key: Key, compatible: readonly Read[]): void {
  const writers = new Set<number>();
  for (const { rank } of key.writerByElement.values()) writers.add(rank);
  const firstByLength = new Map<number, number>();
  for (const { rank, length } of compatible) {
    if (!writers.has(rank)) continue;
    const first = firstByLength.get(length);
    if (first === undefined) {
      firstByLength.set(length, rank);
      continue;
    }
    const pair = [scope.operations[first]!, scope.operations[rank]!];
    scope.found.add(
      "lost-update",
      `${key.name}: ${pair.map(describeOperation).join(" and ")} replaced the same version`,
      pair,
    );
  }
}
