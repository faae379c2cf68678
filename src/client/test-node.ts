/**
 * A node for tests of what talks to nodes: it answers `/node` as told, and lets a test decide what becomes of each
 * `/v3/pipeline`.
 */

import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

type Fate = "ok" | "hang" | "break" | "html" | (string & {});

export class TestNode {
  readonly id: string;
  url = "";
  leads = false;
  ready = true;
  term = 1;
  appliedLsn = 10;
  lagMs: number | null = 0;
  /** A number on a node that stays behind by intention. */
  applyDelayMs: number | null = null;
  /** What its answers say that writes have. */
  acked: string | undefined;
  clusterId = "c1";
  /** Answers questions; false lets them hang, as a half-open connection does. */
  speaks = true;
  members: readonly TestNode[] = [];
  /** What happens to the next requests, in order; then "ok". A code refuses: NOT_LEADER, OVERLOADED, … */
  fates: Fate[] = [];
  /** What a cursor gives. */
  rows: () => AsyncIterable<number | "break"> = async function* () {};
  /** Bodies and headers of the requests that came. */
  readonly seen: { body: string; headers: NodeJS.Dict<string | string[]> }[] = [];
  readonly #held: ServerResponse[] = [];
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (request.url === "/node") return this.#question(response);
      if (request.url === "/v3/cursor") return void this.#cursor(response);
      if (request.url !== "/v3/pipeline") return void response.writeHead(404).end("{}");
      this.seen.push({ body: Buffer.concat(chunks).toString(), headers: request.headers });
      this.#answer(response, this.fates.shift() ?? "ok");
    });
  });

  constructor(id: string) {
    this.id = id;
  }

  /** Nodes that know each other; the first one leads. */
  static async cluster(
    t: { after(f: () => void): void },
    ...ids: readonly string[]
  ): Promise<TestNode[]> {
    const nodes = ids.map((id) => new TestNode(id));
    for (const node of nodes) {
      await node.listen();
      node.members = nodes;
      t.after(() => node.stop());
    }
    nodes[0]!.leads = true;
    return nodes;
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #question(response: ServerResponse): void {
    if (!this.speaks) return void this.#held.push(response);
    const { id, clusterId, term, leads, ready, appliedLsn, lagMs, applyDelayMs } = this;
    const members = this.members.map((node) => ({ id: node.id, kind: "voter", url: node.url }));
    const leader = this.members.find((node) => node.leads)?.id ?? null;
    const state = { takesWrites: leads, ready, appliedLsn, lagMs: leads ? 0 : lagMs, applyDelayMs };
    response.end(JSON.stringify({ id, clusterId, term, leader, ...state, members }));
  }

  /** Rows as the test lets them come; it breaks off where the test says so. */
  async #cursor(response: ServerResponse): Promise<void> {
    response.setHeader("paceline-position", `${this.appliedLsn}@${this.term}`);
    response.write('{"baton":null,"base_url":null}\n');
    response.write('{"type":"step_begin","step":0,"cols":[{"name":"i"}]}\n');
    for await (const row of this.rows()) {
      if (row === "break" || response.destroyed) return void response.destroy();
      response.write(`{"type":"row","row":[{"type":"integer","value":"${row}"}]}\n`);
    }
    response.end('{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}\n');
  }

  #answer(response: ServerResponse, fate: Fate): void {
    if (fate === "hang") return void this.#held.push(response);
    if (fate === "break") return void response.destroy();
    if (fate === "html") return void response.writeHead(502).end("<h1>Bad gateway</h1>");
    if (fate !== "ok") {
      const error = { code: fate, message: `refused for a test: ${fate}` };
      return void response.end(
        JSON.stringify({ baton: null, results: [{ type: "error", error }] }),
      );
    }
    if (this.acked !== undefined) response.setHeader("paceline-acked", this.acked);
    response.setHeader("paceline-position", `${this.appliedLsn}@${this.term}`);
    const result = {
      cols: [{ name: "node" }],
      rows: [[{ type: "text", value: this.id }]],
      affected_row_count: 0,
      last_insert_rowid: null,
    };
    const results = [{ type: "ok", response: { type: "execute", result } }];
    response.end(JSON.stringify({ baton: null, base_url: null, results }));
  }
}
