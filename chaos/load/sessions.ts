/**
 * Clients that go from node to node with every request and take their position with them: they must read their own
 * writes, and never read less than before. They append to lists that they share; lists rotate.
 */

import { setTimeout as sleep } from "node:timers/promises";
import { Actor, placeOf } from "./actor.ts";
import type { Ground } from "./ground.ts";

export const sessionsSchema =
  "CREATE TABLE diary (place INTEGER PRIMARY KEY, k INTEGER NOT NULL, element INTEGER NOT NULL)";
export const sessionsIndex = "CREATE INDEX diary_by_key ON diary (k)";

const operationsPerList = 120;
const appendChance = 0.4;
const betweenMs = 60;

const appendSql = "INSERT INTO diary (k, element) VALUES (?, ?)";
const readSql = "SELECT element FROM diary WHERE k = ? ORDER BY place";

type Session = { readonly actor: Actor; position: string | undefined };

export class Sessions {
  readonly #ground: Ground;
  #operations = 0;
  #elements = 0;

  constructor(ground: Ground, sessions: number) {
    this.#ground = ground;
    for (let n = 0; n < sessions; n++) {
      const session = { actor: new Actor(ground.history, `session-${n}`), position: undefined };
      ground.loop(() => this.#step(session));
    }
  }

  async #step(session: Session): Promise<void> {
    const { prng, recorder } = this.#ground;
    const k = Math.floor(this.#operations++ / operationsPerList);
    const key = `session/${k}`;
    const node = this.#ground.any();
    const minPosition = session.position;
    const appends = prng.chance(appendChance);
    const element = appends ? ++this.#elements : 0;
    const outcome = appends
      ? await session.actor.does({ op: "append", key, value: element }, () =>
          node.ask({ statements: [{ sql: appendSql, args: [k, element] }] }),
        )
      : await session.actor.does(
          { op: "read", key, value: "session", asked: minPosition },
          () => node.ask({ statements: [{ sql: readSql, args: [k] }], minPosition }),
          ({ rows }) => rows[0]!.map((row) => row[0] as number),
        );
    if (appends) recorder.write(outcome);
    else if (outcome.type === "ok") recorder.read("diary");
    if (outcome.type === "ok" && lsnOf(outcome.position) > lsnOf(session.position)) {
      session.position = outcome.position;
    }
    await sleep(betweenMs);
  }
}

function lsnOf(position: string | undefined): number {
  return placeOf(position).lsn ?? 0;
}
