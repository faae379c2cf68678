/**
 * What clients did and saw, and whether that can be right. Lists only grow, so the final lists say in which order
 * everything happened, and every answer is a sentence about a prefix of them.
 *
 * By a weak commit rule answers may have come from a history that was lost. What was acknowledged must then be in the
 * final lists or among what nodes have discarded: no silent loss. And whatever is in the final lists must have been
 * seen by every linearizable read after its acknowledgement, as by any rule.
 */

import type { EntryId, Lsn } from "../../vocabulary.ts";
import { formatPosition } from "../../vocabulary.ts";
import type { Content } from "../store.ts";
import { isWeak } from "./parameters.ts";
import type { World } from "./world.ts";

/** One number appended to some lists, in one transaction. */
export type Append = {
  readonly value: number;
  readonly lists: readonly number[];
  readonly client: number;
  readonly invokedMs: number;
  endedMs: number | undefined;
  outcome: "open" | "acked" | "refused" | "unknown";
  /** Why it was refused or is unknown. */
  why: string;
  position: EntryId | undefined;
};

/** Lists as a client was shown them, all at one moment. */
export type Read = {
  readonly client: number;
  readonly node: string;
  readonly consistency: string;
  /** What the client already knew. */
  readonly token: EntryId | undefined;
  readonly maxLagMs: number | undefined;
  readonly invokedMs: number;
  readonly position: EntryId;
  /** The answer shows the database at its position; one from the writer may show the middle of that entry. */
  readonly exact: boolean;
  /** Highest LSN that was committed anywhere when the answer came. */
  readonly committedLsn: Lsn;
  readonly lists: readonly { readonly list: number; readonly values: readonly number[] }[];
};

export type Findings = {
  /** Acknowledged, and neither in the final database nor kept by a node. */
  lost: number;
  /** Acknowledged by a weak rule, lost by the cluster, and kept by a node. */
  discarded: number;
  stale: number;
};

export class History {
  readonly appends: Append[] = [];
  readonly reads: Read[] = [];
  /** Positions of entries that nodes have kept because the cluster lost them. */
  discarded: ReadonlySet<string> = new Set();

  get acked(): number {
    return this.appends.filter((a) => a.outcome === "acked").length;
  }
}

/** Checks the whole history against the final database. */
export function checkHistory(
  world: World,
  history: History,
  final: Content,
  contentByLsn: ReadonlyMap<Lsn, Content>,
): Findings {
  const places = placesIn(final, world);
  const gone = checkAcked(world, history, places);
  checkRefused(world, history, places);
  checkNothingUncommitted(world, history);
  const stale = checkLinearizable(world, history, places);
  if (isWeak(world.parameters)) return { ...gone, stale };
  checkReadsWhole(world, history, final);
  checkOracle(world, history, contentByLsn);
  return { ...gone, stale: stale + checkSessions(world, history, places) };
}

/** Where each value stands in each list. */
type Places = readonly ReadonlyMap<number, number>[];

/** I7, in part: nothing happens twice. */
function placesIn(final: Content, world: World): Places {
  return final.lists.map((values, list) => {
    const place = new Map<number, number>();
    for (const [i, value] of values.entries()) {
      if (place.has(value)) world.violated("I7", `${value} is twice in list ${list}`);
      place.set(value, i);
    }
    return place;
  });
}

/** I6: what was acknowledged is there in the end. I11: in all lists of its transaction, or in none. */
function checkAcked(
  world: World,
  { appends, discarded }: History,
  places: Places,
): Omit<Findings, "stale"> {
  const gone = { lost: 0, discarded: 0 };
  for (const append of appends) {
    const found = append.lists.filter((list) => places[list]!.has(append.value)).length;
    if (append.outcome === "acked" && found < append.lists.length) {
      const at = append.position && formatPosition(append.position);
      if (at !== undefined && discarded.has(at)) gone.discarded++;
      else {
        gone.lost++;
        world.violated("I6", `${append.value} was acknowledged at ${at} and is not there`);
      }
    }
    if (found > 0 && found < append.lists.length) {
      world.violated("I11", `${append.value} is in ${found} lists of ${append.lists.length}`);
    }
  }
  return gone;
}

/** I7: what was refused never happened. */
function checkRefused(world: World, { appends }: History, places: Places): void {
  for (const { value, lists, outcome, why } of appends) {
    if (outcome !== "refused") continue;
    if (lists.some((list) => places[list]!.has(value))) {
      world.violated("I7", `${value} was refused (${why}) and is there`);
    }
  }
}

