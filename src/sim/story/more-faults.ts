/**
 * Faults of the network that need more than one link, and of machines beside crashes: clocks, disks that cannot be
 * read or that hold old or wrong bytes of the log.
 *
 * Clocks stay within what the lease allows: a follower that lost its link to the leader may stand for election after
 * limits.leaseOverMs of its own clock, and the leader reads alone for limits.leaseMs of its own. So two clocks may
 * differ by a factor of 350/300, and each may be off by 7 %. All of them together may be off by any factor
 * (parameters.ts, `clockRate`).
 */

import type { Prng } from "../../base/prng.ts";
import type { Play } from "./faults.ts";
import type { SimNode } from "./node.ts";

/** Off by this at most, each. */
const rateDrift = 0.07;
const sectorBytes = 512;

export const networkPlays: Record<"bridge" | "ring" | "replay" | "reset", Play> = {
  bridge: (play, node, prng) => {
    const others = play.others(node).filter(({ isUp }) => isUp);
    if (others.length < 2) return undefined;
    const half = others.slice(0, prng.integer(1, others.length));
    const rest = others.filter((other) => !half.includes(other));
    const ms = prng.integer(200, 5_000);
    play.block(
      half.flatMap((a) => rest.flatMap((b) => bothWays(a, b))),
      ms,
    );
    return `${node.id} alone reaches both halves, for ${ms} ms`;
  },
  ring: (play, _node, prng) => {
    const { nodes } = play.world;
    if (nodes.length < 4) return undefined;
    const isNext = (a: number, b: number) =>
      Math.abs(a - b) === 1 || Math.abs(a - b) === nodes.length - 1;
    const pairs = nodes.flatMap((a, i) =>
      nodes.slice(i + 1).flatMap((b, j) => (isNext(i, i + 1 + j) ? [] : bothWays(a, b))),
    );
    const ms = prng.integer(200, 5_000);
    play.block(pairs, ms);
    return `everyone reaches two neighbours only, for ${ms} ms`;
  },
  replay: (play, _node, prng) => {
    const played = play.world.network.replay(prng.integer(1, 200), prng);
    return played === 0 ? undefined : `${played} old messages`;
  },
  reset: (play, node, prng) => {
    const others = play.others(node).filter(({ isUp }) => isUp);
    if (!node.isUp || others.length === 0) return undefined;
    const ms = prng.integer(50, 2_500);
    const isTold = prng.chance(resetTold);
    play.block(
      others.flatMap((other) => bothWays(node, other)),
      ms,
    );
    for (const other of others) {
      other.links?.breakTo(node.id);
      if (isTold) node.links?.breakTo(other.id);
    }
    return `the others lose ${node.id} at once, for ${ms} ms; ${isTold ? "so does it" : "it is not told"}`;
  },
};

/** Whether the side that is cut off hears of it, too. */
const resetTold = 0.3;

type MachineFault = "wall-step" | "clock-rate" | "read-error" | "rot-log" | "old-log";

export const machinePlays: Record<MachineFault, Play> = {
  "wall-step": (_, node, prng) => {
    if (!node.isUp) return undefined;
    const ms = prng.integer(-7_200_000, 7_200_000);
    node.clock?.stepWall(ms);
    return `${node.id} by ${ms} ms`;
  },
  "clock-rate": (play, node, prng) => {
    if (!node.isUp) return undefined;
    const rate = 1 + rateDrift * (prng.integer(-100, 101) / 100);
    node.clock?.setRate(play.world.parameters.clockRate * rate);
    return `${node.id} runs at ${rate.toFixed(3)}`;
  },
  "read-error": (_, node, prng) => {
    node.readsLeft = prng.integer(0, 20);
    return `${node.id} cannot read once, after ${node.readsLeft} reads`;
  },
  "rot-log": (play, node, prng) => {
    // Of a node that is down, segments may be leftovers that nobody reads.
    if (!node.isUp || !play.mayHarm(node)) return undefined;
    node.die("kill");
    const rotten = rotLog(node, prng);
    if (rotten === undefined) return undefined;
    const { file, told } = rotten;
    node.broken = { contacts: play.membership(), must: "CorruptionError", file };
    node.impaired = true;
    return `${told} in ${file} of ${node.id}`;
  },
  "old-log": (play, node, prng) => {
    const { running } = node;
    if (running === undefined || !node.isUp || !play.mayHarm(node)) return undefined;
    // A copy of the log's directory is taken now and put back later: by someone who means well. While something is
    // being written, the copy may hold more than the log says.
    if (!node.disk.isAtRest) return undefined;
    const copy = node.disk.fork();
    const { last } = running.parts.log;
    play.after(prng.integer(300, 4_000), () => {
      const applied = node.running?.parts.database.whole?.position().lsn ?? 0;
      // One that the database is not ahead of cannot be told from the disk as it is.
      if (applied <= last.lsn || !node.isUp || !play.mayHarm(node)) return;
      node.die("kill");
      node.disk = copy;
      node.held = undefined;
      node.broken = { contacts: play.membership(), must: "ClientError" };
      node.impaired = true;
      play.world.tell("**", `old-log: ${node.id} gets back its log that ended at ${last.lsn}`);
    });
    return `${node.id}, a copy is taken at ${last.lsn}`;
  },
};

/**
 * A flipped bit, or a sector of another place, in a segment that another one follows. Damage to the last batch of a
 * log cannot be told from a write that was cut: it is a copy that is lost, and nobody knows.
 */
function rotLog(node: SimNode, prng: Prng): { file: string; told: string } | undefined {
  const segments = node.disk.atRest().filter(({ path }) => path.endsWith(".segment"));
  const chosen = segments.at(-2);
  if (chosen === undefined || chosen.bytes < 4 * sectorBytes) return undefined;
  const at = prng.integer(1, chosen.bytes);
  const isMisdirected = prng.chance(0.3);
  node.disk.damage(chosen.path, (bytes) => {
    if (!isMisdirected) bytes[at]! ^= 1 << prng.integer(0, 8);
    else bytes.copyWithin(at, 0, sectorBytes);
    return bytes;
  });
  return { file: chosen.path, told: `${isMisdirected ? "a write went to" : "a bit at"} ${at}` };
}

function bothWays(a: SimNode, b: SimNode): readonly (readonly [SimNode, SimNode])[] {
  return [
    [a, b],
    [b, a],
  ];
}
