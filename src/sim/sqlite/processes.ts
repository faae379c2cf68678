/**
 * Readers and writers of a simulated node on real SQLite. Readers run in the simulating process, on connections of
 * their own; the writer runs in a scratch host. What they do takes no virtual time but that of `pace`.
 */

import { ClientError, messageOf, StorageError } from "../../base/errors.ts";
import { ReadView } from "../../db/process/reader-child.ts";
import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import { parted, type RunRequest, type WriterRun } from "../../db/process/writer.ts";
import type { Recording } from "../../db/record/recording.ts";
import type { Unit } from "../../db/sql/request.ts";
import type { Readers, WriterProcess } from "../../node/driver.ts";
import { type HostedScratch, openScratch } from "./scratch-hosts.ts";
import type { SqliteWorld } from "./world.ts";

const unwatched = { unit() {}, statement() {}, idle() {} };

export class SqliteReaders implements Readers {
  readonly #world: SqliteWorld;
  readonly #path: string;
  #shared: ReadView | undefined;
  readonly #sessions = new Set<ReadView>();

  constructor(world: SqliteWorld, path: string) {
    this.#world = world;
    this.#path = path;
  }

  async run(unit: Unit): Promise<ReadOutcome> {
    await this.#world.pace("read");
    const outcome = await this.#world.outside(() => {
      this.#shared ??= this.#open();
      return read(this.#shared, unit, false);
    });
    await this.#world.pace("read");
    return outcome;
  }

  async openSession(): Promise<{ run(unit: Unit): Promise<ReadOutcome>; close(): void }> {
    await this.#world.pace("read");
    const view = await this.#world.outside(() => this.#open());
    this.#sessions.add(view);
    return {
      run: async (unit) => {
        await this.#world.pace("read");
        return this.#world.outside(() => {
          if (!this.#sessions.has(view)) {
            throw new ClientError("TRANSACTION_LOST", "the read transaction is gone");
          }
          return read(view, unit, true);
        });
      },
      close: () => {
        if (this.#sessions.delete(view)) view.close();
      },
    };
  }

  /** Closes all connections. The next request opens a new one. */
  close(): void {
    for (const view of this.#sessions) view.close();
    this.#sessions.clear();
    this.#shared?.close();
    this.#shared = undefined;
  }

  #open(): ReadView {
    try {
      return new ReadView(this.#path, unwatched);
    } catch (error) {
      throw new ClientError("STORAGE", messageOf(error));
    }
  }
}

function read(view: ReadView, unit: Unit, keep: boolean): ReadOutcome {
  try {
    return view.answer({ type: "run", ask: "run", id: 0, unit, keep });
  } catch (error) {
    throw new ClientError("STORAGE", messageOf(error));
  }
}

export class SqliteWriter implements WriterProcess {
  readonly pid = undefined;
  readonly #world: SqliteWorld;
  #scratch: HostedScratch | undefined;
  #dead = false;
  #onDead: () => void = () => {};

  constructor(world: SqliteWorld) {
    this.#world = world;
  }

  async open(scratchPath: string, recording?: Recording): Promise<void> {
    await this.#world.pace("spawn");
    if (!this.#dead) {
      this.#scratch = await this.#world.outside(() =>
        // Thrown away meanwhile: nothing may be made of a name without a file.
        this.#dead ? undefined : openScratch(scratchPath, recording),
      );
    }
    if (this.#dead || this.#scratch === undefined) {
      throw new StorageError("the writer process ended");
    }
  }

  async run(request: RunRequest): Promise<WriterRun> {
    const scratch = this.#scratch;
    if (scratch === undefined || this.#dead) return killed(-1);
    const ended = new Promise<void>((resolve) => {
      this.#onDead = resolve;
    });
    await Promise.race([this.#world.pace("write"), ended]);
    if (this.#world.writerDies()) this.#dead = true;
    const running = request.units.length > 0 ? 0 : -1;
    if (this.#dead) return killed(running);
    const { message, body } = await this.#world.outside(() => scratch.run(request));
    if (this.#dead || message.type !== "done") {
      this.#dead = true;
      if (message.type !== "failed") return killed(running);
      return { ...killed(running, message.message), reason: message.reason };
    }
    const { outcomes, open, frames, warnings } = message;
    return {
      ...{ type: "done", outcomes, open, frames, warnings },
      ...parted(body, message.pagesBytes),
    };
  }

  kill(): void {
    this.#dead = true;
    this.#onDead();
  }
}

function killed(
  running: number,
  message = "the process ended",
): Extract<WriterRun, { type: "killed" }> {
  return { type: "killed", offender: -1, running, message };
}