/** I11 and I18: every list that was shown is a beginning of the final one, and all of an answer are of one moment. */
function checkReadsWhole(world: World, { reads, appends }: History, final: Content): void {
  const { lists } = final;
  const appendByValue = new Map(appends.map((append) => [append.value, append]));
  for (const read of reads) {
    for (const { list, values } of read.lists) {
      const wrong = values.findIndex((value, i) => value !== lists[list]![i]);
      if (wrong >= 0) {
        world.violated("I18", `${read.node} showed ${values[wrong]} in list ${list}, it never was`);
      }
    }
    if (read.lists.length < 2) continue;
    const shown = new Map(read.lists.map(({ list, values }) => [list, new Set(values)]));
    for (const { values } of read.lists) {
      for (const value of values) {
        const append = appendByValue.get(value);
        const together = append?.lists.filter((list) => shown.has(list)) ?? [];
        if (together.some((list) => !shown.get(list)!.has(value))) {
          world.violated("I11", `${read.node} showed ${value} in one list and not in the other`);
        }
      }
    }
  }
}

/** I18: no answer is from a state that was not committed when it was given. */
function checkNothingUncommitted(world: World, { reads }: History): void {
  for (const { node, position, committedLsn } of reads) {
    if (position.lsn > committedLsn) {
      world.violated("I18", `${node} answered at ${position.lsn}, committed was ${committedLsn}`);
    }
  }
}

/** I5 as clients see it: an answer at a position shows what the database was at that position. */
function checkOracle(
  world: World,
  { reads }: History,
  contentByLsn: ReadonlyMap<Lsn, Content>,
): void {
  for (const { node, position, exact, lists } of reads) {
    const content = contentByLsn.get(position.lsn);
    if (content === undefined || !exact) continue;
    for (const { list, values } of lists) {
      if (values.length !== content.lists[list]!.length) {
        const at = formatPosition(position);
        world.violated("I5", `${node} showed ${values.length} values of list ${list} at ${at}`);
      }
    }
  }
}

/** I9: a linearizable read sees what was acknowledged before it began. "bounded" may miss the last milliseconds. */
function checkLinearizable(world: World, history: History, places: Places): number {
  let stale = 0;
  const acked = history.appends.filter((a) => a.outcome === "acked" && a.endedMs !== undefined);
  acked.sort((a, b) => a.endedMs! - b.endedMs!);
  for (const read of history.reads) {
    const { consistency, invokedMs, maxLagMs } = read;
    const isBounded = consistency === "bounded";
    if (!isBounded && consistency !== "linearizable" && consistency !== "leader") continue;
    const boundMs = (boundedSlack * (maxLagMs ?? 0)) / world.parameters.clockRate;
    const untilMs = isBounded ? invokedMs - boundMs : invokedMs;
    for (const { list, values } of read.lists) {
      for (const append of acked) {
        if (append.endedMs! >= untilMs) break;
        const place = places[list]!.get(append.value);
        if (place === undefined || place < values.length) continue;
        stale++;
        world.violated(
          "I9",
          `${consistency} read on ${read.node} at ${(invokedMs / 1000).toFixed(4)} misses ` +
            `${append.value} in list ${list}, acknowledged at ${(append.endedMs! / 1000).toFixed(4)}`,
        );
      }
    }
  }
  return stale;
}

/** Clocks of nodes drift against that of the world. */
const boundedSlack = 1.1;

/** I10: with its position in hand a client never sees less than it has seen or done. */
function checkSessions(world: World, history: History, places: Places): number {
  let stale = 0;
  const seen = new Map<string, number>();
  const own = history.appends.filter((append) => append.outcome === "acked");
  for (const read of history.reads) {
    for (const { list, values } of read.lists) {
      const key = `${read.client}/${list}`;
      const before = seen.get(key) ?? 0;
      const behind = read.consistency === "session" && values.length < before;
      const missing =
        read.consistency === "session" &&
        own.some(
          (a) =>
            a.client === read.client &&
            a.endedMs! < read.invokedMs &&
            (places[list]!.get(a.value) ?? -1) >= values.length,
        );
      if (behind || missing) {
        stale++;
        world.violated("I10", `client ${read.client} went back in list ${list} on ${read.node}`);
      }
      seen.set(key, Math.max(before, values.length));
    }
  }
  return stale;
}
