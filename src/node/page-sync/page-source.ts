/**
 * The sending side of page sync: the served database as a source of pages.
 */

import { CorruptionError } from "../../base/errors.ts";
import type { LogStore } from "../../log/log-store.ts";
import type { Cut, PageBatch, PageSource } from "../../sync/ports.ts";
import type { Lsn, Membership, Pgno, Settings, SnapshotId } from "../../vocabulary.ts";
import type { Applying } from "../applying.ts";
import type { ServedDatabase } from "../driver.ts";

export class ServedPages implements PageSource {
  readonly #served: ServedDatabase;
  readonly #applying: Applying;
  readonly #log: LogStore;

  constructor(served: ServedDatabase, applying: Applying, log: LogStore) {
    this.#served = served;
    this.#applying = applying;
    this.#log = log;
  }

  pageSize(): number {
    return this.#served.pageSize;
  }

  pageCount(): number {
    return this.#served.pageCount;
  }

  hashesOf(from: Pgno, to: Pgno): Uint32Array {
    const hashes = new Uint32Array(2 * (to - from));
    for (let pgno = from; pgno < to; pgno++) {
      if (pgno > this.#served.pageCount) break;
      const { high, low } = this.#served.table.hashOf(pgno);
      hashes[2 * (pgno - from)] = high;
      hashes[2 * (pgno - from) + 1] = low;
    }
    return hashes;
  }

  readPages(pgnos: Uint32Array): Promise<PageBatch> {
    return this.#served.readPages([...pgnos] as Pgno[]);
  }

  onPagesChanged(listener: (pgnos: Uint32Array, pageCount: number) => void): () => void {
    return this.#served.onPagesChanged(listener);
  }

  /** Nothing is applied while the last pages are read: they and their position are of one moment. */
  cut(pick: () => Uint32Array): Promise<Cut> {
    return this.#applying.exclusively(async () => {
      const served = this.#served;
      const pages = await this.readPages(pick());
      return {
        pages,
        image: {
          pageCount: served.pageCount,
          checksum: served.checksum(),
          position: served.position(),
          snapshot: await this.#snapshot(),
        },
      };
    });
  }

  async #snapshot(): Promise<SnapshotId> {
    const { lsn, term } = this.#applying.applied;
    const chain = await this.#log.chainAt(lsn);
    if (chain === undefined) throw new CorruptionError(`the log has no entry ${lsn} to go on from`);
    return {
      lsn,
      term,
      chain,
      membership: this.#membershipAt(lsn),
      settings: this.#settingsAt(lsn),
    };
  }

  #membershipAt(lsn: Lsn): Membership {
    const at = this.#log.memberships().findLast((m) => m.lsn <= lsn);
    return at?.membership ?? this.#log.base.membership;
  }

  #settingsAt(lsn: Lsn): Settings {
    const at = this.#log.settings().findLast((s) => s.lsn <= lsn);
    return at?.settings ?? this.#log.base.settings;
  }
}
