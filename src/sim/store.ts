/**
 * The database files of one simulated machine, whatever they are made of: the model database (model/) or real SQLite
 * (sqlite/). A story knows only this.
 */

import type { Hash64 } from "../base/hash.ts";
import type { Prng } from "../base/prng.ts";
import type { DatabaseDriver } from "../node/driver.ts";
import type { Lsn } from "../vocabulary.ts";

/** The database at one moment: lists of numbers that only grow, and where it says that it is. */
export type Content = {
  readonly lsn: Lsn;
  readonly lists: readonly (readonly number[])[];
};

/** What may happen when something is about to change on disk; throws StorageError when the machine refuses. */
export type OnEffect = (what: "write" | "sync" | "rename") => void;

/** What a process has of the world around it. */
export type StoreWorld = {
  readonly onEffect: OnEffect;
  /** How long a piece of work takes, in virtual time. */
  pace(what: "apply" | "sync" | "read" | "write" | "spawn"): Promise<void>;
  /** Lists of a new database. */
  readonly lists: number;
  /** Whether the writer process dies now, of itself. */
  writerDies(): boolean;
};

/** Which pages may rot: any but those without a second copy, or only those that no reader is shown. */
export type RotWhere = "anywhere" | "unread";

export interface NodeStore {
  /** What a process would read now; undefined when there is no database. */
  content(): Content | undefined;
  /** The first change of the database that a power cut may take away. Undefined: none, or nobody can tell. */
  unsafeLsn(): Lsn | undefined;
  /** The pages as they are stored, hashed anew. Undefined when there is no database. */
  checksum(): Promise<Hash64 | undefined>;
  /** The process ends; with "power" the machine does, and what was not synced is in doubt. */
  end(how: "kill" | "power", prng: Prng): void;
  /** Everything is gone. */
  wipe(): void;
  /** Flips one bit, behind everyone's back. Returns the page; undefined when there is none that may rot. */
  rot(prng: Prng, where: RotWhere): number | undefined;
  /** For a process that starts now. */
  driver(world: StoreWorld): DatabaseDriver;
  /** What a stock reader finds wrong with the files. */
  problems(): Promise<readonly string[]>;
  /** The story is over. */
  dispose(): Promise<void>;
}
