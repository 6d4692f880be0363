/** A stream's bytes, asked for in the sizes that fields have. */
import { Violation } from "./error";
import type { FieldSource } from "./object";
import { vi64Length } from "./vi64";

/**
 * Reads a `ReadableStream` field by field. Holds no more than one chunk beyond what was asked for, so that QUIC's
 * flow control reaches the sender. The end of the stream in the middle of a field is a {@link Violation}.
 */
export class ByteStream implements FieldSource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunk = new Uint8Array(0);

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  async isAtEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  async byte(): Promise<number> {
    return (await this.bytes(1))[0] ?? 0;
  }

  /** `length` bytes: a view when they came in one chunk. */
  async bytes(length: number): Promise<Uint8Array> {
    if (length === 0) return new Uint8Array(0);
    await this.#some();
    if (this.#chunk.length >= length) return this.#take(length);
    // Grows with what has come: a peer that announces much and sends little costs little.
    const parts: Uint8Array[] = [];
    let missing = length;
    while (missing > 0) {
      await this.#some();
      const part = this.#take(Math.min(missing, this.#chunk.length));
      parts.push(part);
      missing -= part.length;
    }
    const whole = new Uint8Array(length);
    let at = 0;
    for (const part of parts) {
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  async vi64(): Promise<bigint> {
    const first = await this.byte();
    const length = vi64Length(first);
    const rest = await this.bytes(length - 1);
    let value = length > 7 ? 0n : BigInt(first & (0xff >> length));
    for (const byte of rest) value = (value << 8n) | BigInt(byte);
    return value;
  }

  /** Tells the sender to stop. */
  cancel(code: number): void {
    // The stream may be over already: nothing to tell then.
    this.#reader.cancel(resetReason(code)).catch(() => {});
  }

  async #some(): Promise<void> {
    if (!(await this.#fill())) throw new Violation("a stream ends in the middle of a field");
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.length === 0) {
      const { done, value } = await this.#reader.read();
      if (done) return false;
      this.#chunk = value as Uint8Array<ArrayBuffer>;
    }
    return true;
  }

  #take(length: number): Uint8Array {
    const taken = this.#chunk.subarray(0, length);
    this.#chunk = this.#chunk.subarray(length);
    return taken;
  }
}

/** How WebTransport wants a reset's code; elsewhere (tests) a plain error serves. */
export function resetReason(code: number): Error {
  if (typeof WebTransportError === "undefined") return new Error(`stream code ${code}`);
  try {
    return new WebTransportError("", { source: "stream", streamErrorCode: code });
  } catch {
    // Chromium (156 still) has the constructor of an older draft, with everything in one dictionary.
    const Older = WebTransportError as unknown as new (init: { streamErrorCode: number }) => Error;
    return new Older({ streamErrorCode: code });
  }
}
