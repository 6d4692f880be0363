/** Where an object stands in its track, in plain numbers: the ids of docs/wire.md stay far below 2^53. Pure. */
import type { Location as WireLocation } from "../moqt";

/** Group first. */
export interface Location {
  readonly group: number;
  readonly object: number;
}

/** As an object id: the end of the group, wherever that is. */
export const GROUP_END = Number.MAX_SAFE_INTEGER;
/** Largest group or object id that is believed, so that ids can be counted up without a thought. */
export const ID_MAX = 2 ** 52;

/** A location. */
export function at(group: number, object: number): Location {
  return { group, object };
}

/** Negative when `a` stands before `b`. */
export function compare(a: Location, b: Location): number {
  return a.group - b.group || a.object - b.object;
}

export function isBefore(a: Location, b: Location): boolean {
  return compare(a, b) < 0;
}

export function earlier(a: Location, b: Location): Location {
  return compare(a, b) <= 0 ? a : b;
}

export function later(a: Location, b: Location): Location {
  return compare(a, b) >= 0 ? a : b;
}

/** The location that follows; past the last object of a group comes the next group. */
export function after(location: Location): Location {
  return location.object >= GROUP_END - 1 ? at(location.group + 1, 0) : at(location.group, location.object + 1);
}

/** The location before; `undefined` before the very first. */
export function before(location: Location): Location | undefined {
  if (location.object > 0) return at(location.group, location.object - 1);
  return location.group > 0 ? at(location.group - 1, GROUP_END) : undefined;
}

/** From the wire; `undefined` for ids that are not believed. */
export function fromWire({ group, object }: WireLocation): Location | undefined {
  const location = at(Number(group), Number(object));
  return location.group > ID_MAX || location.object > ID_MAX ? undefined : location;
}

/** To the wire. */
export function toWire({ group, object }: Location): WireLocation {
  return { group: BigInt(group), object: BigInt(object) };
}
