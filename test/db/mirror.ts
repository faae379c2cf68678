/**
 * What a database must be: an ordinary one that was told the committed SQL and nothing else, and the content of all
 * pages as they were committed.
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { pageHash } from "../../src/base/hash.ts";
import type { DatabaseImage } from "../../src/db/served/birth.ts";
import { PageTable } from "../../src/db/served/page-table.ts";
import type { SyncedImage } from "../../src/db/served/staging.ts";
import type { Lsn, Pgno, Term } from "../../src/vocabulary.ts";
import type { Batch } from "./leader.ts";
import { Witness } from "./witness.ts";

/** A batch, and the SQL that it came from. */
export type Told = Batch & { readonly sql: readonly string[] };

/** What pages are copied into. */
type Target = {
  pageHashes(): PageTable;
  write(pgnos: Uint32Array, pages: Uint8Array): Promise<void>;
  finish(wanted: SyncedImage): Promise<void>;
  close(): Promise<void>;
};

export class Mirror {
  readonly #connection: DatabaseSync;
  readonly table: PageTable;
  readonly #pages = new Map<number, Uint8Array>();
  position = { lsn: 0 as Lsn, term: 0 as Term };

  constructor(dir: string, { pageSize, pages }: DatabaseImage) {
    const path = join(dir, "mirror.sqlite");
    writeFileSync(path, pages);
    this.#connection = new DatabaseSync(path);
    this.table = new PageTable(pageSize);
    for (let pgno = 1; pgno * pageSize <= pages.byteLength; pgno++) {
      const page = pages.slice((pgno - 1) * pageSize, pgno * pageSize);
      this.#pages.set(pgno, page);
      this.table.set(pgno as Pgno, pageHash(pgno as Pgno, page));
    }
  }

  commit({ sql, set, position }: Told): void {
    for (const one of sql) this.#connection.exec(one);
    const { lsn, term } = position;
    this.#connection.exec(`UPDATE sqlite_paceline SET term = ${term}, lsn = ${lsn}`);
    this.position = position;
    this.table.apply(set);
    const size = set.pageSize;
    for (const [i, pgno] of set.pgnos.entries()) {
      this.#pages.set(pgno, Uint8Array.from(set.pages.subarray(i * size, (i + 1) * size)));
    }
  }

  rows(): string {
    return Witness.rowsOf(this.#connection);
  }

  /** Makes another database equal by copying the pages that differ: a page sync without its messages. */
  async syncTo(target: Target): Promise<void> {
    const theirs = target.pageHashes();
    const { pageCount, pageSize } = this.table;
    const differing: number[] = [];
    for (let pgno = 1; pgno <= pageCount; pgno++) {
      if (!this.table.matches(pgno, theirs.hashOf(pgno))) differing.push(pgno);
    }
    const pages = new Uint8Array(differing.length * pageSize);
    for (const [i, pgno] of differing.entries()) pages.set(this.#pages.get(pgno)!, i * pageSize);
    const wanted = { pageCount, checksum: this.table.checksum(), position: this.position };
    try {
      await target.write(Uint32Array.from(differing), pages);
      await target.finish(wanted);
    } catch (error) {
      await target.close().catch(() => undefined);
      throw error;
    }
  }

  close(): void {
    this.#connection.close();
  }
}
