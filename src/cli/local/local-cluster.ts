/**
 * Nodes on this machine, each a process of its own, started the way a user starts them: `bin/paceline start …`.
 *
 * What a node prints goes to `ID.log` in the directory of the cluster. The secret that nodes know each other by is
 * made once and kept beside it, readable by its owner only. Nothing is restarted by itself. Ctrl-C in the terminal
 * does not reach the nodes: who started them may have something left to do with them.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** After this a node that was asked to stop is killed. */
const stopMs = 10_000;
const launcher = join(import.meta.dirname, "../../../bin/paceline");

/** One node: where it is, and its process while there is one. */
export class LocalNode {
  readonly id: string;
  readonly port: number;
  readonly dir: string;
  child: ChildProcess | undefined;

  constructor(id: string, port: number, dir: string) {
    this.id = id;
    this.port = port;
    this.dir = dir;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get logPath(): string {
    return `${this.dir}.log`;
  }

  get isRunning(): boolean {
    return this.child !== undefined;
  }

  /** The end of its log, without stack traces. */
  lastLines(): string[] {
    const text = existsSync(this.logPath) ? readFileSync(this.logPath, "utf8") : "";
    const lines = text.trimEnd().split("\n");
    return lines.filter((line) => !/^ {4}at /.test(line)).slice(-5);
  }
}

export type ClusterEvents = {
  /** A node's process ended. `how` is for people: `exit status 1`, `killed by SIGKILL`. */
  onExit(node: LocalNode, how: string): void;
};

export class LocalCluster {
  readonly dir: string;
  readonly nodes: readonly LocalNode[];
  readonly #events: ClusterEvents;
  readonly #secret: string;

  /** Nodes a, b, c, … on the given ports. Makes the directory and the secret when they are not there yet. */
  constructor(dir: string, ports: readonly number[], events: ClusterEvents) {
    this.dir = dir;
    this.#events = events;
    makeDirectory(dir);
    this.#secret = keepSecret(join(dir, "secret"));
    this.nodes = ports.map((port, i) => {
      const id = String.fromCharCode("a".charCodeAt(0) + i);
      return new LocalNode(id, port, join(dir, id));
    });
  }

  get running(): LocalNode[] {
    return this.nodes.filter((node) => node.isRunning);
  }

  startAll(): void {
    for (const node of this.nodes) this.start(node);
  }

  start(node: LocalNode): void {
    const members = this.nodes.map(({ id, port }) => `${id}=127.0.0.1:${port}`).join(",");
    const listen = `127.0.0.1:${node.port}`;
    const flags = ["--id", node.id, "--dir", node.dir, "--listen", listen];
    // The data may be of a run on other ports.
    flags.push("--cluster", members, "--moved", members);
    const log = openSync(node.logPath, "a");
    const child = spawn(process.execPath, [launcher, "start", ...flags], {
      stdio: ["ignore", log, log],
      // A process group of its own: a terminal sends Ctrl-C to the whole of the foreground one.
      detached: true,
      env: { ...process.env, PACELINE_SECRET: this.#secret },
    });
    closeSync(log);
    node.child = child;
    const ended = (how: string): void => {
      if (node.child !== child) return;
      node.child = undefined;
      this.#events.onExit(node, how);
    };
    child.on("error", (error) => ended(error.message));
    child.on("exit", (code, signal) => {
      ended(signal === null ? `exit status ${code}` : `killed by ${signal}`);
    });
  }

  /** Ends the process like a power cut would, and waits until it is gone. */
  async kill(node: LocalNode): Promise<void> {
    const child = node.child;
    if (child === undefined) return;
    const gone = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await gone;
  }

  /** SIGKILL to all, without waiting. Nothing acknowledged is lost by it. */
  killAll(): void {
    for (const { child } of this.running) child?.kill("SIGKILL");
  }

  /** SIGTERM to all, SIGKILL to those that take too long. Resolves with the ids of these. */
  async stopAll(): Promise<string[]> {
    const stopping = this.running;
    for (const { child } of stopping) child?.kill("SIGTERM");
    const untilMs = performance.now() + stopMs;
    while (this.running.length > 0 && performance.now() < untilMs) await sleep(20);
    const late = this.running;
    for (const node of late) await this.kill(node);
    return late.map(({ id }) => id);
  }
}

/** Which of the ports are taken on the loopback address. */
export async function busyPorts(ports: readonly number[]): Promise<number[]> {
  const busy: number[] = [];
  for (const port of ports) {
    if ((await listenOnce(port)) === undefined) busy.push(port);
  }
  return busy;
}

/** Ports that are free now. Someone may take one before we do; then the node says so. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) {
    const port = await listenOnce(0);
    if (port !== undefined) ports.add(port);
  }
  return [...ports];
}

async function listenOnce(port: number): Promise<number | undefined> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once("error", () => resolve(undefined));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" ? address?.port : undefined));
    });
  });
}

/** Not the recursive `mkdir` of Node, which never ends under /proc. */
function makeDirectory(dir: string): void {
  if (existsSync(dir)) return;
  if (dirname(dir) !== dir) makeDirectory(dirname(dir));
  mkdirSync(dir, { mode: 0o700 });
}

function keepSecret(path: string): string {
  if (!existsSync(path))
    writeFileSync(path, `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  return readFileSync(path, "utf8").trim();
}
