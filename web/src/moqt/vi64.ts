/**
 * Bytes and variable-length integers (draft 1.4.1): as many leading 1 bits in the first byte as bytes follow,
 * 1 to 9 bytes, every 64-bit number. Numbers are bigint, since group and request ids use all 64 bits.
 */
import { SessionErrorCode, Violation } from "./error";

/** The largest number there is. */
export const VI64_MAX = 0xffff_ffff_ffff_ffffn;

/** Bytes of a number whose first byte is `first`. */
export function vi64Length(first: number): number {
  return Math.min(Math.clz32(~(first << 24)), 8) + 1;
}

/** Bytes of a number in its shortest form. */
export function vi64Bytes(value: number): number {
  let length = 1;
  for (let rest = Math.floor(value / 128); rest >= 1 && length < 9; rest = Math.floor(rest / 128)) length += 1;
  return length;
}

/** Reads a known piece of bytes, front to back. What is missing is a {@link Violation}, with the code given. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #code: bigint;
  #at = 0;

  constructor(bytes: Uint8Array, code: bigint = SessionErrorCode.protocolViolation) {
    this.#bytes = bytes;
    this.#code = code;
  }

  /** Bytes not read yet. */
  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** The next byte. */
  byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new Violation("a message ends in the middle of a field", this.#code);
    this.#at += 1;
    return byte;
  }

  /** The next `length` bytes: a view, not a copy. */
  bytes(length: number): Uint8Array {
    if (length > this.left) throw new Violation("a length points beyond the end of its message", this.#code);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** Everything that is left: a view. */
  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  /** A number. */
  vi64(): bigint {
    const first = this.byte();
    const length = vi64Length(first);
    // Numbers below 2^49 stay doubles on the way: bigint arithmetic would be most of a datagram's cost.
    if (length <= 7) {
      let value = first & (0xff >> length);
      for (let i = 1; i < length; i++) value = value * 256 + this.byte();
      return BigInt(value);
    }
    let value = 0n;
    for (let i = 1; i < length; i++) value = (value << 8n) | BigInt(this.byte());
    return value;
  }

  /** A number that counts things of this message, so never a large one. */
  count(): number {
    const value = this.vi64();
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new Violation("a count is absurdly large");
    return Number(value);
  }

  /** A length and as many bytes: a view. `max` is the draft's limit for the field. */
  sized(max: number, what: string): Uint8Array {
    const length = this.count();
    if (length > max) throw new Violation(`${what} is longer than allowed`);
    return this.bytes(length);
  }

  /** Throws unless everything has been read. */
  end(what: string): void {
    if (this.left > 0) throw new Violation(`${what} is longer than its fields`, this.#code);
  }
}

/** Writes bytes, growing as needed. */
export class Writer {
  #bytes = new Uint8Array(64);
  #length = 0;

  /** One byte. */
  byte(value: number): this {
    this.#room(1);
    this.#bytes[this.#length++] = value;
    return this;
  }

  /** Bytes as they are. */
  bytes(bytes: Uint8Array): this {
    this.#room(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
    return this;
  }

  /** A number in its shortest form. */
  vi64(value: bigint | number): this {
    const number = BigInt(value);
    if (number < 0n || number > VI64_MAX) throw new RangeError("not a 64-bit number");
    let length = 1;
    while (length < 9 && number >> BigInt(7 * length) !== 0n) length += 1;
    this.#room(length);
    for (let i = length - 1; i >= 0; i--) {
      this.#bytes[this.#length + i] = Number((number >> BigInt(8 * (length - 1 - i))) & 0xffn);
    }
    // The leading ones; in eight bytes they fill the first, in nine it is all ones and the number follows.
    const marker = length === 1 ? 0 : length === 9 ? 0xff : (0xff00 >> (length - 1)) & 0xff;
    this.#bytes[this.#length] = (this.#bytes[this.#length] ?? 0) | marker;
    this.#length += length;
    return this;
  }

  /** A length and the bytes. */
  sized(bytes: Uint8Array): this {
    return this.vi64(bytes.length).bytes(bytes);
  }

  /** What has been written: a copy. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #room(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + more));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** UTF-8 for people: what is broken is replaced. */
export function text(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** UTF-8. */
export function utf8(text: string): Uint8Array {
  return encoder.encode(text);
}
