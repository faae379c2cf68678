/**
 * The served database of this node and its readers, through its three states:
 *
 *   absent    no genesis applied, no page sync finished: nothing to read
 *   whole     what the log says it is; readers run
 *   damaged   its pages are not what the log says: no reads, no lead, until page sync has repaired it [D6, D7]
 *
 * Not here: which entries are applied when (applying.ts), the repair itself (page-syncing.ts).
 */

import { CorruptionError, messageOf } from "../base/errors.ts";
import { formatHash, type Hash64 } from "../base/hash.ts";
import { decodeGenesis } from "../payload/genesis.ts";
import { decodePagesInTurns } from "../payload/pages.ts";
import { appliedSection, hasSections, sectionsOf } from "../payload/sections.ts";
import {
  type Entry,
  type EntryId,
  formatPosition,
  type LogKind,
  type Pgno,
} from "../vocabulary.ts";
import type { DatabaseDriver, Readers, ServedDatabase } from "./driver.ts";
import { Replaying } from "./write/replaying.ts";

/** Whether a copy may keep the rows of some tables only. */
export function canSelectTables(logKind: LogKind): boolean {
  return logKind === "rows" || logKind === "triggers";
}

export type DatabaseOptions = {
  readonly dir: string;
  readonly driver: DatabaseDriver;
  /** Tables whose rows are kept; all when undefined. */
  readonly tables?: readonly string[] | undefined;
  onEvent(line: string): void;
  /** Pages of an entry that this node proposed, if they are still in memory. */
  ownPages(id: EntryId): Uint8Array | undefined;
  /** Told after the state changed. */
  onState(): void;
  /** Someone else wrote to the served file. */
  onForeignWrite(error: CorruptionError): void;
};

export class Database {
  readonly #options: DatabaseOptions;
  readonly #replaying: Replaying;
  #served: ServedDatabase | undefined;
  #pool: Readers | undefined;
  /** Why the database is not what it should be. */
  #damage: string | undefined;
  /** Pages that a scrub found to differ from their hashes. */
  #damagedPages: readonly Pgno[] = [];
  #findings = 0;
  /** Wall clock of the leader when it made the newest entry applied here. */
  #committedAtMs = 0;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#replaying = new Replaying({
      spawn: () => options.driver.spawnReplay(),
      makeScratch: () => this.#served!.makeScratch(),
    });
  }

  get served(): ServedDatabase | undefined {
    return this.#served;
  }

  /** The database, when it is there and whole. */
  get whole(): ServedDatabase | undefined {
    return this.#damage === undefined ? this.#served : undefined;
  }

  get damage(): string | undefined {
    return this.#damage;
  }

  get damagedPages(): readonly Pgno[] {
    return this.#damagedPages;
  }

  get pool(): Readers | undefined {
    return this.#damage === undefined ? this.#pool : undefined;
  }

  get committedAtMs(): number {
    return this.#committedAtMs;
  }

  /**
   * Opens what the directory has. `expectedAt` gives the checksum that the log recorded for a position, if it still
   * knows. A database that cannot be opened, or that differs, leaves the state damaged.
   */
  async open(expectedAt: (position: EntryId) => Promise<Hash64 | undefined>): Promise<void> {
    const { dir, driver, onForeignWrite } = this.#options;
    if (!driver.exists(dir)) return;
    try {
      this.#served = await driver.open(dir, onForeignWrite);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#damage = error.message;
      return;
    }
    const expected = await expectedAt(this.#served.position());
    const found = this.#served.checksum();
    if (expected !== undefined && formatHash(expected) !== formatHash(found)) {
      this.#damage = `the database has checksum ${formatHash(found)}, the log says ${formatHash(expected)}`;
      return;
    }
    this.#openPool();
  }

  /** Applies one entry. Throws CorruptionError when the database turns out not to be what the leader has. */
  async change(entry: Entry): Promise<void> {
    if (entry.kind === "genesis") return this.#applyGenesis(entry);
    if (entry.kind !== "payload") return;
    const served = this.#served;
    if (served === undefined) throw new CorruptionError("there is no database to apply entries to");
    // A crash between the database and what follows: the entry is in it already.
    if (served.position().lsn >= entry.lsn) return;
    const id = { lsn: entry.lsn, term: entry.term };
    if (hasSections(entry.body)) return this.#changeBySections(served, id, entry.body);
    this.#expectRows(id, "pages");
    this.#replaying.drop();
    const { set, checksumAfter, committedAtMs } = await decodePagesInTurns(entry.body);
    await served.apply(set, id, checksumAfter);
    this.#committedAtMs = committedAtMs;
  }

  /** A writer is about to have the scratch. */
  dropReplaying(): void {
    this.#replaying.drop();
  }

  async #changeBySections(served: ServedDatabase, id: EntryId, body: Uint8Array): Promise<void> {
    const sections = sectionsOf(body);
    this.#expectRows(id, sections.logKind);
    const own = sections.pages ?? this.#options.ownPages(id);
    let pages = own;
    if (pages === undefined) {
      try {
        pages = await this.#replaying.pagesOf(id, appliedSection(sections)!);
      } catch (error) {
        if (!(error instanceof CorruptionError)) throw error;
        const { logKind } = sections;
        const where = `entry ${formatPosition(id)} of log kind ${logKind}`;
        throw new CorruptionError(`${where} does not fit this copy: ${messageOf(error)}`);
      }
    } else this.#replaying.drop();
    const { set, checksumAfter } = await decodePagesInTurns(pages);
    // Pages that were made here carry no checksum: other copies may keep the same rows in other pages.
    await served.apply(set, id, own === undefined ? undefined : checksumAfter);
    this.#committedAtMs = sections.committedAtMs;
  }

  /** Pages hold rows of all tables, and statements may need any of them. */
  #expectRows(id: EntryId, logKind: LogKind): void {
    if (this.#options.tables === undefined || canSelectTables(logKind)) return;
    throw new CorruptionError(
      `entry ${formatPosition(id)} is of log kind ${logKind}, which cannot be taken in by a copy of some ` +
        `tables (--tables); it needs log kind rows or triggers`,
    );
  }

  /** How often damage was found: tells a repair whether more was found while it ran. */
  get findings(): number {
    return this.#findings;
  }

  markDamaged(why: string, pages: readonly Pgno[] = []): void {
    this.#replaying.drop();
    this.#findings++;
    this.#damagedPages = [...this.#damagedPages, ...pages];
    if (this.#damage !== undefined) return;
    this.#damage = why;
    this.#options.onEvent(`the database is damaged: ${why}; repairing it by page sync`);
    this.#options.onState();
  }

  /**
   * Page sync has put a first or a new file in place, or made the open database whole: of all damage that was found
   * before it began. What was found since stays.
   */
  async reopen(findings: number = this.#findings): Promise<void> {
    this.#replaying.drop();
    const { dir, driver, onForeignWrite } = this.#options;
    this.#served ??= await driver.open(dir, onForeignWrite);
    if (findings === this.#findings) {
      this.#damage = undefined;
      this.#damagedPages = [];
    }
    this.#openPool();
    this.#options.onState();
  }

  async close(): Promise<void> {
    this.#replaying.drop();
    this.#pool?.close();
    await this.#served?.close();
  }

  async #applyGenesis(entry: Entry): Promise<void> {
    if (this.#served !== undefined) return;
    const { image } = decodeGenesis(entry.body);
    await this.#options.driver.create(this.#options.dir, image);
    await this.reopen();
  }

  #openPool(): void {
    const { dir, driver } = this.#options;
    this.#pool ??= driver.openReaders(dir);
  }
}
