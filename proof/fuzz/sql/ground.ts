/**
 * What lists are played on: three real nodes of one log kind, and what is looked at beside their answers: the database
 * file of each, and a copy that `paceline changes --into` keeps.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Pool } from "undici";
import { TestCluster } from "../../../test/process/cluster.ts";
import { removalOf } from "./content.ts";
import type { Request, Send, Statement } from "./list.ts";
import { WireStream } from "./wire.ts";

export const kinds = ["pages", "rows", "statements", "triggers", "changes"] as const;
export type Kind = (typeof kinds)[number];

/** A database that is compared. */
export type Copy = {
  readonly name: string;
  readonly db: DatabaseSync;
  /** LSN up to which it has applied the log. */
  lsn(): number;
};

const copyWaitMs = 20_000;
const program = fileURLToPath(new URL("../../../src/cli/main.ts", import.meta.url));

export class Ground {
  readonly kind: Kind;
  /** For stock databases. */
  readonly dir: string;
  readonly copies: Copy[] = [];
  /** What a new connection has. */
  foreignKeys = false;
  readonly #cluster: TestCluster;
  readonly #pools: Pool[] = [];
  #consumer: ChildProcess | undefined;
  /** Why the program that keeps the copy gave up. */
  consumerFailed: string | undefined;

  private constructor(kind: Kind, cluster: TestCluster, dir: string) {
    this.kind = kind;
    this.#cluster = cluster;
    this.dir = dir;
  }

  static async start(kind: Kind, nodes = 3): Promise<Ground> {
    // Memory, where there is a file system of it: neither side is tried for what a disk does.
    const place = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
    const setting = kind === "changes" ? "record.changes=true" : `logKind=${kind}`;
    const args = ["--settings", setting];
    const cluster = await TestCluster.start({ nodes, args, dir: place });
    const ground = new Ground(kind, cluster, mkdtempSync(join(place, "paceline-stock-")));
    try {
      await ground.#open();
    } catch (error) {
      await ground.stop();
      throw error;
    }
    return ground;
  }

  /** A stream on the node with this index: followers come first. */
  stream(node: number): WireStream {
    return new WireStream(this.#pools[node % this.#pools.length]!);
  }

  /** Waits until every copy has what was answered at this position. */
  async applied(position: string | undefined): Promise<void> {
    const lsn = Number(position?.split("@")[0] ?? 0);
    const untilMs = performance.now() + copyWaitMs;
    for (const copy of this.copies) {
      while (copy.lsn() < lsn) {
        if (this.consumerFailed !== undefined) throw new Error(this.consumerFailed);
        if (performance.now() > untilMs) throw new Error(`${copy.name} does not reach ${lsn}`);
        await sleep(2);
      }
    }
  }

  /** Removes all that a list has made. What fails in one request is tried in several, and told all the same. */
  async remove(prefix: string, position: string | undefined): Promise<void> {
    const [copy] = this.copies;
    let failed: string | undefined;
    for (let attempt = 0; attempt < 5; attempt++) {
      await this.applied(position);
      const statements = removalOf(copy!.db, prefix);
      if (statements.length === 0) break;
      const groups = attempt === 0 ? [statements] : statements.map((each) => [each]);
      for (const group of groups) {
        const stream = this.stream(0);
        const answers = await stream.run(sendOf(["PRAGMA foreign_keys = off", ...group]));
        position = stream.position ?? position;
        const error = answers.flat().find((answer) => answer.type === "error");
        if (error?.type === "error") failed ??= `${error.code} ${error.message}`;
      }
    }
    if (failed !== undefined) throw new Error(`cannot drop what begins with ${prefix}: ${failed}`);
  }

  output(): string {
    return this.#cluster.nodes
      .map(({ id }) => `--- ${id}\n${this.#cluster.output(id).slice(-1_500)}`)
      .join("\n");
  }

  async stop(): Promise<void> {
    this.#consumer?.kill("SIGKILL");
    for (const { db } of this.copies) db.close();
    await Promise.all(this.#pools.map((pool) => pool.destroy()));
    await this.#cluster.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  async #open(): Promise<void> {
    const leader = await this.#cluster.leader();
    await this.#cluster.recovered();
    const nodes = this.#cluster.nodes.toSorted(
      (a, b) => Number(a.id === leader) - Number(b.id === leader),
    );
    for (const { id, dir } of nodes) {
      this.#pools.push(new Pool(this.#cluster.url(id), { connections: 64 }));
      const file = join(dir, "db/main.sqlite");
      this.copies.push(copyOf(`node ${id}`, file, "SELECT lsn FROM sqlite_paceline"));
    }
    const [[answer] = []] = await this.stream(0).run(sendOf(["PRAGMA foreign_keys"]));
    this.foreignKeys = answer?.type === "rows" && answer.rows[0] === "1";
    if (this.kind === "changes") await this.#follow(nodes[0]!.id);
  }

  async #follow(id: string): Promise<void> {
    const file = join(this.dir, "copy.sqlite");
    const args = ["changes", "--url", this.#cluster.url(id), "--from", "0", "--into", file];
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#consumer = child;
    let said = "";
    child.stderr.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-2_000);
    });
    child.on("exit", (code, signal) => {
      if (signal !== "SIGKILL") this.consumerFailed = `changes --into ended (${code}): ${said}`;
    });
    await this.stream(0).run(sendOf(["CREATE TABLE first(a)", "DROP TABLE first"]));
    while (!existsSync(file)) await sleep(20);
    await sleep(500);
    this.copies.push(copyOf("changes --into", file, "SELECT lsn FROM paceline_copied"));
  }
}

/** Statements of the fuzzer's own, in one request. */
function sendOf(statements: readonly string[]): Send {
  const requests = statements.map((sql): Request => {
    const statement: Statement = { sql, plain: sql, args: [], byName: false, verb: "unknown" };
    return { type: "execute", steps: [{ statement }] };
  });
  return { stream: 0, requests, closes: true };
}

function copyOf(name: string, file: string, position: string): Copy {
  const options = { readOnly: true, readBigInts: true, returnArrays: true } as const;
  const db = new DatabaseSync(file, { ...options, enableDoubleQuotedStringLiterals: true });
  const statement = db.prepare(position);
  const lsn = () => Number((statement.get() as unknown as [bigint] | undefined)?.[0] ?? 0);
  return { name, db, lsn };
}
