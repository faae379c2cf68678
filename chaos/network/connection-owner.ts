/**
 * Which node opened a connection: the proxy has one port per node, and needs to know from whom a connection comes.
 *
 * The kernel knows. /proc/net/tcp tells the inode of the other end of a connection, and /proc/PID/fd who has it open.
 * So nodes need not say who they are, and cannot be told apart wrongly.
 */

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The id of the process among `pidById` that owns the local end at `port`, connected to `toPort`. */
export function ownerOf(
  pidById: ReadonlyMap<string, number>,
  port: number,
  toPort: number,
): string | undefined {
  const inode = inodeOf(port, toPort);
  if (inode === undefined) return undefined;
  const wanted = `socket:[${inode}]`;
  for (const [id, pid] of pidById) {
    if (hasOpen(pid, wanted)) return id;
  }
  return undefined;
}

function inodeOf(port: number, toPort: number): string | undefined {
  const local = `:${hexPort(port)}`;
  const remote = `:${hexPort(toPort)}`;
  for (const line of readFileSync("/proc/net/tcp", "latin1").split("\n")) {
    const fields = line.trim().split(/\s+/);
    if (fields[1]?.endsWith(local) && fields[2]?.endsWith(remote)) return fields[9];
  }
  return undefined;
}

function hexPort(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}

function hasOpen(pid: number, wanted: string): boolean {
  const folder = `/proc/${pid}/fd`;
  let fds: string[];
  try {
    fds = readdirSync(folder);
  } catch {
    return false; // The process is gone.
  }
  for (const fd of fds.reverse()) {
    try {
      if (readlinkSync(`${folder}/${fd}`) === wanted) return true;
    } catch {
      // Closed meanwhile.
    }
  }
  return false;
}
