/**
 * The disk of one node: an ext4 file system in an image file, so that its power can be cut, it can be filled, and it
 * can go read-only without hurting anyone else. Without the right to mount it is a plain directory that can only be
 * wiped.
 *
 * All mounts live in the run's own mount namespace and go with it.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const imageBytes = 2 * 1024 ** 3;
const fillersMax = 40;
/** A mount point is busy as long as processes of a killed node have files open; they notice within half a second. */
const unmountWithinMs = 60_000;

export class NodeDisk {
  /** Mount point, or the plain directory. */
  readonly root: string;
  readonly #image: string | undefined;

  private constructor(root: string, image: string | undefined) {
    this.root = root;
    this.#image = image;
  }

  /** An empty disk, mounted. */
  static make(dir: string, id: string, mountable: boolean): NodeDisk {
    const root = join(dir, `disk-${id}`);
    mkdirSync(root, { recursive: true });
    if (!mountable) return new NodeDisk(root, undefined);
    const image = join(dir, `disk-${id}.ext4`);
    writeFileSync(image, "");
    truncateSync(image, imageBytes);
    run("mkfs.ext4", ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", image]);
    const disk = new NodeDisk(root, image);
    disk.mount();
    return disk;
  }

  /** What the node gets as `--dir`. */
  get dataDir(): string {
    return join(this.root, "data");
  }

  mount(): void {
    if (this.#image === undefined) return;
    run("mount", ["-o", "loop,errors=remount-ro", this.#image, this.root]);
  }

  /** The node must be gone. Waits for its last processes. */
  async unmount(): Promise<void> {
    if (this.#image === undefined) return;
    const until = performance.now() + unmountWithinMs;
    for (;;) {
      try {
        run("umount", [this.root]);
        return;
      } catch (error) {
        if (performance.now() > until) throw error;
        await sleep(50);
      }
    }
  }

  /** After a power cut or an error: as a machine does when it boots. */
  async remount(): Promise<void> {
    await this.unmount();
    if (this.#image === undefined) return;
    // Exit status 1: something was corrected. An aborted journal is replayed here.
    run("e2fsck", ["-p", this.#image], [0, 1]);
    this.mount();
  }

  /** From now on all that was not synced is lost. */
  cutPower(fsShutdown: string): void {
    run(fsShutdown, [this.root]);
  }

  /** As the kernel does when it finds the file system damaged: every write fails with EROFS. Undone by `remount`. */
  goReadOnly(): void {
    const device = basename(run("findmnt", ["-n", "-o", "SOURCE", this.root]).trim());
    writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, "planned\n");
  }

  /** Leaves `bytesLeft` free, about. Free space in pieces takes several files. */
  fill(bytesLeft: number): void {
    mkdirSync(this.#fillers, { recursive: true });
    let bytes = Number.POSITIVE_INFINITY;
    for (let n = 0; n < fillersMax; n++) {
      const { bavail, bsize } = statfsSync(this.root);
      bytes = Math.min(bytes, bavail * bsize - bytesLeft);
      if (bytes < bsize) return;
      const args = ["-l", String(bytes), join(this.#fillers, String(n))];
      // What did not fit as a whole is tried by halves.
      if (spawnSync("fallocate", args).status !== 0) bytes = Math.floor(bytes / 2);
    }
  }

  unfill(): void {
    rmSync(this.#fillers, { recursive: true, force: true });
  }

  get #fillers(): string {
    return join(this.root, "fillers");
  }

  wipe(): void {
    for (const name of readdirSync(this.root)) {
      if (name !== "lost+found") rmSync(join(this.root, name), { recursive: true, force: true });
    }
  }
}

function run(program: string, args: readonly string[], okCodes: readonly number[] = [0]): string {
  try {
    return execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const { status, stderr } = error as { status?: number; stderr?: string };
    if (status !== undefined && okCodes.includes(status)) return "";
    throw new Error(`${program} ${args.join(" ")}: ${stderr || String(error)}`, { cause: error });
  }
}
