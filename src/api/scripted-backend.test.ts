// A backend for the tests of the API: it keeps what it was asked and answers as told. Has no tests of its own.

import { ClientError } from "../base/errors.ts";
import type { Unit } from "../db/sql/request.ts";
import { RealClock } from "../host/clock.ts";
import type { Feed } from "../node/changes/feed.ts";
import type { DiscardedManifest } from "../node/discarded/discarded-store.ts";
import type {
  ClusterStatus,
  NodeStatus,
  NodeVerdict,
  NodeView,
  VerifyReport,
} from "../node/report/node-status.ts";
import type { RunAnswer, RunOptions } from "../node/route/run.ts";
import { mergedSettings } from "../node/rule/settings-change.ts";
import type { FollowAnswer } from "../node/tree/upstream.ts";
import {
  defaultSettings,
  lsn,
  type Member,
  type Membership,
  nodeId,
  type Settings,
  term,
} from "../vocabulary.ts";
import type { Backend } from "./backend.ts";
import { type ApiOptions, ApiServer } from "./server.ts";

export const secret = "a secret of the tests";

export class ScriptedBackend implements Backend {
  /** Every unit with its options, in order. */
  readonly runs: { unit: Unit; options: RunOptions }[] = [];
  readonly closedSessions: string[] = [];
  readonly added: Member[] = [];
  leads = true;
  isUp = true;
  lag: number | undefined = 0;
  feed: Feed | undefined;
  /** What `run` does. */
  answer: (unit: Unit, options: RunOptions) => RunAnswer | Promise<RunAnswer> = (unit) =>
    okAnswer(unit);

  async run(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    this.runs.push({ unit, options });
    return this.answer(unit, options);
  }

  async runAsLeader(unit: Unit, options: RunOptions): Promise<RunAnswer> {
    if (!this.leads) throw new ClientError("NOT_LEADER", "not here");
    return this.run(unit, options);
  }

  closeSession(session: string): void {
    this.closedSessions.push(session);
  }

  localStatus(): NodeStatus {
    return {
      id: nodeId("a"),
      url: "http://127.0.0.1:7001",
      role: "leader",
      kind: "voter",
      priority: 0,
      born: true,
      term: term(3),
      durableTerm: term(3),
      reachable: true,
      durableLsn: lsn(7),
      committedLsn: lsn(7),
      appliedLsn: lsn(7),
      lagMs: undefined,
      lagEntries: undefined,
      lagBytes: undefined,
      checksum: "0123456789abcdef",
    };
  }

  view(): NodeView {
    const leader = this.leads ? nodeId("a") : undefined;
    const members = [{ id: nodeId("a"), kind: "voter" as const, url: "http://127.0.0.1:7001" }];
    const state = { takesWrites: this.leads, ready: this.isUp, members };
    return { ...this.localStatus(), clusterId: "c1", term: term(3), leader, ...state };
  }

  async status(): Promise<ClusterStatus> {
    const nodes = [this.localStatus()];
    return {
      clusterId: "c1",
      term: term(3),
      leader: undefined,
      commitRule: "quorum",
      settings: defaultSettings,
      nodes,
    };
  }

  members(): Membership {
    return [{ id: nodeId("a"), kind: "voter", address: "127.0.0.1:7001" }];
  }

  isLeader(): boolean {
    return this.leads;
  }

  lagMs(): number | undefined {
    return this.lag;
  }

  ready(): boolean {
    return this.isUp;
  }

  isWitness(): boolean {
    return false;
  }

  async verifyHere(): Promise<NodeVerdict> {
    const { id, reachable, checksum } = this.localStatus();
    return { id, reachable, checksum, lsn: lsn(7), pages: 3, damaged: [], problem: undefined };
  }

  async verify(): Promise<VerifyReport> {
    return { identical: true, nodes: [] };
  }

  async switchover(to: string | undefined): Promise<{ leader: ReturnType<typeof nodeId> }> {
    return { leader: nodeId(to ?? "b") };
  }

  async addMember(member: Member): Promise<void> {
    this.added.push(member);
  }

  changes(): Feed {
    if (this.feed !== undefined) return this.feed;
    throw new ClientError("NOT_RECORDED", "nothing is recorded");
  }

  follow(): FollowAnswer {
    return { clusterId: "c", way: [] };
  }

  async promote(): Promise<{ leader: ReturnType<typeof nodeId> }> {
    return { leader: nodeId("a") };
  }

  isDelayed(): boolean {
    return false;
  }

  async rollForward(): Promise<never> {
    throw new ClientError("NOT_DELAYED", "a applies everything at once");
  }

  async setPriority(): Promise<void> {}

  async removeMember(id: string): Promise<void> {
    if (id === "a") throw new ClientError("MEMBERSHIP_REFUSED", "the last voter stays");
  }

  discarded(): readonly DiscardedManifest[] {
    return [];
  }

  discardedContents(): AsyncIterable<Uint8Array> | undefined {
    return undefined;
  }

  async configure(wanted: Readonly<Record<string, unknown>>): Promise<Settings> {
    return mergedSettings(wanted, defaultSettings);
  }

  metrics(): Record<string, number> {
    return { committedLsn: 7, writeUnitsTotal: 5, lagMs: Number.NaN };
  }
}

export function okAnswer(unit: Unit, session?: string): RunAnswer {
  const results = unit.requests.map(
    ({ type }) => `{"type":"ok","response":{"type":"${type}","result":{"é":"ü"}}}`,
  );
  return { results, position: { lsn: lsn(42), term: term(3) }, session };
}

/** A server on a free port, closed when the test ends. */
export async function serve(
  t: { after(f: () => Promise<void>): void },
  backend: Backend,
  options: Partial<ApiOptions> = {},
): Promise<{ server: ApiServer; url: string; faults: unknown[] }> {
  const faults: unknown[] = [];
  const server = await ApiServer.listen({
    host: "127.0.0.1",
    port: 0,
    node: nodeId("a"),
    version: "0.0.0",
    secret,
    backend,
    clock: new RealClock(),
    onPeer: (socket) => socket.destroy(),
    onCopy: (socket) => socket.destroy(),
    onFault: (error) => {
      faults.push(error);
      console.error(error);
    },
    ...options,
  });
  t.after(() => server.close());
  return { server, url: `http://127.0.0.1:${server.port}`, faults };
}

/** What a test wants to see of an answer. */
export type Seen = {
  readonly status: number;
  readonly type: string | null;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: bodies are looked into freely.
  readonly json: any;
};

export async function post(
  url: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Seen> {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return seen(await fetch(url, { method: "POST", body: text, headers }));
}

export async function get(url: string, init: RequestInit = {}): Promise<Seen> {
  return seen(await fetch(url, init));
}

async function seen(response: Response): Promise<Seen> {
  const text = await response.text();
  const type = response.headers.get("content-type");
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  return { status: response.status, type, headers: response.headers, text, json };
}
