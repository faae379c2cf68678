/**
 * The processes that hold scratch databases. Starting a process costs more than all that a writer does in a story, so
 * each holds the scratches of many machines, and of many stories. SQLite keeps its locks per process and file: a
 * scratch goes to a host that never had one of the same file.
 */

import { statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { StorageError } from "../../base/errors.ts";
import { SqlProcess } from "../../db/process/sql-process.ts";
import type { RunRequest } from "../../db/process/writer-messages.ts";
import type { Recording } from "../../db/record/recording.ts";
import type { FromHost, ToHost } from "./scratch-messages.ts";

const main = fileURLToPath(new URL("scratch-host.ts", import.meta.url));
/** Scratches that a host has held when it is replaced: none of them is ever closed. */
const scratchesMax = 60;

/** One scratch database in some host. */
export type HostedScratch = { run(request: RunRequest): Promise<HostReply> };
export type HostReply = { readonly message: FromHost; readonly body: Uint8Array };

const hosts: Host[] = [];

/** Opens the scratch database at `path`. */
export async function openScratch(
  path: string,
  recording: Recording | undefined,
): Promise<HostedScratch> {
  const { ino } = statSync(path);
  let host = hosts.find((other) => other.takes(ino));
  if (host === undefined) {
    host = new Host();
    hosts.push(host);
  }
  return host.open(ino, path, recording);
}

/** Between stories: hosts that are full, or gone, make room. */
export function retireHosts(): void {
  for (const host of hosts.filter((other) => other.isSpent)) {
    hosts.splice(hosts.indexOf(host), 1);
    host.kill();
  }
}

/** At the end of all stories. */
export function killHosts(): void {
  for (const host of hosts.splice(0)) host.kill();
}

class Host {
  readonly #process: SqlProcess;
  readonly #inodes = new Set<number>();
  #nextId = 0;
  #waiting: ((reply: HostReply | undefined) => void) | undefined;

  constructor() {
    this.#process = new SqlProcess(main, {
      onMessage: (head, body) => this.#waiting?.({ message: head as FromHost, body }),
      onGone: () => this.#waiting?.(undefined),
    });
  }

  get isSpent(): boolean {
    return this.#process.isGone || this.#inodes.size >= scratchesMax / 2;
  }

  takes(ino: number): boolean {
    return !this.#process.isGone && this.#inodes.size < scratchesMax && !this.#inodes.has(ino);
  }

  async open(ino: number, path: string, recording: Recording | undefined): Promise<HostedScratch> {
    this.#inodes.add(ino);
    const id = this.#nextId++;
    const { message } = await this.#ask({ type: "open", id, path, recording });
    if (message.type === "failed") throw new StorageError(message.message);
    return { run: (request) => this.#ask({ type: "run", id, request }) };
  }

  kill(): void {
    this.#process.kill("its stories are over");
  }

  /** One question at a time. */
  async #ask(question: ToHost): Promise<HostReply> {
    const reply = await new Promise<HostReply | undefined>((resolve) => {
      this.#waiting = resolve;
      this.#process.send(question);
    });
    this.#waiting = undefined;
    if (reply === undefined) throw new StorageError("the scratch host ended");
    return reply;
  }
}
