/**
 * Registers that only rise, each with one writer that counts up. A write that comes late finds a greater value and
 * does nothing, so what may be read is known exactly, without a search:
 *
 *   linearizable   at least what was acknowledged when the read began, at most what was ever sent, nothing refused
 *   session        at least what was acknowledged at the position that is asked for, and never less than this session
 *                  has seen, through whichever node
 */

import { setTimeout as sleep } from "node:timers/promises";
import { type Ground, Home } from "./ground.ts";

export const registersSchema = "CREATE TABLE register (k INTEGER PRIMARY KEY, v INTEGER)";

const writeSql = "UPDATE register SET v = ? WHERE k = ? AND v < ?";
const readSql = "SELECT v FROM register WHERE k = ?";
const betweenMs = 8;

type Register = {
  readonly k: number;
  sent: number;
  acked: number;
  /** Of the newest acknowledged write. */
  position: string | undefined;
  readonly failed: Set<number>;
};

export function registerRows(registers: number): string {
  const rows = Array.from({ length: registers }, (_, k) => `(${k}, 0)`);
  return `INSERT INTO register VALUES ${rows.join(", ")}`;
}

export class Registers {
  readonly #ground: Ground;
  readonly #registers: readonly Register[];

  constructor(ground: Ground, registers: number) {
    this.#ground = ground;
    this.#registers = Array.from({ length: registers }, (_, k) => ({
      ...{ k, sent: 0, acked: 0, position: undefined, failed: new Set<number>() },
    }));
    for (const register of this.#registers) {
      const home = new Home(ground, register.k);
      ground.loop(() => this.#write(register, home));
    }
    for (let reader = 0; reader < 2; reader++) ground.loop(() => this.#readLinearizable());
    for (let reader = 0; reader < 2; reader++) {
      const session = new Session();
      ground.loop(() => this.#readInSession(session));
    }
  }

  /** A linearizable read through every node, at once; the n-th may be one that has just woken. */
  async readEverywhere(nodes: number): Promise<void> {
    const reads = Array.from({ length: nodes }, (_, n) => this.#readLinearizable(n));
    await Promise.all(reads);
  }

  async #write(register: Register, home: Home): Promise<void> {
    const v = ++register.sent;
    const outcome = await home.node.ask({
      statements: [{ sql: writeSql, args: [v, register.k, v] }],
    });
    this.#ground.recorder.write(outcome);
    if (outcome.type === "ok") {
      register.acked = v;
      register.position = outcome.position;
      await sleep(betweenMs);
    } else {
      if (outcome.type === "failed") register.failed.add(v);
      await home.retreat(outcome);
    }
  }

  async #readLinearizable(n?: number): Promise<void> {
    const register = this.#any();
    const atLeast = register.acked;
    const node = n === undefined ? this.#ground.any() : this.#ground.of(n);
    const outcome = await node.ask({
      statements: [{ sql: readSql, args: [register.k] }],
      consistency: "linearizable",
    });
    await sleep(betweenMs);
    if (outcome.type !== "ok") return;
    const v = outcome.rows[0]![0]![0] as number;
    const { recorder } = this.#ground;
    recorder.read("linearizable");
    const where = `register ${register.k} at ${outcome.position}`;
    if (v < atLeast) recorder.violate("stale", `${where}: read ${v} after ${atLeast} was acked`);
    this.#checkPossible(register, v, where);
  }

  async #readInSession(session: Session): Promise<void> {
    const register = this.#any();
    const { position, acked } = register;
    session.advance(position);
    const atLeast = Math.max(position === undefined ? 0 : acked, session.seen(register.k));
    const outcome = await this.#ground.any().ask({
      statements: [{ sql: readSql, args: [register.k] }],
      minPosition: session.position,
    });
    await sleep(betweenMs);
    if (outcome.type !== "ok") return;
    const v = outcome.rows[0]![0]![0] as number;
    const { recorder } = this.#ground;
    recorder.read("session");
    const where = `register ${register.k} at ${outcome.position}, asked for ${session.position}`;
    if (v < atLeast) recorder.violate("stale", `${where}: read ${v}, ${atLeast} was seen before`);
    this.#checkPossible(register, v, where);
    session.advance(outcome.position);
    session.saw(register.k, v);
  }

  #checkPossible(register: Register, v: number, where: string): void {
    const { recorder } = this.#ground;
    if (v > register.sent) recorder.violate("risen", `${where}: read ${v}, never written`);
    if (register.failed.has(v)) recorder.violate("risen", `${where}: read ${v}, which was refused`);
  }

  #any(): Register {
    return this.#registers[this.#ground.prng.integer(0, this.#registers.length)]!;
  }
}

/** What one reader has seen, wherever it read. */
class Session {
  position: string | undefined;
  readonly #seen = new Map<number, number>();

  seen(k: number): number {
    return this.#seen.get(k) ?? 0;
  }

  saw(k: number, v: number): void {
    this.#seen.set(k, v);
  }

  /** Positions are LSN@term, and what is acknowledged never changes its place. */
  advance(position: string | undefined): void {
    if (position === undefined) return;
    if (this.position === undefined || lsnOf(position) > lsnOf(this.position)) {
      this.position = position;
    }
  }
}

function lsnOf(position: string): number {
  return Number(position.split("@")[0]);
}
