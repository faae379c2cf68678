/** The simulated twins of the SQL processes: db/process/writer.ts and reader-pool.ts. */

import { ClientError, StorageError } from "../../base/errors.ts";
import type { ReadOutcome } from "../../db/process/reader-pool.ts";
import type { RunRequest, WriterRun } from "../../db/process/writer.ts";
import type { Unit, UnitOutcome } from "../../db/sql/request.ts";
import type { Readers, WriterProcess } from "../../node/driver.ts";
import { encodePages } from "../../payload/pages.ts";
import { positionOf, stamped } from "./lists.ts";
import { changeOf, type Image } from "./pages.ts";
import { ModelSession } from "./sql.ts";

export type ProcessWorld = {
  pace(what: "read" | "write" | "spawn"): Promise<void>;
  /** What the process sees when it opens the database. */
  image(): Image;
  /** Whether the process dies now, of itself. */
  dies(): boolean;
};

/** Works on a copy, as the real one works on the scratch. */
export class ModelWriter implements WriterProcess {
  readonly pid = undefined;
  readonly world: ProcessWorld;
  session: ModelSession | undefined;
  #dead = false;
  #onDead: () => void = () => {};
  #frames = 0;

  constructor(world: ProcessWorld) {
    this.world = world;
  }

  async open(): Promise<void> {
    // The files are copied when they are made, not when the process has come up.
    const image = this.world.image();
    await this.world.pace("spawn");
    if (this.#dead) throw new StorageError("the writer process ended");
    this.session = new ModelSession(image);
  }

  async run(request: RunRequest): Promise<WriterRun> {
    const session = this.session;
    if (session === undefined || this.#dead) return killed(-1);
    const ended = new Promise<void>((resolve) => {
      this.#onDead = resolve;
    });
    await Promise.race([this.world.pace("write"), ended]);
    if (this.world.dies()) this.#dead = true;
    if (this.#dead) return killed(request.units.length > 0 ? 0 : -1);
    if (request.session === "rollback") session.rollback();
    const before = session.committed;
    const outcomes: UnitOutcome[] = [];
    for (const unit of request.units) {
      const at = session.committed === before ? positionOf(before) : request;
      const { snapshot } = unit;
      const isOvertaken =
        snapshot !== undefined && (snapshot.lsn !== at.lsn || snapshot.term !== at.term);
      outcomes.push(isOvertaken ? overtaken : session.run(unit));
      if (session.open) break;
    }
    let body: Uint8Array | undefined;
    if (session.committed !== before) {
      session.committed = stamped(session.committed, request);
      const set = changeOf(before, session.committed);
      this.#frames += set.pgnos.length;
      body = encodePages(set, request.committedAtMs, true);
    }
    return { type: "done", outcomes, open: session.open, body, frames: this.#frames };
  }

  kill(): void {
    this.#dead = true;
    this.#onDead();
  }
}

const overtaken: UnitOutcome = { results: [], inTransaction: false, wrote: false, overtaken: true };

function killed(running: number): WriterRun {
  return { type: "killed", offender: -1, running, message: "the process ended" };
}

export class ModelReaders implements Readers {
  readonly #world: ProcessWorld;

  constructor(world: ProcessWorld) {
    this.#world = world;
  }

  async run(unit: Unit): Promise<ReadOutcome> {
    await this.#world.pace("read");
    const outcome = readOutcome(new ModelSession(this.#world.image(), true), unit);
    await this.#world.pace("read");
    return outcome;
  }

  async openSession(): Promise<{ run(unit: Unit): Promise<ReadOutcome>; close(): void }> {
    await this.#world.pace("read");
    let closed = false;
    let session: ModelSession | undefined;
    return {
      run: async (unit) => {
        await this.#world.pace("read");
        if (closed) throw new ClientError("TRANSACTION_LOST", "the read transaction is gone");
        session ??= new ModelSession(this.#world.image(), true);
        return readOutcome(session, unit);
      },
      close: () => {
        closed = true;
      },
    };
  }

  close(): void {}
}

function readOutcome(session: ModelSession, unit: Unit): ReadOutcome {
  const { lsn, term } = positionOf(session.committed);
  return { ...session.run(unit), lsn, term, hasRead: true };
}
