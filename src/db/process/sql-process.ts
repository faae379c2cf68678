/**
 * A process that runs user SQL, as its parent sees it: spawned once, killed once. `node:sqlite` has no interrupt, so
 * SIGKILL is the only way to end a statement, and the process ends in no other way [D11].
 *
 * Descriptors of the child: 3 the channel, 4 the progress file.
 *
 * A process that the system does not let us start (no descriptors, no memory, no processes left) is one that is gone,
 * told like any other a moment later: whoever started it degrades, and tries again after a pause.
 */

import { type ChildProcess, spawn } from "node:child_process";
import type { Duplex } from "node:stream";
import { messageOf } from "../../base/errors.ts";
import { type Cancel, RealClock } from "../../host/clock.ts";
import { limits } from "../../limits.ts";
import { Channel } from "./channel.ts";
import { Deadline, type Overrun } from "./deadline.ts";
import { type Progress, ProgressFile } from "./progress.ts";

export type SqlProcessListener = {
  onMessage(head: unknown, body: Uint8Array): void;
  /** The process is gone and all its messages have arrived. `progress` is the last it wrote. */
  onGone(why: string, progress: Progress): void;
};

const clock = new RealClock();

/** A stray SIGUSR1 would open a debugger, to anybody on this machine. */
const nodeFlags = ["--disable-warning=ExperimentalWarning", "--disable-sigusr1"];

export class SqlProcess {
  /** These three are undefined for a process that could not be started. */
  readonly #child: ChildProcess | undefined;
  readonly #channel: Channel | undefined;
  readonly #progress: ProgressFile | undefined;
  readonly #listener: SqlProcessListener;
  /** Set once somebody decided that it ends. */
  #killedFor: string | undefined;
  #isGone = false;
  #stopWatching: Cancel = () => {};

  /** Starts `main` (a module that calls runWriterChild or runReaderChild). Messages may be sent at once. */
  constructor(main: string, listener: SqlProcessListener) {
    this.#listener = listener;
    try {
      this.#progress = new ProgressFile();
      // The child is told whose it is: should we die before it has come up, it could not find out.
      const args = [...nodeFlags, main, String(process.pid)];
      this.#child = spawn(process.execPath, args, {
        stdio: ["ignore", "ignore", "inherit", "pipe", this.#progress.fd],
      });
    } catch (error) {
      setImmediate(() => this.#gone(`it could not be started: ${messageOf(error)}`));
      return;
    }
    const child = this.#child;
    child.on("error", (error) => this.#gone(`it could not be started: ${messageOf(error)}`));
    child.on("close", (code, signal) => this.#gone(`ended by ${signal ?? `exit ${code}`}`));
    // Without descriptors there are no pipes either; "error" follows.
    const socket = child.stdio?.[3] as Duplex | undefined;
    if (socket === undefined) return;
    // A write to a process that was killed fails; what matters is told by "close".
    socket.on("error", () => {});
    this.#channel = new Channel(socket, (head, body) => listener.onMessage(head, body));
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  send(message: unknown, body?: Uint8Array): void {
    if (!this.#isGone && this.#killedFor === undefined) this.#channel?.send(message, body);
  }

  /** Ends the process. `onGone` tells the first reason given. */
  kill(why: string): void {
    this.#killedFor ??= why;
    if (!this.#isGone) this.#child?.kill("SIGKILL");
  }

  /**
   * Kills the process when one statement takes longer than `statementMs` says (asked with the number of the running
   * unit), or a unit longer than a transaction may. Until stopped. `onOverrun` is told
   * the unit that was running, before the kill: when the signal arrives the process may have gone on to another.
   * `onLook` is called each time.
   */
  watch(
    statementMs: (progress: Progress) => number,
    onOverrun: (unit: number | undefined) => void,
    onLook: () => void = () => {},
  ): void {
    this.unwatch();
    const deadline = new Deadline(this.#read());
    let lookedMs = clock.nowMs();
    this.#stopWatching = clock.every(limits.progressPollMs, () => {
      const nowMs = clock.nowMs();
      const progress = this.#read();
      onLook();
      const boundMs = statementMs(progress);
      const overrun = deadline.observe(progress, nowMs - lookedMs, boundMs);
      lookedMs = nowMs;
      if (overrun === undefined) return;
      onOverrun(progress.unit);
      this.kill(overrunMessage(overrun, boundMs));
    });
  }

  unwatch(): void {
    this.#stopWatching();
    this.#stopWatching = () => {};
  }

  #read(): Progress {
    return this.#progress?.read() ?? { statements: 0, unit: undefined };
  }

  #gone(why: string): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.unwatch();
    const progress = this.#read();
    this.#progress?.close();
    this.#listener.onGone(this.#killedFor ?? why, progress);
  }
}

function overrunMessage(overrun: Overrun, statementMs: number): string {
  return overrun === "statement"
    ? `a statement ran longer than ${statementMs} ms and was stopped`
    : `a request ran longer than ${Math.max(limits.transactionMs, statementMs)} ms and was stopped`;
}
