/**
 * The files of a machine on real SQLite: the same code as in a running node (db/served, db/scratch, db/sql, wal/), in
 * a directory in memory. What is simulated is only what happens to it: time, kills, power cuts, rot.
 */

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type Hash64, pageHash, xorHash, zeroHash } from "../../base/hash.ts";
import type { Prng } from "../../base/prng.ts";
import { Served } from "../../db/served/served.ts";
import { limits } from "../../limits.ts";
import type { DatabaseDriver } from "../../node/driver.ts";
import type { Lsn, Pgno } from "../../vocabulary.ts";
import type { Scheduler } from "../scheduler.ts";
import type { Content, NodeStore, RotWhere, StoreWorld } from "../store.ts";
import { fillerByte, makeBirth } from "./birth.ts";
import { SqliteFiles } from "./files.ts";
import { SqliteReaders, SqliteWriter } from "./processes.ts";
import { SqliteServed } from "./served.ts";
import { SqliteStaged } from "./staged.ts";
import type { SqliteWorld } from "./world.ts";

export type SqliteOptions = {
  readonly scheduler: Scheduler;
  readonly lists: number;
  /** SQLite's auto_vacuum: 0 none, 1 full, 2 incremental. */
  readonly autoVacuum: number;
};

/** In memory where there is such a place. */
const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

export class SqliteStore implements NodeStore {
  readonly #options: SqliteOptions;
  readonly #root = mkdtempSync(join(base, "paceline-sim-"));
  readonly #files = new SqliteFiles(this.#root);
  /** What the present run has open. */
  #run = new Run();
  /** Pages of a database that has just been born: the roots of its tables. */
  #bornPages = 0;

  constructor(options: SqliteOptions) {
    this.#options = options;
  }

