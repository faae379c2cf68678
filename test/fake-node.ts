/**
 * A node for tests of what talks to one: HTTP with real SQLite in memory behind it, one connection, no cluster.
 *
 * Speaks `/v3/pipeline` (execute, batch with conditions, get_autocommit, close), `/status`, and whatever answers a
 * test adds. A test can make the n-th pipeline request fail: refused, or carried out and then not answered.
 */

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

type Fault = "refuse" | "unknown" | "hang-up";
type Json = { [key: string]: unknown };
type Answer = { readonly status: number; readonly body: unknown };

export class FakeNode {
  readonly db = new DatabaseSync(":memory:", { enableForeignKeyConstraints: false });
  readonly #server: Server;
  /** Bodies of all requests but `/v3/pipeline`, as `METHOD path body`. */
  readonly seen: string[] = [];
  /** Answers by `METHOD path`. */
  readonly answers = new Map<string, Answer>();
  /** What happens to the next pipeline requests that write; undefined lets one pass. */
  faults: (Fault | undefined)[] = [];
  /** SQL of every statement that was run. */
  readonly ran: string[] = [];
  /** Bytes of the largest request. */
  largest = 0;
  url = "";

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const text = Buffer.concat(chunks).toString();
        this.largest = Math.max(this.largest, text.length);
        const answer = this.#answer(`${request.method} ${request.url}`, text);
        if (answer === undefined) return void request.socket.destroy();
        response.writeHead(answer.status, {
          "content-type": "application/json",
          "paceline-position": "42@3",
        });
        response.end(JSON.stringify(answer.body));
      });
    });
  }

  static async start(): Promise<FakeNode> {
    const node = new FakeNode();
    await new Promise<void>((resolve) => {
      node.#server.listen(0, "127.0.0.1", resolve);
    });
    node.url = `http://127.0.0.1:${(node.#server.address() as AddressInfo).port}`;
    return node;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  status(): Json {
    const node = { kind: "voter", durableLsn: 42, committedLsn: 42, appliedLsn: 42, lagMs: 0 };
    return {
      clusterId: "c1",
      term: 3,
      leader: "a",
      commitRule: "quorum",
      nodes: [
        { ...node, id: "a", url: this.url, role: "leader", reachable: true, checksum: "00ff" },
        {
          ...node,
          id: "b",
          url: "http://127.0.0.1:1",
          role: null,
          reachable: false,
          appliedLsn: null,
          checksum: null,
        },
      ],
    };
  }

  #answer(what: string, text: string): Answer | undefined {
    const prepared = this.answers.get(what);
    if (what !== "POST /v3/pipeline") this.seen.push(`${what} ${text}`.trim());
    if (prepared !== undefined) return prepared;
    if (what === "GET /status") return { status: 200, body: this.status() };
    if (what !== "POST /v3/pipeline") return refusal(404, "NOT_FOUND");
    const body = JSON.parse(text) as { baton?: string; requests: Json[] };
    const fault = body.requests.some((r) => r["type"] === "batch")
      ? this.faults.shift()
      : undefined;
    if (fault === "refuse") return refusal(503, "NO_LEADER");
    if (body.baton === undefined && this.db.isTransaction) this.db.exec("ROLLBACK");
    const results = body.requests.map((request) => this.#run(request));
    if (fault === "unknown") return refusal(504, "UNKNOWN_OUTCOME");
    if (fault === "hang-up") return undefined;
    const closed = body.requests.some((request) => request["type"] === "close");
    if (closed && this.db.isTransaction) this.db.exec("ROLLBACK");
    return { status: 200, body: { baton: closed ? null : "b1", base_url: null, results } };
  }

  #run(request: Json): Json {
    try {
      return { type: "ok", response: { type: request["type"], ...this.#respond(request) } };
    } catch (error) {
      return { type: "error", error: { message: (error as Error).message, code: "SQLITE_ERROR" } };
    }
  }

  #respond(request: Json): Json {
    switch (request["type"]) {
      case "execute":
        return { result: this.#execute(request["stmt"] as Json) };
      case "batch":
        return { result: this.#batch((request["batch"] as { steps: Json[] }).steps) };
      case "get_autocommit":
        return { is_autocommit: !this.db.isTransaction };
      default:
        return {};
    }
  }

  #batch(steps: readonly Json[]): Json {
    const step_results: unknown[] = [];
    const step_errors: unknown[] = [];
    const holds = (cond: Json | undefined): boolean => {
      if (cond === undefined) return true;
      if (cond["type"] === "not") return !holds(cond["cond"] as Json);
      return step_results[cond["step"] as number] !== null;
    };
    for (const step of steps) {
      let result: unknown = null;
      let failed: unknown = null;
      try {
        if (holds(step["condition"] as Json | undefined))
          result = this.#execute(step["stmt"] as Json);
      } catch (error) {
        failed = { message: (error as Error).message, code: "SQLITE_ERROR" };
      }
      step_results.push(result);
      step_errors.push(failed);
    }
    return { step_results, step_errors };
  }

  #execute(stmt: Json): Json {
    this.ran.push(stmt["sql"] as string);
    const query = this.db.prepare(stmt["sql"] as string);
    query.setReadBigInts(true);
    query.setReturnArrays(true);
    const columns = query.columns();
    const args = ((stmt["args"] as Json[] | undefined) ?? []).map(fromWire);
    if (columns.length === 0) {
      const { changes, lastInsertRowid } = query.run(...args);
      return {
        cols: [],
        rows: [],
        affected_row_count: Number(changes),
        last_insert_rowid: String(lastInsertRowid),
      };
    }
    const rows = query.all(...args) as unknown as unknown[][];
    return {
      cols: columns.map((column) => ({ name: column.name, decltype: column.type })),
      rows: rows.map((row) => row.map(toWire)),
      affected_row_count: 0,
      last_insert_rowid: null,
    };
  }
}

function refusal(status: number, code: string): Answer {
  return { status, body: { message: `refused for a test`, code, hint: "try again" } };
}

function fromWire(value: Json): SQLInputValue {
  switch (value["type"]) {
    case "integer":
      return BigInt(value["value"] as string);
    case "blob":
      return Buffer.from(value["base64"] as string, "base64");
    case "null":
      return null;
    default:
      return value["value"] as SQLInputValue;
  }
}

function toWire(value: unknown): Json {
  if (value === null) return { type: "null" };
  if (typeof value === "bigint") return { type: "integer", value: String(value) };
  if (typeof value === "number") return { type: "float", value };
  if (typeof value === "string") return { type: "text", value };
  return { type: "blob", base64: Buffer.from(value as Uint8Array).toString("base64") };
}
