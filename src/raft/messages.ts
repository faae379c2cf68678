/**
 * What nodes say to each other. Plain JSON: an envelope travels as its JSON text, with the entries of an append
 * beside it as bytes. The core emits appends as *ranges*; the driver fills in the entries when it sends, and passes
 * what it received to `step`. If it fills in fewer than the range names, the rest is sent again later.
 *
 * A message may be lost, doubled, delayed and overtaken; nothing here relies on anything else. (Delivery in order to
 * one node is merely faster.) Absent fields and undefined ones are the same, because JSON cannot tell them apart.
 *
 * Not here: what a node does with a message (election.ts, following.ts, replication.ts, read-index.ts).
 */

import { ProtocolError } from "../base/errors.ts";
import type { EntryId, Lsn, NodeId, Term } from "../vocabulary.ts";
import { nodeIdPattern } from "../vocabulary.ts";

/** `term` is the sender's current term, also for pre-votes, which are about the term after it. */
export type Envelope = {
  readonly from: NodeId;
  readonly to: NodeId;
  readonly term: Term;
  readonly message: Message;
};

/** When an append left, told back by its answer. Proves to a leader that it was still followed *after* sending. */
export type Stamp = {
  /** Counts the leader's broadcasts within its term; rises. */
  readonly round: number;
  /** The leader's monotonic clock at sending. Means nothing to anyone else. */
  readonly sentMs: number;
};

/** What a follower remembers of what it promised; see election.ts, birth. */
export type Memory = {
  readonly born: boolean;
  /** Not born: the name of this life of it, drawn by lot at the start. */
  readonly life?: number | undefined;
  /** Not born: in this term, and in this life, it voted for the leader that it answers. */
  readonly voted?: boolean | undefined;
};

export type Message =
  /** "Would you vote for me in the next term?" Changes nothing at the receiver [Raft thesis §9.6]. */
  | { readonly type: "prevote"; readonly last: EntryId; readonly born: boolean }
  | { readonly type: "prevote-reply"; readonly forTerm: Term; readonly verdict: Verdict }
  /** RequestVote [Raft §5.2]. `transfer`: the leader itself asked for this election. */
  | {
      readonly type: "vote";
      readonly last: EntryId;
      readonly born: boolean;
      readonly transfer: boolean;
    }
  | { readonly type: "vote-reply"; readonly verdict: Verdict }
  /** AppendEntries [Raft §5.3]. Entries `range` (half-open) follow `prev`; an empty range is a heartbeat. */
  | {
      readonly type: "append";
      readonly prev: EntryId;
      readonly range: { readonly from: Lsn; readonly to: Lsn };
      readonly committedLsn: Lsn;
      /** On a majority, where that is not the same as committedLsn: by other commit rules than quorum. */
      readonly safeLsn?: Lsn | undefined;
      readonly stamp: Stamp;
      /** To a follower that is not born, its `life`: since that was heard, nobody can have led after this leader. */
      readonly confirms?: number | undefined;
    }
  /** Everything up to `matchLsn` is durable at the sender and equal to the leader's log. */
  | ({
      readonly type: "appended";
      readonly matchLsn: Lsn;
      readonly stamp: Stamp;
    } & Memory)
  /**
   * The sender does not have `prevLsn` as the leader has it. Its log may agree up to `hint`, not beyond. `floor` is
   * what its log begins after, if that may be an entry that was lost: who does not have it must send pages.
   */
  | ({
      readonly type: "append-refused";
      readonly prevLsn: Lsn;
      readonly hint: EntryId;
      readonly floor?: EntryId | undefined;
      readonly stamp: Stamp;
    } & Memory)
  /** "Stand for election at once" [Raft thesis §3.10]. Void once an append of a later round has arrived. */
  | { readonly type: "timeout-now"; readonly round: number }
  /** A follower's read index, and its answer. Without `lsn`: refused. */
  | { readonly type: "read"; readonly id: number }
  | { readonly type: "read-reply"; readonly id: number; readonly lsn: Lsn | undefined };

/**
 * Answer to a candidate. "reserved": the vote is given, but the voter and the candidate are not both born or both
 * unborn, so that it counts only if everyone votes for the candidate (election.ts).
 */
export type Verdict = "granted" | "reserved" | "refused";

type Fields = Readonly<Record<string, unknown>>;

