/** Key-Value-Pairs (draft 1.4.3): types ascend as deltas; an even type has a number, an odd one has bytes. */
import { Violation } from "./error";
import { Reader, VI64_MAX, Writer } from "./vi64";

/** Most bytes of an odd type's value. */
export const VALUE_BYTES_MAX = 0xffff;

/** One pair. */
export interface KeyValuePair {
  readonly type: bigint;
  readonly value: bigint | Uint8Array;
}

/** Reads pairs to the end of `bytes`; their order is kept. */
export function readKeyValuePairs(bytes: Uint8Array): KeyValuePair[] {
  const reader = new Reader(bytes);
  const pairs: KeyValuePair[] = [];
  let type = 0n;
  while (reader.left > 0) {
    type += reader.vi64();
    if (type > VI64_MAX) throw new Violation("a key-value pair's type is beyond 64 bits");
    const value = type % 2n === 0n ? reader.vi64() : reader.sized(VALUE_BYTES_MAX, "a key-value pair's value");
    pairs.push({ type, value });
  }
  return pairs;
}

/** Writes pairs, which must ascend by type. */
export function writeKeyValuePairs(writer: Writer, pairs: readonly KeyValuePair[]): void {
  let previous = 0n;
  for (const { type, value } of pairs) {
    writer.vi64(type - previous);
    previous = type;
    if (typeof value === "bigint") writer.vi64(value);
    else writer.sized(value);
  }
}
