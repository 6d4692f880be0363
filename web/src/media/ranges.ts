/** Locations that need not be waited for. Pure. */
import { after, before, compare, earlier, isBefore, later, type Location } from "./location";

/** Both ends included; object `GROUP_END` is the end of a group. */
export interface Range {
  readonly start: Location;
  readonly end: Location;
}

/** Most ranges kept; with more, the oldest are forgotten and waited for like any other. */
const RANGES_MAX = 256;

/** A set of ranges. */
export class Ranges {
  #ranges: Range[] = [];

  add(start: Location, end: Location): void {
    if (isBefore(end, start)) return;
    let [from, to] = [start, end];
    this.#ranges = this.#ranges.filter((other) => {
      const touches = compare(other.start, after(to)) <= 0 && compare(from, after(other.end)) <= 0;
      if (touches) {
        from = earlier(from, other.start);
        to = later(to, other.end);
      }
      return !touches;
    });
    if (this.#ranges.length >= RANGES_MAX) this.#ranges.shift();
    this.#ranges.push({ start: from, end: to });
  }

  /** The last location of the range that this one is in. */
  endOf(location: Location): Location | undefined {
    return this.#ranges.find(({ start, end }) => compare(start, location) <= 0 && compare(location, end) <= 0)?.end;
  }

  has(location: Location): boolean {
    return this.endOf(location) !== undefined;
  }

  /** Forgets what lies before. */
  forgetBefore(location: Location): void {
    if (this.#ranges.length > 0) this.#ranges = this.#ranges.filter(({ end }) => compare(end, location) >= 0);
  }

  /** The parts from `start` to `end` that are in no range here, in order. */
  subtractFrom(start: Location, end: Location): Range[] {
    const overlapping = this.#ranges
      .filter((range) => compare(range.start, end) <= 0 && compare(start, range.end) <= 0)
      .sort((a, b) => compare(a.start, b.start));
    const rest: Range[] = [];
    let from = start;
    for (const range of overlapping) {
      const last = before(range.start);
      if (isBefore(from, range.start) && last) rest.push({ start: from, end: last });
      from = later(from, after(range.end));
    }
    if (compare(from, end) <= 0 && !this.has(from)) rest.push({ start: from, end });
    return rest;
  }
}
