/**
 * Mutants of leading: the writer process and its scratch, and how the served database goes on when a lead ends. They
 * are hunted by leads with a real writer process (test/db/lead-story.ts), one by stories on real SQLite.
 */

import { ChildProcess } from "node:child_process";
import { existsSync, statSync, truncateSync } from "node:fs";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { DatabaseSync } from "node:sqlite";
import { pageHash } from "../../src/base/hash.ts";
import { Applier } from "../../src/db/served/applier.ts";
import { Checkpointer } from "../../src/db/served/connections/checkpointer.ts";
import { WriteLock } from "../../src/db/served/connections/write-lock.ts";
import { Served } from "../../src/db/served/served.ts";
import { Authorizer } from "../../src/db/sql/authorizer.ts";
import { GroupCommit } from "../../src/db/sql/group-commit.ts";
import { all, type Mutant, replaced } from "../../src/sim/mutants/mutant.ts";
import type { Pgno } from "../../src/vocabulary.ts";
import { frameBytes } from "../../src/wal/format.ts";
import type { PageSet } from "../../src/wal/page-set.ts";

const ground = "lead" as const;
const nothing = () => () => {};

/** Statements that connections run by `exec`, one way or the other. `look` sees which connection it is. */
function rewritten(look: (connection: DatabaseSync, sql: string) => string): () => void {
  return replaced(
    DatabaseSync.prototype,
    "exec",
    (original) =>
      function (this: DatabaseSync, sql) {
        original.call(this, look(this, sql));
      },
  );
}

/** The scratch connections of this process, as they are opened. */
function scratchConnections(): Set<DatabaseSync> {
  const connections = new Set<DatabaseSync>();
  rewritten((connection, sql) => {
    if (sql.includes("wal_autocheckpoint")) connections.add(connection);
    return sql;
  });
  return connections;
}

/**
 * One connection less: that of the write lock also reads the position row, whenever it has let go of the lock. By
 * COMMIT that is harmless, by ROLLBACK it is not [write-lock.ts].
 */
export function positionReadOnLock(word: "ROLLBACK" | "COMMIT"): () => void {
  type Held = { readonly lock: WriteLock; row: Record<string, unknown> | undefined };
  const byConnection = new Map<DatabaseSync, Held>();
  let user: WriteLock | undefined;
  const using = (name: "acquireNow" | "release") =>
    replaced(
      WriteLock.prototype,
      name,
      (original) =>
        function (this: WriteLock) {
          user = this;
          const result = original.call(this);
          user = undefined;
          return result;
        },
    );
  const exec = rewritten((connection, sql) => {
    if (sql === "BEGIN IMMEDIATE" && user !== undefined && !byConnection.has(connection)) {
      byConnection.set(connection, { lock: user, row: undefined });
    }
    const held = user === undefined ? undefined : byConnection.get(connection);
    if (sql !== "COMMIT" || held === undefined) return sql;
    // The lock is let go of here, so that the row can be read before others go on.
    connection.prepare(word).run();
    held.row = connection.prepare("SELECT lsn, term FROM sqlite_paceline").get();
    return "";
  });
  const read = replaced(
    Checkpointer.prototype,
    "readPosition",
    () =>
      function (this: Checkpointer) {
        const held = [...byConnection.values()].at(-1)!;
        held.lock.release();
        held.lock.acquireNow();
        return { lsn: Number(held.row!["lsn"]), term: Number(held.row!["term"]) };
      },
  );
  return all(using("acquireNow"), using("release"), exec, read);
}

/** What the pages of a change are, whatever it says of them. */
function hashesOf({ pageSize, pgnos, pages, hashes }: PageSet): Uint32Array {
  const own = hashes.slice();
  for (const [i, pgno] of pgnos.entries()) {
    const hash = pageHash(pgno as Pgno, pages.subarray(i * pageSize, (i + 1) * pageSize));
    own.set([hash.high, hash.low], 2 * i);
  }
  return own;
}

