/**
 * A node, seen from outside: its HTTP API by URL. Turns what can go wrong on the way into failures that say what to
 * do next.
 *
 * Not here: SQL (hrana.ts). Not done: looking for another node when this one does not answer; a person who names a
 * node wants to know about that node.
 */

import { type Dispatcher, request } from "undici";
import type { ClusterStatus } from "../../node/report/node-status.ts";
import { Failure, misuse } from "../terminal.ts";

/** What a node answered when it did not do what it was asked. */
export class Refused extends Failure {
  /** Code of base/errors.ts or of the statement; empty when the node gave none. */
  readonly code: string;
  /** Number of the statement that failed, in a transaction. */
  readonly statement: number | undefined;

  constructor(code: string, message: string, hint: string | undefined, statement?: number) {
    super(code === "" ? message : `${message} (${code})`, hint);
    this.code = code;
    this.statement = statement;
  }
}

/** The connection could not be made, so nothing was sent. */
export class Unreachable extends Failure {}
/** The connection broke, or time was up, after the request had been sent: it may have been carried out. */
export class Broken extends Failure {}

/** What a JSON status looks like: undefined became null on the way. */
export type StatusAnswer = { [K in keyof ClusterStatus]: ClusterStatus[K] };

type HttpAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: unknown;
};

export class Remote {
  readonly url: string;

  constructor(url: string) {
    this.url = parseUrl(url);
  }

  async status(timeoutMs = 30_000): Promise<StatusAnswer> {
    const { body } = await this.call("GET", "/status", undefined, timeoutMs);
    if (!isObject(body) || !Array.isArray(body["nodes"])) {
      throw new Failure(`${this.url}/status is not the status of a Paceline node`, "check the URL");
    }
    return body as unknown as StatusAnswer;
  }

  /** Body of the answer. Throws Refused for any status but 2xx. */
  async call(
    method: "GET" | "POST" | "DELETE",
    path: string,
    body?: unknown,
    timeoutMs = 30_000,
  ): Promise<HttpAnswer> {
    const answer = await this.send(method, path, {
      body: body === undefined ? undefined : JSON.stringify(body),
      headers: {},
      timeoutMs,
    });
    if (answer.status < 200 || answer.status > 299) throw refusedFrom(this.url + path, answer);
    return answer;
  }

  /** Any status is an answer. Throws Unreachable or Broken. */
  async send(
    method: Dispatcher.HttpMethod,
    path: string,
    options: {
      readonly body: string | undefined;
      readonly headers: Readonly<Record<string, string>>;
      readonly timeoutMs: number;
    },
  ): Promise<HttpAnswer> {
    const { body, headers, timeoutMs } = options;
    try {
      // Not fetch: it refuses some ports, and gives up on a slow answer after five minutes of its own.
      const response = await request(this.url + path, {
        method,
        headers: body === undefined ? headers : { "content-type": "application/json", ...headers },
        body: body ?? null,
        headersTimeout: timeoutMs,
        bodyTimeout: timeoutMs,
        signal: AbortSignal.timeout(timeoutMs),
      });
      const text = await response.body.text();
      return { status: response.statusCode, headers: response.headers, body: parseJson(text) };
    } catch (error) {
      throw this.#lost(error as Error & { code?: string }, timeoutMs);
    }
  }

  #lost(error: Error & { code?: string }, timeoutMs: number): Failure {
    if (error.name === "TimeoutError" || error.code?.endsWith("S_TIMEOUT")) {
      return new Broken(`${this.url} did not answer within ${timeoutMs / 1000} s`, notRunning);
    }
    if (this.url.startsWith("https:") && /CERT|SIGNATURE/.test(error.code ?? "")) {
      return new Broken(`${this.url} is not trusted: ${error.message}`, notTrusted);
    }
    const reason = reasons[error.code ?? ""];
    const text = `cannot reach a node at ${this.url}`;
    return reason === undefined
      ? new Broken(`lost the connection to ${this.url}: ${error.message}`, notRunning)
      : new Unreachable(`${text}: ${reason}`, notRunning);
  }
}

const notRunning =
  "Is it running? `npm start` starts three nodes on this machine, `paceline start --help` tells more.\n" +
  "Another node: --url http://HOST:PORT, or set PACELINE_URL.";

const notTrusted =
  "Name its CA: NODE_EXTRA_CA_CERTS=ca.pem paceline … Its certificate must name the address in subjectAltName.\n" +
  "The same port answers http:// as well.";

/** Failures that come before anything is sent. */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ENOTFOUND: "there is no host of that name",
  EAI_AGAIN: "the name could not be looked up",
  EHOSTUNREACH: "no route to that host",
  ENETUNREACH: "no route to that network",
  UND_ERR_CONNECT_TIMEOUT: "no connection in time",
};

/** Default of `--url`. */
export function defaultUrl(): string {
  return process.env["PACELINE_URL"] ?? "http://127.0.0.1:7001";
}

/** Turns any answer but 2xx into what a person can use. */
export function refusedFrom(what: string, { status, body }: HttpAnswer): Refused {
  if (!isObject(body)) {
    return new Refused("", `${what} answered ${status}`, "Is it a Paceline node? Check the URL.");
  }
  const { code, message, hint } = body;
  return new Refused(
    typeof code === "string" ? code : "",
    typeof message === "string" ? message : `${what} answered ${status}`,
    typeof hint === "string" ? hint : undefined,
  );
}

/** An administrator's request that only the leader can carry out, sent to the leader. */
export async function callLeader(
  remote: Remote,
  method: "POST" | "DELETE",
  path: string,
  body?: unknown,
): Promise<HttpAnswer> {
  try {
    return await remote.call(method, path, body);
  } catch (error) {
    if (!(error instanceof Refused) || error.code !== "NOT_LEADER") throw error;
    const { leader, nodes } = await remote.status();
    const url = nodes.find((node) => node.id === leader)?.url;
    if (url === undefined || parseUrl(url) === remote.url) throw error;
    return await new Remote(url).call(method, path, body);
  }
}

function parseUrl(text: string): string {
  const full = /^[a-z]+:\/\//i.test(text) ? text : `http://${text}`;
  const url = URL.parse(full);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:") || url.host === "") {
    throw misuse(`"${text}" is not the URL of a node`, "It looks like http://127.0.0.1:7001");
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
