/**
 * Term and vote of this node: what it must never forget, or it would vote twice in a term. File `hard-state`, two
 * slots of 512 bytes at offsets 0 and 4096, so that no sector or page holds both.
 *
 *   offset  size  field, within a slot
 *        0     8  magic "HARDSTAT"
 *        8     4  format version, now 1
 *       12     4  crc32 of bytes 0..11 and of 16..511
 *       16     8  sequence: the slot with the higher one wins
 *       24     8  term
 *       32     1  born: 0 or 1
 *       33     …  vote: size u32, then the node's name; size 0 means no vote. Zeros up to 512.
 *
 * A change is written to one slot and synced, then to the other and synced. So at any moment at most one slot is in
 * the writing, and at rest both say the same: a slot that fails its checksum is a write that was cut, or a damaged
 * copy, and in either case the other one holds what was promised. With one slot written per change the two could not
 * be told apart, and a flipped bit in the newer one would bring back an old vote. The price is a second sync per
 * change of term or vote, which are rare.
 *
 * Both slots broken: CorruptionError. The node may have voted for anyone and must come back as a new one.
 */

import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { ByteReader, ByteWriter } from "../base/bytes.ts";
import { CorruptionError, ProtocolError } from "../base/errors.ts";
import type { Disk, DiskFile } from "../host/disk.ts";
import type { HardState } from "../raft/ready.ts";
import { type NodeId, nodeIdPattern, type Term } from "../vocabulary.ts";

const slotBytes = 512;
const slotOffsets = [0, 4096] as const;
const magic = new TextEncoder().encode("HARDSTAT");
const version = 1;
const unborn: HardState = { term: 0 as Term, vote: undefined, born: false };

type Slot = { readonly sequence: number; readonly state: HardState };

export class HardStateFile {
  readonly #file: DiskFile;
  /** What both slots say. */
  #state: HardState;
  /** Sequence of it. Rises by one per change. */
  #sequence: number;

  private constructor(file: DiskFile, { sequence, state }: Slot) {
    this.#file = file;
    this.#state = state;
    this.#sequence = sequence;
  }

  /** A new file: term 0, no vote, not born. Its name is not durable yet. */
  static async create(disk: Disk, path: string): Promise<HardStateFile> {
    const made = new HardStateFile(await disk.open(path, "create"), { sequence: 0, state: unborn });
    await made.#writeSlots(0, unborn);
    return made;
  }

  /** Whether a file holds anything but what `create` writes. */
  static async isUsed(disk: Disk, path: string): Promise<boolean> {
    const file = await disk.open(path, "open");
    try {
      const slots = [await readSlot(file, 0), await readSlot(file, 1)];
      return slots.some((slot) => slot !== undefined && slot.sequence > 0);
    } finally {
      await file.close();
    }
  }

  /** Reads the state and repairs the file, so that both slots are durable and equal afterwards. */
  static async open(disk: Disk, path: string): Promise<HardStateFile> {
    const file = await disk.open(path, "open");
    const first = await readSlot(file, 0);
    const second = await readSlot(file, 1);
    const winner = second === undefined || (first?.sequence ?? -1) >= second.sequence ? 0 : 1;
    const slot = winner === 0 ? first : second;
    if (slot === undefined) {
      const found = versionOf(await file.read(0, slotBytes));
      await file.close();
      if (found > version) {
        throw new CorruptionError(
          `${path} at offset 8: version ${found}, this program knows ${version}; start the newer program again`,
        );
      }
      throw new CorruptionError(
        `${path}: the slots at offset 0 and 4096 both fail their checksum; term and vote are lost: ` +
          "move the data directory aside and start this node anew, so that it joins as an unborn one",
      );
    }
    const opened = new HardStateFile(file, slot);
    // The winner first: what we read may be in the kernel's cache and not on the disk (a sync that failed before this
    // process started is not reported again), and the other slot is the only good one until it is.
    await opened.#writeSlots(winner, slot.state);
    return opened;
  }

  get state(): HardState {
    return this.#state;
  }

  /** Durable when it resolves. One call at a time; not again after a StorageError. */
  async write(state: HardState): Promise<void> {
    assert(state.term >= this.#state.term, "the term of a node never falls");
    this.#sequence += 1;
    await this.#writeSlots(0, state);
    this.#state = state;
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #writeSlots(first: 0 | 1, state: HardState): Promise<void> {
    const bytes = encodeSlot({ sequence: this.#sequence, state });
    for (const at of [slotOffsets[first], slotOffsets[first === 0 ? 1 : 0]]) {
      await this.#file.write(at, [bytes]);
      await this.#file.syncData();
    }
  }
}

async function readSlot(file: DiskFile, index: 0 | 1): Promise<Slot | undefined> {
  return decodeSlot(await file.read(slotOffsets[index], slotBytes));
}

/** The 512 bytes of one slot. */
export function encodeSlot({ sequence, state }: Slot): Uint8Array {
  const { term, vote, born } = state;
  const written = new ByteWriter(slotBytes)
    .bytes(magic)
    .u32(version)
    .u32(0)
    .u64(sequence)
    .u64(term)
    .u8(born ? 1 : 0)
    .text(vote ?? "")
    .finish();
  assert(written.byteLength <= slotBytes, "hard state does not fit its slot");
  const bytes = new Uint8Array(slotBytes);
  bytes.set(written);
  new DataView(bytes.buffer).setUint32(12, checksum(bytes));
  return bytes;
}

/** Undefined when the bytes are no valid slot. */
export function decodeSlot(bytes: Uint8Array): Slot | undefined {
  if (bytes.byteLength !== slotBytes) return undefined;
  const reader = new ByteReader(bytes);
  if (!reader.bytes(magic.byteLength).every((byte, i) => byte === magic[i])) return undefined;
  if (reader.u32() !== version || reader.u32() !== checksum(bytes)) return undefined;
  try {
    const sequence = reader.u64();
    const term = reader.u64() as Term;
    const born = reader.u8() !== 0;
    const vote = reader.text();
    if (vote !== "" && !nodeIdPattern.test(vote)) return undefined;
    return { sequence, state: { term, vote: vote === "" ? undefined : (vote as NodeId), born } };
  } catch (error) {
    if (error instanceof ProtocolError) return undefined;
    throw error;
  }
}

/** What a slot says its version is; 0 when it is no whole slot of any version. */
function versionOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const isWhole = bytes.byteLength === slotBytes && view.getUint32(12) === checksum(bytes);
  return isWhole ? view.getUint32(8) : 0;
}

function checksum(bytes: Uint8Array): number {
  return crc32(bytes.subarray(16), crc32(bytes.subarray(0, 12)));
}
