/** What the real database of a simulated node has of the world around it. */

import type { StoreWorld } from "../store.ts";
import type { SqliteFiles } from "./files.ts";

export type SqliteWorld = StoreWorld & {
  readonly files: SqliteFiles;
  /** Real work, during which no virtual time passes. Never resolves for a process that has ended. */
  outside<T>(work: () => Promise<T> | T): Promise<T>;
};
