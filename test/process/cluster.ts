/**
 * A cluster of real node processes on loopback, for tests and proofs: started with the commands that users type,
 * stopped, killed and paused with real signals.
 *
 * Everything it starts ends with `stop`, or with the test process.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Links } from "../../chaos/network/links.ts";
import type { ClusterStatus, NodeStatus } from "../../src/node/report/node-status.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export type TestNode = {
  readonly id: string;
  readonly port: number;
  readonly dir: string;
  /** Where the other nodes reach it, if that is a proxy. */
  readonly door?: number;
  /** Votes, and has no database. */
  readonly witness?: boolean;
  /** Its --id, if that is not `id`. */
  readonly name?: string;
  /** Value of --follow: it is no member. */
  readonly follow?: string;
};

export type ClusterOptions = {
  readonly nodes?: number;
  /** So many of the nodes, the last ones, are witnesses. */
  readonly witnesses?: number;
  /** All that nodes say to each other goes through a proxy, which can break their links. */
  readonly linked?: boolean;
  /** More arguments of `paceline start`, for every node. */
  readonly args?: readonly string[];
  /** More arguments, for one node. */
  readonly argsOf?: (id: string) => readonly string[];
  /** Where data directories are made; a temp directory by default. */
  readonly dir?: string;
};

export class TestCluster {
  readonly dir: string;
  readonly nodes: TestNode[] = [];
  readonly #args: (id: string) => readonly string[];
  readonly #processById = new Map<string, ChildProcess>();
  #links: Links | undefined;
  readonly #outputById = new Map<string, string>();

  private constructor(dir: string, { args = [], argsOf = () => [] }: ClusterOptions) {
    this.dir = dir;
    this.#args = (id) => [...args, ...argsOf(id)];
  }

