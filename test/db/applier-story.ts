/**
 * A property of the whole way of pages, as one story per seed: whatever stock SQLite does to a database, a copy that
 * is fed with the captured pages is the same, through checkpoints, crashes and power cuts, and a stock reader of it
 * sees whole transactions only, never an older one after a newer.
 *
 * The leader is an ordinary database; the copy is db/served on files that crash as src/sim/sqlite lets them. All in
 * one process and in lock step, so a seed is the same story each time.
 */

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { messageOf } from "../../src/base/errors.ts";
import { formatHash } from "../../src/base/hash.ts";
import { Prng } from "../../src/base/prng.ts";
import { vacuum } from "../../src/db/position-table.ts";
import { type DatabaseImage, makeGenesisImage } from "../../src/db/served/birth.ts";
import { Served } from "../../src/db/served/served.ts";
import { limits } from "../../src/limits.ts";
import { SqliteFiles } from "../../src/sim/sqlite/files.ts";
import { type Batch, Leader, temporaryDirectory } from "./leader.ts";
import { RandomWork } from "./random-work.ts";
import { Witness } from "./witness.ts";

export type StoryOptions = { readonly transactions?: number };

/** Tells the story of a seed; returns what went wrong. */
export async function applierStory(
  seed: number,
  { transactions = 80 }: StoryOptions = {},
): Promise<string | undefined> {
  using dir = temporaryDirectory();
  const prng = new Prng(seed);
  const { pageSize, applySliceFrames } = limits;
  Object.assign(limits, {
    pageSize: [512, 1_024, 4_096, 8_192, 65_536][prng.integer(0, 5)]!,
    applySliceFrames: [3, 8, 256][prng.integer(0, 3)]!,
  });
  const story = new Story(dir.path, prng);
  try {
    await story.begin();
    for (let i = 0; i < transactions; i++) await story.step();
    await story.end();
    return undefined;
  } catch (error) {
    return `after ${story.steps} transactions: ${messageOf(error)}`;
  } finally {
    await story.close();
    Object.assign(limits, { pageSize, applySliceFrames });
  }
}

class Story {
  steps = 0;
  readonly #dir: string;
  readonly #prng: Prng;
  readonly #files: SqliteFiles;
  readonly #batches: Batch[] = [];
  readonly #work: RandomWork;
  #leader: Leader | undefined;
  #served: Served | undefined;
  #witness: Witness | undefined;

  constructor(dir: string, prng: Prng) {
    this.#dir = dir;
    this.#prng = prng;
    this.#files = new SqliteFiles(join(dir, "copy"));
    this.#work = new RandomWork(prng.child());
  }

  async begin(): Promise<void> {
    const image = vacuumed(this.#dir, this.#prng.integer(0, 3));
    this.#leader = await Leader.start(join(this.#dir, "leader"), image);
    await Served.create(this.#files.dir, image);
    await this.#open();
    await this.#commit((c) => this.#work.begin(c));
  }

  /** One transaction of the leader, and perhaps something else. */
  async step(): Promise<void> {
    this.steps++;
    const prng = this.#prng;
    if (prng.chance(0.06)) await this.#take(this.#leader!.vacuum());
    else await this.#commit((c) => this.#work.transaction(c));
    const draw = prng.integer(0, 100);
    if (draw < 25) await this.#checkpoint();
    else if (draw < 31) await this.#crash("kill");
    else if (draw < 40) await this.#crash("power");
    else if (draw < 50) await this.#syncWal();
    else if (draw < 55) this.#compare();
  }

  async end(): Promise<void> {
    this.#compare();
    const { damaged } = await this.#served!.scrub();
    expect(damaged.length === 0, `pages ${damaged.join(", ")} are not what they should be`);
    this.#witness!.checkSound();
  }

  async close(): Promise<void> {
    // After a failure some of it is closed already; what went wrong is known by then.
    ignoringErrors(() => this.#witness?.close());
    await this.#served?.close().catch(() => undefined);
    ignoringErrors(() => this.#leader?.connection.close());
  }

  #commit(work: (connection: DatabaseSync) => void): Promise<void> {
    return this.#take(this.#leader!.commit(work));
  }

  async #take(batch: Batch): Promise<void> {
    this.#batches.push(batch);
    await this.#catchUp();
  }

  /** Applies what the copy lacks. */
  async #catchUp(): Promise<void> {
    const served = this.#served!;
    for (const { set, position, checksum } of this.#batches.slice(served.position().lsn)) {
      const before = served.walFrames === 0 ? this.#files.wal() : undefined;
      await served.apply(set, position, checksum);
      this.#files.noteApplied(before);
      this.#witness!.look(position.lsn);
    }
  }

  async #checkpoint(): Promise<void> {
    const mode = (["passive", "restart", "truncate"] as const)[this.#prng.integer(0, 3)]!;
    const before = { db: this.#files.db(), wal: this.#files.wal() };
    const { complete } = await this.#served!.checkpoint(mode);
    this.#files.noteCheckpoint(before, complete);
    this.#witness!.look(this.#served!.position().lsn);
  }

  async #syncWal(): Promise<void> {
    await this.#served!.syncWal();
    this.#files.noteSynced();
  }

  async #crash(how: "kill" | "power"): Promise<void> {
    const served = this.#served!;
    const durable = how === "kill" ? served.position() : served.durablePosition();
    this.#served = undefined;
    const closeFiles = this.#files.crash(how, this.#prng);
    this.#witness!.close();
    await served.close();
    closeFiles();
    await this.#open();
    const { lsn } = this.#served!.position();
    expect(lsn >= durable.lsn, `${durable.lsn} was durable, after the ${how} there is ${lsn}`);
    await this.#catchUp();
  }

  async #open(): Promise<void> {
    const served = await Served.open(this.#files.dir);
    this.#served = served;
    this.#files.noteSynced();
    this.#witness = new Witness(served.path, this.#prng.child());
    const { lsn } = served.position();
    const batch = this.#batches[lsn - 1];
    if (batch === undefined) return;
    const found = formatHash(served.checksum());
    const wanted = formatHash(batch.checksum);
    expect(found === wanted, `opened at ${lsn} with checksum ${found} instead of ${wanted}`);
  }

  /** Rows, as stock SQLite reads them on both sides. */
  #compare(): void {
    const found = this.#witness!.rows();
    const wanted = Witness.rowsOf(this.#leader!.connection);
    expect(found === wanted, `the copy has other rows at ${this.#served!.position().lsn}`);
  }
}

function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}

function ignoringErrors(action: () => void): void {
  try {
    action();
  } catch {
    // As said by the caller.
  }
}

/** A newborn database with this kind of auto_vacuum. */
function vacuumed(dir: string, autoVacuum: number): DatabaseImage {
  const image = makeGenesisImage(dir);
  const path = join(dir, "birth.sqlite");
  writeFileSync(path, image.pages);
  const connection = new DatabaseSync(path);
  connection.exec(`PRAGMA auto_vacuum = ${autoVacuum}`);
  vacuum(connection, () => connection.exec("VACUUM"));
  connection.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  connection.close();
  const pages = new Uint8Array(readFileSync(path));
  rmSync(path);
  return { ...image, pages };
}