/** Checks what a peer sent. Throws ProtocolError; the result has only fields that are known. */
export function decodeEnvelope(value: unknown): Envelope {
  const fields = fieldsOf(value);
  return {
    from: id(fields["from"]),
    to: id(fields["to"]),
    term: whole(fields["term"]) as Term,
    message: decodeMessage(fieldsOf(fields["message"])),
  };
}

function decodeMessage(m: Fields): Message {
  switch (m["type"]) {
    case "prevote":
      return { type: "prevote", last: entryId(m["last"]), born: flag(m["born"]) };
    case "prevote-reply":
      return {
        type: "prevote-reply",
        forTerm: whole(m["forTerm"]) as Term,
        verdict: verdict(m["verdict"]),
      };
    case "vote": {
      const last = entryId(m["last"]);
      return { type: "vote", last, born: flag(m["born"]), transfer: flag(m["transfer"]) };
    }
    case "vote-reply":
      return { type: "vote-reply", verdict: verdict(m["verdict"]) };
    case "append":
      return decodeAppend(m);
    case "appended": {
      const matchLsn = whole(m["matchLsn"]) as Lsn;
      return { type: "appended", matchLsn, stamp: stamp(m["stamp"]), ...memory(m) };
    }
    case "append-refused":
      return {
        type: "append-refused",
        prevLsn: whole(m["prevLsn"]) as Lsn,
        hint: entryId(m["hint"]),
        ...(m["floor"] === undefined ? {} : { floor: entryId(m["floor"]) }),
        stamp: stamp(m["stamp"]),
        ...memory(m),
      };
    case "timeout-now":
      return { type: "timeout-now", round: whole(m["round"]) };
    case "read":
      return { type: "read", id: whole(m["id"]) };
    case "read-reply": {
      const lsn = m["lsn"] === undefined ? undefined : (whole(m["lsn"]) as Lsn);
      return { type: "read-reply", id: whole(m["id"]), lsn };
    }
    default:
      throw new ProtocolError("message type is unknown");
  }
}

function decodeAppend(m: Fields): Message {
  const prev = entryId(m["prev"]);
  const bounds = fieldsOf(m["range"]);
  const range = { from: whole(bounds["from"]) as Lsn, to: whole(bounds["to"]) as Lsn };
  if (range.from !== prev.lsn + 1 || range.to < range.from) {
    throw new ProtocolError("range does not follow the previous entry");
  }
  const committedLsn = whole(m["committedLsn"]) as Lsn;
  return {
    ...({ type: "append", prev, range, committedLsn, stamp: stamp(m["stamp"]) } as const),
    ...(m["safeLsn"] === undefined ? {} : { safeLsn: whole(m["safeLsn"]) as Lsn }),
    ...(m["confirms"] === undefined ? {} : { confirms: whole(m["confirms"]) }),
  };
}

function memory(m: Fields): Memory {
  return {
    born: flag(m["born"]),
    ...(m["life"] === undefined ? {} : { life: whole(m["life"]) }),
    ...(m["voted"] === undefined ? {} : { voted: flag(m["voted"]) }),
  };
}

function fieldsOf(value: unknown): Fields {
  if (typeof value !== "object" || value === null) throw new ProtocolError("object expected");
  return value as Fields;
}

function id(value: unknown): NodeId {
  if (typeof value === "string" && nodeIdPattern.test(value)) return value as NodeId;
  throw new ProtocolError("node id expected");
}

function whole(value: unknown): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw new ProtocolError("whole number expected");
}

function flag(value: unknown): boolean {
  if (typeof value === "boolean") return value;
  throw new ProtocolError("true or false expected");
}

function verdict(value: unknown): Verdict {
  if (value === "granted" || value === "reserved" || value === "refused") return value;
  throw new ProtocolError("verdict expected");
}

function entryId(value: unknown): EntryId {
  const fields = fieldsOf(value);
  return { lsn: whole(fields["lsn"]) as Lsn, term: whole(fields["term"]) as Term };
}

function stamp(value: unknown): Stamp {
  const fields = fieldsOf(value);
  const sentMs = fields["sentMs"];
  if (typeof sentMs !== "number" || !Number.isFinite(sentMs)) {
    throw new ProtocolError("time expected");
  }
  return { round: whole(fields["round"]), sentMs };
}