  /** Starts the nodes and waits until one leads and takes writes. */
  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const dir = mkdtempSync(join(options.dir ?? tmpdir(), "paceline-test-"));
    const cluster = new TestCluster(dir, options);
    const ports = await freePorts(options.nodes ?? 3);
    for (const [i, port] of ports.entries()) {
      const id = String.fromCharCode(97 + i);
      const witness = i >= ports.length - (options.witnesses ?? 0);
      cluster.nodes.push({ id, port, dir: join(dir, id), witness });
    }
    if (options.linked === true) await cluster.#link();
    for (const node of cluster.nodes) cluster.spawn(node);
    return await cluster.#led();
  }

  /** Nobody else would end the nodes of a cluster that does not come up. */
  async #led(): Promise<this> {
    try {
      await this.leader();
      return this;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** One node, "a", whose directory `prepare` makes before it starts. */
  static async prepared(
    options: ClusterOptions,
    prepare: (node: TestNode, address: string) => Promise<void>,
  ): Promise<TestCluster> {
    const dir = mkdtempSync(join(options.dir ?? tmpdir(), "paceline-test-"));
    const cluster = new TestCluster(dir, options);
    const [port] = await freePorts(1);
    const node = { id: "a", port: port!, dir: join(dir, "a") };
    await prepare(node, `127.0.0.1:${node.port}`);
    cluster.nodes.push(node);
    cluster.spawn(node);
    return await cluster.#led();
  }

  /** The links between the nodes of a cluster that was started with `linked`. */
  get links(): Links {
    if (this.#links === undefined) throw new Error("this cluster was not started with `linked`");
    return this.#links;
  }

  async #link(): Promise<void> {
    this.#links = new Links(this.nodes.map((node) => node.id));
    const doors = await freePorts(this.nodes.length);
    for (const [i, node] of this.nodes.entries()) {
      this.nodes[i] = { ...node, door: doors[i]! };
      await this.#links.listen(node.id, doors[i]!, node.port);
    }
  }

  url(id: string): string {
    return `http://127.0.0.1:${this.#node(id).port}`;
  }

  /** The nodes that have a database. */
  get dataNodes(): readonly TestNode[] {
    return this.nodes.filter((node) => node.witness !== true);
  }

  get urls(): string[] {
    return this.nodes.map((node) => this.url(node.id));
  }

  pid(id: string): number {
    const pid = this.#processById.get(id)?.pid;
    if (pid === undefined) throw new Error(`${id} does not run`);
    return pid;
  }

  output(id: string): string {
    return this.#outputById.get(id) ?? "";
  }

  /** Starts a node's process. Further nodes give `--join` in place of the cluster list. */
  spawn(node: TestNode, membership?: readonly string[]): void {
    const list = this.nodes
      .filter((n) => n.follow === undefined)
      .map((n) => `${n.id}=127.0.0.1:${n.door ?? n.port}${n.witness === true ? "/witness" : ""}`)
      .join(",");
    const place = node.follow === undefined ? ["--cluster", list] : ["--follow", node.follow];
    const child = spawn(
      process.execPath,
      [
        ...[
          main,
          "start",
          "--id",
          node.name ?? node.id,
          "--dir",
          node.dir,
          "--listen",
          `127.0.0.1:${node.port}`,
        ],
        ...(membership ?? place),
        ...this.#args(node.id),
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#processById.set(node.id, child);
    void this.#links?.owner(node.id, child.pid);
    const keep = (chunk: Buffer) => {
      this.#outputById.set(node.id, (this.output(node.id) + chunk.toString()).slice(-40_000));
    };
    child.stdout?.on("data", keep);
    child.stderr?.on("data", keep);
    child.on("exit", (code, signal) => keep(Buffer.from(`[exit ${code ?? signal}]\n`)));
  }

  /** Adds an empty node that asks `via` to let it join. */
  async join(id: string, via: string, args: readonly string[] = []): Promise<TestNode> {
    const [port] = await freePorts(1);
    const node = { id, port: port!, dir: join(this.dir, id) };
    this.nodes.push(node);
    this.spawn(node, ["--join", this.url(via), ...args]);
    return node;
  }

  /** Adds a node that follows the first of `upstreams` that answers, without being a member. `name` is its --id. */
  async follow(id: string, upstreams: readonly string[], name = id): Promise<TestNode> {
    const [port] = await freePorts(1);
    const follow = upstreams.map((at) => `127.0.0.1:${this.#node(at).port}`).join(",");
    const node = { id, port: port!, dir: join(this.dir, id), name, follow };
    this.nodes.push(node);
    this.spawn(node);
    return node;
  }

  /** SIGKILL, or another signal; resolves when the process is gone if the signal ends it. */
  async kill(id: string, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#processById.get(id);
    if (child === undefined) return;
    if (child.exitCode !== null || child.signalCode !== null) {
      this.#processById.delete(id);
      return;
    }
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    if (signal === "SIGSTOP" || signal === "SIGCONT") return;
    await gone;
    this.#processById.delete(id);
  }

  restart(id: string): void {
    this.spawn(this.#node(id));
  }

  isRunning(id: string): boolean {
    return this.#processById.has(id);
  }

  async statusOf(id: string): Promise<ClusterStatus | undefined> {
    try {
      const response = await fetch(`${this.url(id)}/status`, {
        signal: AbortSignal.timeout(2_000),
      });
      return response.ok ? ((await response.json()) as ClusterStatus) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The id of the node that leads, once one does. */
  async leader(timeoutMs = 60_000): Promise<string> {
    const until = Date.now() + timeoutMs;
    while (Date.now() < until) {
      for (const node of this.nodes) {
        if (!this.isRunning(node.id)) continue;
        try {
          const response = await fetch(`${this.url(node.id)}/leader`, {
            signal: AbortSignal.timeout(500),
          });
          await response.arrayBuffer();
          if (response.status === 200) return node.id;
        } catch {
          // Not up yet.
        }
      }
      await sleep(20);
    }
    throw new Error(`no leader within ${timeoutMs} ms\n${this.#tails()}`);
  }

  /** Waits until every node answers and no copy is far behind: a fault on top of that is the only one. */
  async recovered(timeoutMs = 30_000): Promise<void> {
    const until = Date.now() + timeoutMs;
    while (Date.now() < until) {
      const nodes = (await this.statusOf(await this.leader()))?.nodes ?? [];
      const isBehind = (n: NodeStatus) => n.kind !== "witness" && (n.lagMs ?? Infinity) > 300;
      if (nodes.length > 0 && !nodes.some((n) => !n.reachable || isBehind(n))) return;
      await sleep(50);
    }
    throw new Error(`not recovered\n${this.#tails()}`);
  }

  /** Waits until every running node has applied the same, and returns their statuses. */
  async settled(timeoutMs = 30_000): Promise<readonly NodeStatus[]> {
    const until = Date.now() + timeoutMs;
    let last: ClusterStatus | undefined;
    while (Date.now() < until) {
      const status = await this.statusOf(await this.leader());
      last = status;
      const nodes = (status?.nodes ?? []).filter((n) => n.kind !== "witness");
      const applied = new Set(nodes.map((n) => `${n.appliedLsn}/${n.checksum}`));
      const complete = nodes.every((n) => n.reachable && n.checksum != null);
      const done = nodes.every((n) => n.appliedLsn === n.committedLsn);
      if (nodes.length > 0 && applied.size === 1 && complete && done) return nodes;
      await sleep(50);
    }
    throw new Error(`not settled: ${JSON.stringify(last, undefined, 1)}\n${this.#tails()}`);
  }

  /** Stops all nodes gracefully (SIGTERM), then removes the data unless `keep`. */
  async stop(options: { keep?: boolean } = {}): Promise<void> {
    const ids = [...this.#processById.keys()];
    await Promise.all(
      ids.map(async (id) => {
        const child = this.#processById.get(id)!;
        child.kill("SIGCONT");
        const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
        await this.kill(id, "SIGTERM");
        clearTimeout(timer);
      }),
    );
    this.#links?.close();
    if (options.keep !== true) rmSync(this.dir, { recursive: true, force: true });
  }

  #node(id: string): TestNode {
    const node = this.nodes.find((n) => n.id === id);
    if (node === undefined) throw new Error(`no node ${id}`);
    return node;
  }

  #tails(): string {
    return this.nodes.map((n) => `--- ${n.id}\n${this.output(n.id).slice(-2_000)}`).join("\n");
  }
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Ports that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((s) => new Promise((resolve) => s.close(resolve))));
  return ports;
}
