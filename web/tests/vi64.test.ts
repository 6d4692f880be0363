import assert from "node:assert/strict";
import { test } from "node:test";
import { Violation } from "../src/moqt/error";
import { Reader, VI64_MAX, Writer } from "../src/moqt/vi64";
import { hex, toHex } from "./support/fake_relay";

const EXAMPLES: [string, bigint][] = [
  ["25", 37n],
  ["8025", 37n],
  ["bbbd", 15_293n],
  ["ed7f3e7d", 226_442_877n],
  ["faa1a0e403d8", 2_893_212_287_960n],
  ["fc8998abc66bc0", 151_288_809_941_952n],
  ["fefa318fa8e3ca11", 70_423_237_261_249_041n],
  ["ffffffffffffffffff", VI64_MAX],
];

test("the draft's examples read as the numbers they are", () => {
  for (const [bytes, number] of EXAMPLES) assert.equal(new Reader(hex(bytes)).vi64(), number, bytes);
});

test("every number at the edge of a length is written shortest and read back", () => {
  for (let bits = 7n; bits <= 63n; bits += 7n) {
    for (const number of [(1n << bits) - 1n, 1n << bits]) {
      const bytes = new Writer().vi64(number).finish();
      const length = number < 1n << 56n ? Math.max(1, Math.ceil(number.toString(2).length / 7)) : 9;
      assert.equal(bytes.length, length, toHex(bytes));
      assert.equal(new Reader(bytes).vi64(), number);
    }
  }
  assert.throws(() => new Writer().vi64(VI64_MAX + 1n), RangeError);
});

test("a number that is cut off is a violation", () => {
  for (const bytes of ["", "80", "ff00", "fe00000000000"]) assert.throws(() => new Reader(hex(bytes)).vi64(), Violation);
});
