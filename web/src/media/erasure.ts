/**
 * Reed-Solomon over GF(2^8), polynomial 0x11D, systematic Vandermonde: the code of the crate reed-solomon-erasure
 * (docs/wire.md, "Media datagrams"). Pure.
 */

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
/** Products of all pairs: one look-up for each byte of parity. */
const PRODUCT = new Uint8Array(65536);

let power = 1;
for (let i = 0; i < 255; i++) {
  EXP[i] = EXP[i + 255] = power;
  LOG[power] = i;
  power = power & 0x80 ? ((power << 1) ^ 0x11d) & 0xff : power << 1;
}
for (let a = 1; a < 256; a++) {
  for (let b = 1; b < 256; b++) PRODUCT[(a << 8) | b] = EXP[(LOG[a] ?? 0) + (LOG[b] ?? 0)] ?? 0;
}

function times(a: number, b: number): number {
  return PRODUCT[(a << 8) | b] ?? 0;
}

function inverseOf(a: number): number {
  return EXP[255 - (LOG[a] ?? 0)] ?? 0;
}

type Matrix = Uint8Array<ArrayBuffer>[];

/** Row r, column c: r to the power of c. */
function vandermonde(rows: number, columns: number): Matrix {
  return Array.from({ length: rows }, (_, r) => {
    const row = new Uint8Array(columns);
    let value = 1;
    for (let c = 0; c < columns; c++) {
      row[c] = value;
      value = times(value, r);
    }
    return row;
  });
}

/** `target += factor * source`. */
function addTimes(target: Uint8Array, source: Uint8Array, factor: number): void {
  const products = PRODUCT.subarray(factor << 8, (factor << 8) + 256);
  for (let i = 0; i < source.length; i++) {
    target[i] = (target[i] ?? 0) ^ (products[source[i] ?? 0] ?? 0);
  }
}

/** By Gauss and Jordan; `undefined` for a singular matrix, which no choice of rows here is. */
function inverted(matrix: Matrix): Matrix | undefined {
  const size = matrix.length;
  const work = matrix.map((row, r) => {
    const wide = new Uint8Array(size * 2);
    wide.set(row);
    wide[size + r] = 1;
    return wide;
  });
  for (let c = 0; c < size; c++) {
    const pivot = work.findIndex((row, r) => r >= c && row[c] !== 0);
    const row = work[pivot];
    if (!row) return undefined;
    work[pivot] = work[c] as Uint8Array<ArrayBuffer>;
    work[c] = row;
    const factor = inverseOf(row[c] ?? 0);
    for (let i = c; i < size * 2; i++) row[i] = times(row[i] ?? 0, factor);
    work.forEach((other, r) => {
      if (r !== c && other[c]) addTimes(other, row, other[c] ?? 0);
    });
  }
  return work.map((row) => row.subarray(size));
}

function product(a: Matrix, b: Matrix): Matrix {
  return a.map((row) => {
    const result = new Uint8Array(b[0]?.length ?? 0);
    row.forEach((factor, i) => addTimes(result, b[i] ?? new Uint8Array(0), factor));
    return result;
  });
}

/** Rows of all fragments of a block: the identity, then parity. */
function encodingMatrix(dataCount: number, parityCount: number): Matrix {
  const powers = vandermonde(dataCount + parityCount, dataCount);
  const top = inverted(powers.slice(0, dataCount));
  return top ? product(powers, top) : powers;
}

/** Matrices kept: making one costs k^3 steps. */
const CODES_MAX = 8;

/** Makes parity and puts lost fragments back. Remembers the codes it has used last. */
export class Erasure {
  readonly #codes = new Map<number, Matrix>();

  /** Parity of `data`, all of `bytes` bytes once shorter ones are filled up with zeros. */
  parity(data: readonly Uint8Array[], parityCount: number, bytes: number): Uint8Array<ArrayBuffer>[] {
    const rows = this.#code(data.length, parityCount).slice(data.length);
    return rows.map((row) => {
      const parity = new Uint8Array(bytes);
      data.forEach((shard, i) => addTimes(parity, shard, row[i] ?? 0));
      return parity;
    });
  }

  /**
   * The data fragments of a block from what has arrived, by index: data first, then parity. `undefined` while fewer
   * than `dataCount` are there. A rebuilt fragment has `bytes` bytes.
   */
  rebuild(arrived: readonly (Uint8Array | undefined)[], dataCount: number, bytes: number): Uint8Array[] | undefined {
    const data = arrived.slice(0, dataCount);
    if (data.every((shard) => shard !== undefined)) return data;
    const present: number[] = [];
    arrived.forEach((shard, i) => {
      if (shard && present.length < dataCount) present.push(i);
    });
    if (present.length < dataCount) return undefined;
    const code = this.#code(dataCount, arrived.length - dataCount);
    const decoding = inverted(present.map((i) => code[i] as Uint8Array<ArrayBuffer>));
    if (!decoding) return undefined;
    return data.map((shard, i) => {
      if (shard) return shard;
      const rebuilt = new Uint8Array(bytes);
      present.forEach((from, c) => addTimes(rebuilt, arrived[from] ?? rebuilt, decoding[i]?.[c] ?? 0));
      return rebuilt;
    });
  }

  #code(dataCount: number, parityCount: number): Matrix {
    const key = (dataCount << 8) | parityCount;
    const code = this.#codes.get(key) ?? encodingMatrix(dataCount, parityCount);
    // The one used last goes to the end.
    this.#codes.delete(key);
    this.#codes.set(key, code);
    for (const oldest of this.#codes.keys()) {
      if (this.#codes.size <= CODES_MAX) break;
      this.#codes.delete(oldest);
    }
    return code;
  }
}
