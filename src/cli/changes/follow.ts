/**
 * Reads the change stream of a cluster: server-sent events of one node, and of the next one when that ends, always
 * from the last position that was given out.
 */

import { request } from "undici";
import type { JsonStep } from "../../api/changes/change-json.ts";
import { messageOf } from "../../base/errors.ts";
import { Failure } from "../terminal.ts";

export type ChangeEvent =
  | {
      readonly type: "change";
      readonly position: string;
      readonly committedAt: string;
      readonly transactions: readonly (readonly JsonStep[])[];
    }
  | { readonly type: "gap"; readonly position: string; readonly committedAt: string }
  | { readonly type: "idle"; readonly position: string };

export type FollowOptions = {
  readonly urls: readonly string[];
  readonly from: string | undefined;
  readonly tables: string | undefined;
  readonly signal: AbortSignal;
  /** A line for people: why it goes on elsewhere. */
  onNote(line: string): void;
};

/** Answers that no other attempt will change. */
const final = new Set(["POSITION_TOO_OLD", "POSITION_UNKNOWN", "NOT_RECORDED", "BAD_REQUEST"]);
const pauseMs = 500;
/** A node that is silent for longer than its signs of life are apart is given up. */
const silentMs = 25_000;

/** Endless, until the signal. Throws Failure when the position is lost. */
export async function* followChanges(options: FollowOptions): AsyncGenerator<ChangeEvent> {
  let at = options.from;
  for (let attempt = 0; !options.signal.aborted; attempt++) {
    const url = options.urls[attempt % options.urls.length]!.replace(/\/+$/, "");
    try {
      for await (const event of eventsOf(url, at, options)) {
        at = event.position;
        yield event;
      }
    } catch (error) {
      if (options.signal.aborted) return;
      if (error instanceof Failure) throw error;
      options.onNote(`${url}: ${messageOf(error)}; going on from ${at ?? "now"}`);
    }
    if (options.signal.aborted) return;
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
  }
}

async function* eventsOf(
  url: string,
  from: string | undefined,
  { tables, signal }: FollowOptions,
): AsyncGenerator<ChangeEvent> {
  const query = new URLSearchParams();
  if (from !== undefined) query.set("from", from);
  if (tables !== undefined) query.set("tables", tables);
  const { statusCode, body } = await request(`${url}/changes?${query}`, {
    signal,
    headersTimeout: silentMs,
    bodyTimeout: silentMs,
  });
  if (statusCode !== 200) throw refusal(await body.text(), statusCode);
  let rest = "";
  body.setEncoding("utf8");
  for await (const chunk of body) {
    const blocks = (rest + String(chunk)).split("\n\n");
    rest = blocks.pop()!;
    for (const block of blocks) {
      const event = parse(block);
      if (event !== undefined) yield event;
    }
  }
  throw new Error("the stream has ended");
}

function parse(block: string): ChangeEvent | undefined {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    fields.set(line.slice(0, colon), line.slice(colon + 2));
  }
  const idle = /^: idle (\S+)$/.exec(block)?.[1];
  if (idle !== undefined) return { type: "idle", position: idle };
  const data = fields.get("data");
  const type = fields.get("event");
  if (data === undefined) return undefined;
  if (type === "error") throw refusal(data, 0);
  if (type !== "change" && type !== "gap") return undefined;
  return { type, ...JSON.parse(data) } as ChangeEvent;
}

function refusal(text: string, status: number): Error {
  let fields: { code?: string; message?: string; hint?: string };
  try {
    fields = JSON.parse(text) as typeof fields;
  } catch {
    return new Error(`answered with status ${status}`);
  }
  const message = `${fields.message ?? `status ${status}`} (${fields.code ?? "?"})`;
  return final.has(fields.code ?? "") ? new Failure(message, fields.hint) : new Error(message);
}
