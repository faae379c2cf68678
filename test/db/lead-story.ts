/**
 * A property of leading on the real thing, as one story per seed: a writer process on the scratch, whose transactions
 * reach the served database a few batches later, or never. Leads begin and end, checkpoints run below, the node stops,
 * dies, falls behind and is brought up by pages. Whatever happens, a stock reader of the served database sees whole
 * committed transactions, and the rows are those of an ordinary database that was told the committed SQL only.
 *
 * In lock step, so a seed is the same story each time; the writer is a process of its own, as in a node.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { CorruptionError } from "../../src/base/errors.ts";
import { formatHash } from "../../src/base/hash.ts";
import { Prng } from "../../src/base/prng.ts";
import { Writer } from "../../src/db/process/writer.ts";
import type { PageTable } from "../../src/db/served/page-table.ts";
import { Served } from "../../src/db/served/served.ts";
import { StagedPatch } from "../../src/db/served/staged-patch.ts";
import { StagedImage } from "../../src/db/served/staging.ts";
import { unit } from "../../src/db/sql/test-database.ts";
import { limits } from "../../src/limits.ts";
import { decodePages } from "../../src/payload/pages.ts";
import { SqliteFiles } from "../../src/sim/sqlite/files.ts";
import type { Lsn, Term } from "../../src/vocabulary.ts";
import { genesis, temporaryDirectory } from "./leader.ts";
import { Mirror, type Told } from "./mirror.ts";
import { Witness } from "./witness.ts";

/** Main module of the writer process of a node. */
const nodeWriter = fileURLToPath(
  new URL("../../src/node/children/writer-main.ts", import.meta.url),
);

/** Tells the story of a seed; throws what went wrong. `main`: of the writer processes. */
export async function leadStory(seed: number, main = nodeWriter, leads = 5): Promise<void> {
  using dir = temporaryDirectory();
  const prng = new Prng(seed);
  const { applySliceFrames } = limits;
  // Small slices: a change is refused when a part of it has been written.
  Object.assign(limits, { applySliceFrames: [2, 8, 256][prng.integer(0, 3)]! });
  const story = new LeadStory(dir.path, prng, main);
  try {
    await story.begin();
    for (let i = 0; i < leads; i++) await story.lead();
    await story.end();
  } finally {
    await story.close();
    Object.assign(limits, { applySliceFrames });
  }
}

class LeadStory {
  readonly #prng: Prng;
  readonly #main: string;
  readonly #files: SqliteFiles;
  readonly #mirror: Mirror;
  readonly #image: ReturnType<typeof genesis>;
  #served!: Served;
  #witness!: Witness;
  #writer: Writer | undefined;
  /** Captured, and not committed yet. */
  #pending: Told[] = [];
  #term = 0;
  #lsn = 0;

  constructor(dir: string, prng: Prng, main: string) {
    this.#prng = prng;
    this.#main = main;
    this.#files = new SqliteFiles(join(dir, "node"));
    this.#image = genesis(dir);
    this.#mirror = new Mirror(dir, this.#image);
  }