/** The WAL of each new scratch is cut to what `cutTo` says, bytes. */
function scratchWalCut(cutTo: (size: number, pageSize: number) => number): () => void {
  return replaced(
    Served.prototype,
    "makeScratch",
    (original) =>
      async function (this: Served) {
        const made = (await original.call(this)) as { path: string };
        const wal = `${made.path}-wal`;
        if (existsSync(wal)) truncateSync(wal, cutTo(statSync(wal).size, this.pageSize));
        return made;
      },
  );
}

export const leadMutants: readonly Mutant[] = [
  {
    name: "a fresh scratch WAL starts empty",
    ground: "sqlite",
    plant: () => scratchWalCut(() => 0),
  },
  {
    name: "a fresh scratch WAL lacks the last frame of the served one",
    ground,
    plant: () => scratchWalCut((size, pageSize) => size - frameBytes(pageSize)),
  },
  {
    name: "a new lead goes on with the scratch of the one before",
    ground,
    plant: () =>
      replaced(Served.prototype, "makeScratch", (original) => {
        let path = "";
        return async function (this: Served) {
          if (existsSync(path)) return { path };
          const made = (await original.call(this)) as { path: string };
          path = made.path;
          return made;
        };
      }),
  },
  {
    name: "the scratch WAL is checkpointed by itself, as SQLite does if nobody forbids it",
    ground,
    plant: nothing,
    plantInWriter: () => {
      rewritten((_, sql) => sql.replace("wal_autocheckpoint = 0", "wal_autocheckpoint = 16"));
    },
  },
  {
    name: "the scratch WAL is emptied before it was read back",
    ground,
    plant: nothing,
    plantInWriter: () => {
      const connections = scratchConnections();
      // Connections of their own: on that of the writer, the authorizer would refuse it.
      const others = new Map<DatabaseSync, DatabaseSync>();
      replaced(
        GroupCommit.prototype,
        "run",
        (original) =>
          function (this: GroupCommit, ...args) {
            const run = original.apply(this, args);
            for (const one of connections) {
              const other = others.get(one) ?? new DatabaseSync(one.location()!);
              others.set(one, other);
              other.exec("PRAGMA wal_checkpoint(TRUNCATE)");
            }
            return run;
          },
      );
    },
  },
  {
    name: "the writer closes its connection when it ends, after the node has closed the database",
    ground,
    plant: () =>
      replaced(
        ChildProcess.prototype,
        "kill",
        (original) =>
          function (this: ChildProcess) {
            return original.call(this, "SIGTERM");
          },
      ),
    plantInWriter: () => {
      const connections = scratchConnections();
      process.on("SIGTERM", () => {
        setTimeout(() => {
          for (const one of connections) one.close();
          process.kill(process.pid, "SIGKILL");
        }, 300);
      });
    },
  },
  {
    name: "a transaction does not write its position",
    ground,
    plant: nothing,
    plantInWriter: () => {
      replaced(Authorizer.prototype, "asOurselves", () => () => undefined);
    },
  },
  {
    name: "the write lock is let go by ROLLBACK, and its connection is read from",
    ground,
    plant: () => positionReadOnLock("ROLLBACK"),
  },
  {
    name: "a change that is refused half-way is not given up",
    ground,
    plant: () => replaced(Applier.prototype, "abandon", () => () => {}),
  },
  {
    name: "pages are applied as they came: neither their hashes nor the chain of checksums is compared",
    ground,
    plant: () =>
      replaced(
        Served.prototype,
        "apply",
        (original) =>
          function (this: Served, set, position) {
            return original.call(this, { ...set, hashes: hashesOf(set) }, position, undefined);
          },
      ),
  },
  {
    name: "the old WAL is left beside a database file that page sync has put into place",
    ground,
    plant: () => {
      const { rm } = promises;
      promises.rm = async (path, options) => {
        if (!String(path).endsWith("main.sqlite-wal")) await rm(path, options);
      };
      syncBuiltinESMExports();
      return () => {
        promises.rm = rm;
        syncBuiltinESMExports();
      };
    },
  },
];
