/**
 * One node of the run: a process started the way users start it, its disk, its control file.
 *
 * Clients reach it at its own port; the other nodes reach it at `address`, which is the proxy's. What it prints goes
 * to a file. A process that ends without having been told to, while nothing is wrong with its disk, is a finding.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { NodeDisk } from "./node-disk.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const controlBytes = 24;

export type NodeSetup = {
  readonly id: string;
  readonly port: number;
  readonly proxyPort: number;
  readonly disk: NodeDisk;
  /** Directory for its log and control file; never on its disk. */
  readonly dir: string;
  /** Arguments of `paceline start` beside id, dir, listen and cluster. */
  readonly args: readonly string[];
  readonly preload: string | undefined;
  /** Told of every end that nobody asked for. */
  onCrash(id: string, how: string): void;
  /** Told of every start. */
  onSpawn(id: string, pid: number): Promise<void>;
};

export class ChaosNode {
  readonly id: string;
  readonly url: string;
  readonly address: string;
  readonly disk: NodeDisk;
  readonly logPath: string;
  readonly #setup: NodeSetup;
  readonly #controlPath: string;
  #child: ChildProcess | undefined;
  #gone: Promise<string> = Promise.resolve("");
  #names = 1;
  /** As the cluster knows it. `id` names the machine, which may come back as another member. */
  memberId: string;
  /** While its disk fails a node may end by itself. */
  mayExit = false;

  constructor(setup: NodeSetup) {
    this.#setup = setup;
    this.id = setup.id;
    this.memberId = setup.id;
    this.disk = setup.disk;
    this.url = `http://127.0.0.1:${setup.port}`;
    this.address = `127.0.0.1:${setup.proxyPort}`;
    this.logPath = join(setup.dir, `${setup.id}.log`);
    this.#controlPath = join(setup.dir, `${setup.id}.control`);
    writeFileSync(this.#controlPath, new Uint8Array(controlBytes));
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Resolves with how the process ended. */
  get gone(): Promise<string> {
    return this.#gone;
  }

  /** From now on it is a member that nobody has heard of. Its disk must be empty. */
  rename(): void {
    this.memberId = `${this.id}-${++this.#names}`;
  }

  /** `membership` is what `paceline start` is told of the other members. */
  async start(membership: readonly string[]): Promise<void> {
    if (this.#child !== undefined) return;
    const { port, preload, args } = this.#setup;
    const log = openSync(this.logPath, "a");
    const flags = [
      ...["--id", this.memberId, "--dir", this.disk.dataDir, "--listen", `127.0.0.1:${port}`],
    ];
    const child = spawn(process.execPath, [main, "start", ...flags, ...membership, ...args], {
      stdio: ["ignore", log, log],
      // A group of its own, so that a whole machine can be stopped or killed, its SQL processes included.
      detached: true,
      env: {
        ...process.env,
        PACELINE_CHAOS_CONTROL: this.#controlPath,
        ...(preload === undefined ? {} : { LD_PRELOAD: preload }),
      },
    });
    writeSync(log, `[${new Date().toISOString()} start, pid ${child.pid}]\n`);
    closeSync(log);
    this.#child = child;
    this.#gone = new Promise((resolve) => {
      child.once("exit", (code, signal) => {
        const how = signal === null ? `exit status ${code}` : `killed by ${signal}`;
        if (this.#child === child) {
          this.#child = undefined;
          if (!this.mayExit) this.#setup.onCrash(this.id, how);
        }
        resolve(how);
      });
    });
    await this.#setup.onSpawn(this.id, child.pid!);
  }

  /** Whether it answers at all. */
  async serves(): Promise<boolean> {
    if (!this.isRunning) return false;
    try {
      const response = await fetch(`${this.url}/health`, { signal: AbortSignal.timeout(2_000) });
      await response.arrayBuffer();
      return true;
    } catch {
      return false;
    }
  }

  /** SIGKILL of the main process alone, or of everything that belongs to the node. */
  async kill(whole = false): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    if (whole) this.#signalGroup(child, "SIGKILL");
    else child.kill("SIGKILL");
    await this.#gone;
  }

  /** As a machine that stands still. */
  freeze(): void {
    if (this.#child !== undefined) this.#signalGroup(this.#child, "SIGSTOP");
  }

  thaw(): void {
    if (this.#child !== undefined) this.#signalGroup(this.#child, "SIGCONT");
  }

  /** SIGTERM; SIGKILL after a while. Tells whether it went in time, and how. */
  async stop(withinMs = 60_000): Promise<string> {
    const child = this.#child;
    if (child === undefined) return "was not running";
    this.#child = undefined;
    child.kill("SIGTERM");
    const timer = setTimeout(() => this.#signalGroup(child, "SIGKILL"), withinMs);
    const how = await this.#gone;
    clearTimeout(timer);
    return how;
  }

  /** After `stop`: in order, or late on a busy machine, and saying so. */
  endedWell(how: string): boolean {
    const isLate = how === "exit status 1" && this.tail(600).includes("did not stop within");
    return how === "exit status 0" || isLate;
  }

  /** The end of what it printed. */
  tail(bytes = 3_000): string {
    return readFileSync(this.logPath, "utf8").slice(-bytes);
  }

  /** Length of what it printed, to look only at what comes after. */
  get logged(): number {
    return readFileSync(this.logPath).byteLength;
  }

  loggedSince(offset: number): string {
    return readFileSync(this.logPath).subarray(offset).toString();
  }

  /** See native/preload.c. */
  control({ wallMs = 0, syncErrno = 0, syncMs = 0, syncLies = false }): void {
    const bytes = Buffer.alloc(controlBytes);
    bytes.writeBigInt64LE(BigInt(Math.round(wallMs)) * 1_000_000n, 0);
    bytes.writeInt32LE(syncErrno, 8);
    bytes.writeInt32LE(syncMs, 12);
    bytes.writeInt32LE(syncLies ? 1 : 0, 16);
    const fd = openSync(this.#controlPath, "r+");
    writeSync(fd, bytes, 0, controlBytes, 0);
    closeSync(fd);
  }

  #signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
    try {
      process.kill(-child.pid!, signal);
    } catch {
      // Gone already.
    }
  }
}