  async begin(): Promise<void> {
    await Served.create(this.#files.dir, this.#image);
    await this.#open();
  }

  async lead(): Promise<void> {
    const prng = this.#prng;
    this.#term++;
    const { path } = await this.#served.makeScratch();
    const writer = Writer.spawn(this.#main);
    this.#writer = writer;
    await writer.open(path);
    const head = this.#served.table.clone();
    for (let left = prng.integer(8, 30); left > 0; left--) {
      await this.#write(writer, head);
      const behind = prng.integer(0, 6);
      while (this.#pending.length > behind) await this.#commit(this.#pending.shift()!);
      if (prng.chance(0.2)) await this.#checkpoint();
      this.#witness.look(this.#served.position().lsn);
    }
    const ends = [this.#handOver, this.#stepDown, this.#stop, this.#fallBehind, this.#die];
    await ends[prng.integer(0, ends.length)]!.call(this, writer);
    this.#compare();
  }

  async end(): Promise<void> {
    this.#compare();
    const { damaged } = await this.#served.scrub();
    expect(damaged.length === 0, `pages ${damaged.join(", ")} are not what they should be`);
    this.#witness.checkSound();
  }

  async close(): Promise<void> {
    this.#writer?.kill();
    await this.#writer?.closed;
    try {
      this.#witness?.close();
    } catch {
      // It was closed when something went wrong, or sees what went wrong.
    }
    await this.#served?.close().catch(() => undefined);
    this.#mirror.close();
  }

  /** One batch in the scratch. */
  async #write(writer: Writer, head: PageTable): Promise<void> {
    this.#lsn++;
    const position = { lsn: this.#lsn as Lsn, term: this.#term as Term };
    const sql = statements(this.#lsn, this.#prng);
    const units = [unit(...sql)];
    const reply = await writer.run({ ...position, units, committedAtMs: 0, session: "none" });
    if (reply.type === "killed") throw new Error(`the writer ended: ${reply.message}`);
    expect(reply.body !== undefined, "nothing was captured");
    const { set } = decodePages(Uint8Array.from(reply.body!));
    head.apply(set);
    this.#pending.push({ sql, set, position, checksum: head.checksum() });
  }

  async #commit(told: Told): Promise<void> {
    if (this.#prng.chance(0.1)) await this.#refuse(told);
    await this.#served.apply(told.set, told.position, told.checksum);
    this.#mirror.commit(told);
    this.#witness.look(told.position.lsn);
  }

  /** The change arrives damaged first: nothing of it may be seen, and nothing stay. */
  async #refuse({ set, position, checksum }: Told): Promise<void> {
    // Not `slice`: of a Buffer that is no copy.
    const pages = Uint8Array.from(set.pages);
    pages[pages.length - 1]! ^= 1;
    const isRefused = await this.#served.apply({ ...set, pages }, position, checksum).then(
      () => false,
      (error) => error instanceof CorruptionError,
    );
    expect(isRefused, "a damaged change was applied");
    this.#witness.look(this.#served.position().lsn);
  }

  async #checkpoint(): Promise<void> {
    const mode = (["passive", "restart", "truncate"] as const)[this.#prng.integer(0, 3)]!;
    await this.#served.checkpoint(mode);
  }

  /** All that was written is committed before the lead ends. */
  async #handOver(writer: Writer): Promise<void> {
    for (const told of this.#pending.splice(0)) await this.#commit(told);
    await this.#endWriter(writer);
  }

  /** What was not committed never will be. */
  async #stepDown(writer: Writer): Promise<void> {
    await this.#endWriter(writer);
    this.#forget();
  }

  /** In the order of a node that stops. */
  async #stop(writer: Writer): Promise<void> {
    this.#witness.close();
    writer.kill();
    await this.#served.close();
    await writer.closed;
    this.#forget();
    await this.#open();
  }

  /** Others commit what was written; it comes back as pages, into the database as it is being read. */
  async #fallBehind(writer: Writer): Promise<void> {
    await this.#endWriter(writer);
    for (const told of this.#pending.splice(0)) this.#mirror.commit(told);
    const patch = await StagedPatch.open(this.#files.dir, this.#served);
    await this.#mirror.syncTo(patch);
  }

  /** Killed, with its writer. What was not committed is, by others, or never; pages come as a whole file. */
  async #die(writer: Writer): Promise<void> {
    const closeFiles = this.#files.crash("kill", this.#prng);
    await this.#endWriter(writer);
    this.#witness.close();
    await this.#served.close();
    closeFiles();
    if (this.#prng.chance(0.5)) {
      for (const told of this.#pending.splice(0)) this.#mirror.commit(told);
      const { pageSize } = this.#mirror.table;
      const seed = this.#prng.chance(0.5) ? "served-file" : "nothing";
      await this.#mirror.syncTo(await StagedImage.open(this.#files.dir, { pageSize, seed }));
    }
    this.#forget();
    await this.#open();
  }

  async #endWriter(writer: Writer): Promise<void> {
    writer.kill();
    await writer.closed;
  }

  #forget(): void {
    this.#pending = [];
    this.#lsn = this.#mirror.position.lsn;
  }

  async #open(): Promise<void> {
    this.#served = await Served.open(this.#files.dir);
    this.#witness = new Witness(this.#served.path, this.#prng.child());
    const { lsn, term } = this.#served.position();
    const wanted = this.#mirror.position;
    expect(
      lsn === wanted.lsn && term === wanted.term,
      `opened at ${lsn}@${term} instead of ${wanted.lsn}@${wanted.term}`,
    );
  }

  #compare(): void {
    const [found, wanted] = [this.#served, this.#mirror.table].map((each) => each.checksum());
    expect(formatHash(found!) === formatHash(wanted!), "the checksum is not that of the pages");
    expect(this.#witness.rows() === this.#mirror.rows(), "the served database has other rows");
  }
}

/** A transaction that tells from its rows whether all of it is there, and touches pages in between. */
function statements(lsn: number, prng: Prng): string[] {
  if (lsn === 1) {
    return [
      "CREATE TABLE mark_a(n INTEGER)",
      "INSERT INTO mark_a VALUES (1)",
      "CREATE TABLE item(id INTEGER PRIMARY KEY, size INTEGER, pad TEXT)",
      "CREATE INDEX by_size ON item(size)",
      "CREATE TABLE mark_b(n INTEGER)",
      "INSERT INTO mark_b VALUES (1)",
    ];
  }
  const sql = ["UPDATE mark_a SET n = n + 1"];
  for (let left = prng.integer(1, 4); left > 0; left--) sql.push(step(prng));
  sql.push("UPDATE mark_b SET n = n + 1");
  return sql;
}

function step(prng: Prng): string {
  const draw = prng.integer(0, 100);
  const size = prng.integer(1, draw % 4 === 0 ? 30_000 : 600);
  const [modulus, rest] = [prng.integer(2, 9), prng.integer(0, 9)];
  const pad = `substr(hex(zeroblob(${size})), 1, ${size})`;
  if (draw < 25) return `INSERT INTO item(size, pad) VALUES (${size}, ${pad})`;
  if (draw < 50) {
    const rows = prng.integer(2, 40);
    return `INSERT INTO item(size, pad) WITH RECURSIVE s(i) AS
      (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < ${rows}) SELECT i, ${pad} FROM s`;
  }
  if (draw < 75) return `UPDATE item SET size = ${size}, pad = ${pad} WHERE id % 9 = ${rest}`;
  if (draw < 97) return `DELETE FROM item WHERE id % ${modulus} = ${rest % modulus}`;
  return "DELETE FROM item";
}

function expect(condition: boolean, text: string): void {
  if (!condition) throw new Error(text);
}