  content(): Content | undefined {
    if (!existsSync(this.#files.layout.db)) return undefined;
    const connection = this.#run.look(this.#files.layout.db);
    const rows = connection.prepare("SELECT k, v FROM lists ORDER BY rowid").all();
    const lists = Array.from({ length: this.#options.lists }, (): number[] => []);
    for (const row of rows) lists[Number(row["k"])]!.push(Number(row["v"]));
    const position = connection.prepare("SELECT lsn FROM sqlite_paceline").get();
    return { lsn: Number(position!["lsn"]) as Lsn, lists };
  }

  unsafeLsn(): undefined {
    return undefined;
  }

  /** Of the pages as they are read now, from the WAL or the file. */
  async checksum(): Promise<Hash64 | undefined> {
    const { served } = this.#run;
    if (served === undefined) return undefined;
    let sum = zeroHash;
    const pgnos = Array.from({ length: served.pageCount }, (_, i) => (i + 1) as Pgno);
    const { pages } = await served.readPages(pgnos);
    const size = served.pageSize;
    for (const [i, pgno] of pgnos.entries()) {
      sum = xorHash(sum, pageHash(pgno, pages.subarray(i * size, (i + 1) * size)));
    }
    return sum;
  }

  end(how: "kill" | "power", prng: Prng): void {
    this.#leave(this.#files.crash(how, prng));
  }

  wipe(): void {
    this.#leave(this.#files.wipe());
  }

  /** Never a root page: a database that does not open at all is another case. */
  rot(prng: Prng, where: RotWhere): number | undefined {
    if (!existsSync(this.#files.layout.db)) return undefined;
    const size = limits.pageSize;
    const db = this.#files.db();
    const mayRot: number[] = [];
    for (let index = this.#bornPages; (index + 1) * size <= db.byteLength; index++) {
      const page = db.subarray(index * size, (index + 1) * size);
      if (where === "anywhere" || isFiller(page)) mayRot.push(index);
    }
    if (mayRot.length === 0) return undefined;
    const index = mayRot[prng.integer(0, mayRot.length)]!;
    const at = index * size + prng.integer(0, size);
    this.#files.patch(at, Uint8Array.of(db[at]! ^ (1 << prng.integer(0, 8))));
    return index + 1;
  }

  driver(around: StoreWorld): DatabaseDriver {
    const run = this.#run;
    const { scheduler, autoVacuum, lists } = this.#options;
    const files = this.#files;
    const never = new Promise<never>(() => {});
    const outside = <T>(work: () => Promise<T> | T): Promise<T> => {
      if (run !== this.#run) return never;
      let isOver = false;
      return scheduler
        .outside<T | undefined>(() => {
          isOver = run !== this.#run;
          return isOver ? undefined : work();
        })
        .then((result) => (isOver ? never : (result as T)));
    };
    const world: SqliteWorld = { ...around, files, outside, lists };
    return {
      lock: () => () => {},
      exists: () => files.exists,
      open: async (_dir, onForeignWrite) => {
        const served = await SqliteServed.open(world, () => run.closeReaders(), onForeignWrite);
        run.served = served.real;
        return served;
      },
      create: async (_dir, image) => {
        await world.pace("sync");
        world.onEffect("rename");
        this.#bornPages = image.pages.byteLength / image.pageSize;
        await outside(() => Served.create(files.dir, image));
      },
      genesisImage: () => {
        const image = makeBirth(this.#root, autoVacuum);
        this.#bornPages = image.pages.byteLength / image.pageSize;
        return image;
      },
      openReaders: () => {
        const readers = new SqliteReaders(world, files.layout.db);
        run.readers.add(readers);
        return readers;
      },
      contentOf: async () => {
        throw new Error("log kind pages is all that is simulated");
      },
      spawnReplay: () => {
        throw new Error("log kind pages is all that is simulated");
      },
      spawnWriter: () => new SqliteWriter(world),
      stageImage: async () => run.keep(await SqliteStaged.image(world)),
      stagePatch: async (_dir, served, damaged) =>
        run.keep(await SqliteStaged.patch(world, served as SqliteServed, damaged)),
    };
  }

  async problems(): Promise<readonly string[]> {
    const path = this.#files.layout.db;
    if (!existsSync(path)) return [];
    const problems: string[] = [];
    for (const check of ["integrity_check", "foreign_key_check"]) {
      for (const row of this.#run.look(path).prepare(`PRAGMA ${check}`).all()) {
        const said = Object.values(row).join(" ");
        if (said !== "ok") problems.push(`${check}: ${said}`);
      }
    }
    return problems;
  }

  async dispose(): Promise<void> {
    this.#leave(this.#files.wipe());
    await this.#options.scheduler.settle();
    rmSync(this.#root, { recursive: true, force: true });
  }

  /** Closes what the run had open, and then its files. */
  #leave(closeFiles: () => void): void {
    const run = this.#run;
    this.#run = new Run();
    void this.#options.scheduler.outside(async () => {
      await run.close();
      closeFiles();
    });
  }
}

/** What one run of a process has open, as far as the simulation must close it. */
class Run {
  served: Served | undefined;
  readonly readers = new Set<SqliteReaders>();
  readonly #staged: SqliteStaged[] = [];
  #eye: DatabaseSync | undefined;

  /** A stock connection that sees what any reader sees. */
  look(path: string): DatabaseSync {
    this.#eye ??= new DatabaseSync(path, { readOnly: true });
    return this.#eye;
  }

  keep(staged: SqliteStaged): SqliteStaged {
    this.#staged.push(staged);
    return staged;
  }

  closeReaders(): void {
    for (const readers of this.readers) readers.close();
    this.#eye?.close();
    this.#eye = undefined;
  }

  async close(): Promise<void> {
    this.closeReaders();
    for (const staged of this.#staged) await staged.real.close().catch(() => {});
    await this.served?.close();
  }
}

function isFiller(page: Uint8Array): boolean {
  let count = 0;
  for (const byte of page) if (byte === fillerByte) count++;
  return count > page.byteLength * 0.9;
}
