/**
 * Reading and writing fixed-width fields in byte arrays. Big-endian, as every format of ours; SQLite's own formats
 * have their codecs in `wal/`.
 *
 * ByteReader throws ProtocolError when the bytes end early: the caller knows where they came from and translates.
 */

import { ProtocolError } from "./errors.ts";

// A text may begin with U+FEFF: it stays.
const utf8Decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Offset of the next byte to read. */
  #at = 0;

  /** Keeps a view of `bytes`; so do the slices it returns. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.byteLength - this.#at;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  /** A 64-bit field that must be a safe integer. */
  u64(): number {
    const at = this.#take(8);
    const value = this.#view.getUint32(at) * 0x1_0000_0000 + this.#view.getUint32(at + 4);
    if (!Number.isSafeInteger(value)) throw new ProtocolError("integer field out of range");
    return value;
  }

  f64(): number {
    return this.#view.getFloat64(this.#take(8));
  }

  /** A view, not a copy. */
  bytes(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Length as u32, then UTF-8. */
  text(): string {
    const bytes = this.bytes(this.u32());
    try {
      return utf8Decoder.decode(bytes);
    } catch (cause) {
      throw new ProtocolError("text field is not UTF-8", { cause });
    }
  }

  #take(length: number): number {
    if (length > this.left) {
      throw new ProtocolError(
        `bytes end early: wanted ${length} at ${this.#at}, have ${this.left}`,
      );
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

/** Grows as needed. `finish` gives a view of exactly what was written. */
export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  u8(value: number): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#grow(2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#grow(4);
    this.#view.setUint32(at, value);
    return this;
  }

  u64(value: number): this {
    const at = this.#grow(8);
    this.#view.setUint32(at, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(at + 4, value >>> 0);
    return this;
  }

  f64(value: number): this {
    const at = this.#grow(8);
    this.#view.setFloat64(at, value);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#grow(value.byteLength);
    this.#bytes.set(value, at);
    return this;
  }

  text(value: string): this {
    const bytes = utf8Encoder.encode(value);
    return this.u32(bytes.byteLength).bytes(bytes);
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  #grow(length: number): number {
    const at = this.#at;
    const wanted = at + length;
    if (wanted > this.#bytes.byteLength) {
      const bytes = new Uint8Array(Math.max(wanted, this.#bytes.byteLength * 2));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    this.#at = wanted;
    return at;
  }
}
