/**
 * What a simulated machine holds of its database, and what a power cut leaves of it: a file, and a WAL of images
 * behind it of which the synced ones stay, and of the others some prefix.
 */

import type { Prng } from "../../base/prng.ts";
import type { EntryId } from "../../vocabulary.ts";
import type { Image } from "./pages.ts";

export class ModelFiles {
  /** Undefined: there is no database. */
  file: Image | undefined;
  /** States after each change since the last checkpoint. */
  wal: { readonly image: Image; readonly position: EntryId }[] = [];
  /** States of the WAL that a power cut leaves. */
  synced = 0;
  /** A staged image, kept across restarts. */
  staged: Image | undefined;
  /** Pages of staged and served files that rotted; for the story only. */
  rotten = 0;

  /** What a process reads now. */
  get image(): Image | undefined {
    return this.wal.at(-1)?.image ?? this.file;
  }

  /** Rewrites what is stored, behind everyone's back. */
  replace(change: (image: Image) => Image): void {
    const last = this.wal.at(-1);
    if (last === undefined) this.file = this.file && change(this.file);
    else this.wal[this.wal.length - 1] = { ...last, image: change(last.image) };
  }

  crash(prng: Prng): void {
    const kept = prng.integer(this.synced, this.wal.length + 1);
    this.wal.length = kept;
    this.synced = kept;
    if (prng.chance(0.5)) this.staged = undefined;
  }

  wipe(): void {
    this.file = undefined;
    this.wal = [];
    this.synced = 0;
    this.staged = undefined;
  }
}
