/** What has arrived of one group: whole frames, frames in pieces, and where the group ends. Pure. */
import type { Erasure } from "./erasure";
import { join, Layout } from "./fragment";
import type { FragmentHeader, Properties } from "./loc";

/** Last fragments of frames nothing else is known of; with more, the newest is dropped. */
const ORPHANS_MAX = 16;
/** What an object costs of the memory budget besides its payload, and the place of one that has not come yet. */
const OBJECT_COST = 96;
const PLACE_COST = 32;

/** One object on its way into a group. */
export interface Piece {
  readonly object: number;
  readonly properties: Properties;
  readonly payload: Uint8Array;
  readonly arrived: number;
}

/** What became of a piece. */
export type Placed =
  | "new"
  | "duplicate"
  /** Of a frame that began before the point from which frames are still wanted. */
  | "tooLate"
  /** Contradicts itself or what is there. */
  | "contradiction";

function costOf(piece: Piece): number {
  return piece.payload.length + OBJECT_COST;
}

interface Pieces {
  readonly layout: Layout;
  /** By index while open; empty until the first comes. Bytes once joined. */
  readonly blocks: ((Uint8Array | undefined)[] | Uint8Array)[];
  blocksJoined: number;
  fragmentsRebuilt: number;
}

/** One frame of a group, whole or in pieces. */
export class Unit {
  arrived: number;
  /** Memory held. */
  bytes: number;

  constructor(
    /** Of the object that came first. */
    readonly properties: Properties,
    arrived: number,
    bytes: number,
    readonly body: Uint8Array | Pieces,
  ) {
    this.arrived = arrived;
    this.bytes = bytes;
  }

  /** Objects of the frame, data and parity. */
  get objectCount(): number {
    return this.body instanceof Uint8Array ? 1 : this.body.layout.objectCount;
  }

  /** Number of the frame in its group, where an object says so. */
  get number(): number | undefined {
    return this.properties.fragment?.frame;
  }

  get isComplete(): boolean {
    return this.body instanceof Uint8Array || this.body.blocksJoined === this.body.layout.blocks;
  }

  /** The whole frame; `undefined` while pieces are missing. */
  frame(): Uint8Array | undefined {
    if (this.body instanceof Uint8Array) return this.body;
    const { blocks, layout } = this.body;
    if (!this.isComplete) return undefined;
    const [only] = blocks;
    if (blocks.length === 1 && only instanceof Uint8Array) return only;
    const frame = new Uint8Array(layout.frameBytes);
    blocks.forEach((block, number) => frame.set(block as Uint8Array, layout.blockRange(number)[0]));
    return frame;
  }

  /** How many fragments came out of parity. */
  get fragmentsRebuilt(): number {
    return this.body instanceof Uint8Array ? 0 : this.body.fragmentsRebuilt;
  }

  /**
   * Offsets of objects whose arrival would complete the frame: of each open block, the first missing ones, as many as are
   * needed. `undefined`: too many of them are not wanted any more, the frame is lost.
   */
  missing(isWanted: (offset: number) => boolean): number[] | undefined {
    if (this.body instanceof Uint8Array) return [];
    const { layout, blocks } = this.body;
    const offsets: number[] = [];
    for (const [number, slots] of blocks.entries()) {
      if (slots instanceof Uint8Array) continue;
      const dataCount = layout.dataCount(number) ?? 0;
      let needed = dataCount - slots.reduce((count, slot) => count + (slot ? 1 : 0), 0);
      for (let index = 0; index < dataCount + layout.parityCount && needed > 0; index++) {
        const offset = layout.objectOffset(number, index);
        if (slots[index] || !isWanted(offset)) continue;
        offsets.push(offset);
        needed -= 1;
      }
      if (needed > 0) return undefined;
    }
    return offsets;
  }
}

/** Puts a fragment in its place, and the block together once it can be. */
function placeFragment(pieces: Pieces, header: FragmentHeader, payload: Uint8Array, erasure: Erasure): Placed {
  if (!pieces.layout.holds(header, payload.length)) return "contradiction";
  const slots = pieces.blocks[header.block];
  if (!slots) return "contradiction";
  if (slots instanceof Uint8Array) return "duplicate";
  if (slots.length === 0) slots.length = header.dataCount + header.parityCount;
  if (slots[header.index]) return "duplicate";
  slots[header.index] = payload;
  // Holes of a sparse array are skipped.
  const there = slots.reduce((count: number) => count + 1, 0);
  const joined = there < header.dataCount ? undefined : join(erasure, pieces.layout, header.block, [...slots]);
  if (joined) {
    pieces.blocksJoined += 1;
    pieces.fragmentsRebuilt += joined.fragmentsRebuilt;
    pieces.blocks[header.block] = joined.bytes;
  }
  return "new";
}

/** One group. */
export class Group {
  /** Frames by their first object, ascending. They do not overlap. */
  #units: { readonly first: number; readonly unit: Unit }[] = [];
  /** Fragments that do not tell which frame they belong to, by object. */
  readonly #orphans = new Map<number, Piece>();
  /** Number of objects, once known. */
  end: number | undefined;
  /** When the first object came. */
  arrived: number | undefined;
  /** Largest object that came, plus one. */
  seenEnd = 0;
  /** Memory held. */
  bytes = 0;

  /** Takes an object. Frames that begin before `wantedFrom` are too late. */
  place(piece: Piece, wantedFrom: number, erasure: Erasure): Placed {
    const header = piece.properties.fragment;
    const placed = header ? this.#placeFragment(piece, header, wantedFrom, erasure) : this.#placeWhole(piece);
    if (placed === "new") {
      this.arrived ??= piece.arrived;
      this.seenEnd = Math.max(this.seenEnd, piece.object + 1);
    }
    return placed;
  }

  #placeWhole(piece: Piece): Placed {
    const over = this.#unitOver(piece.object);
    if (over) return over.first === piece.object ? "duplicate" : "contradiction";
    const unit = new Unit(piece.properties, piece.arrived, costOf(piece), piece.payload);
    this.bytes += unit.bytes;
    this.#insert(piece.object, unit);
    return "new";
  }

  #placeFragment(piece: Piece, header: FragmentHeader, wantedFrom: number, erasure: Erasure): Placed {
    let layout: Layout | undefined;
    try {
      layout = Layout.ofFragment(header, piece.properties.marking?.endsFrame ?? false, piece.payload.length);
    } catch {
      return "contradiction";
    }
    const over = this.#unitOver(piece.object);
    if (over) return this.#placeIn(over.first, over.unit, piece, header, erasure);
    if (!layout) return this.#keepOrphan(piece);
    const first = piece.object - layout.objectOffset(header.block, header.index);
    if (first < 0) return "contradiction";
    if (first < wantedFrom) return "tooLate";
    const end = first + layout.objectCount;
    if (this.#unitOver(first) || this.#units.some((other) => other.first >= first && other.first < end)) {
      return "contradiction";
    }
    const blocks = Array.from({ length: layout.blocks }, () => []);
    const unit = new Unit(piece.properties, piece.arrived, layout.objectCount * PLACE_COST, {
      layout,
      blocks,
      blocksJoined: 0,
      fragmentsRebuilt: 0,
    });
    this.bytes += unit.bytes;
    this.#insert(first, unit);
    const placed = this.#placeIn(first, unit, piece, header, erasure);
    this.#adoptOrphans(first, end, unit, erasure);
    return placed;
  }

  #placeIn(first: number, unit: Unit, piece: Piece, header: FragmentHeader, erasure: Erasure): Placed {
    const pieces = unit.body;
    if (pieces instanceof Uint8Array) return "contradiction";
    const isOfFrame =
      first + pieces.layout.objectOffset(header.block, header.index) === piece.object &&
      unit.properties.fragment?.frame === header.frame &&
      unit.properties.timestamp === piece.properties.timestamp;
    if (!isOfFrame) return "contradiction";
    unit.arrived = Math.min(unit.arrived, piece.arrived);
    const placed = placeFragment(pieces, header, piece.payload, erasure);
    if (placed === "new") {
      unit.bytes += costOf(piece);
      this.bytes += costOf(piece);
    }
    return placed;
  }

  #keepOrphan(piece: Piece): Placed {
    if (this.#orphans.has(piece.object)) return "duplicate";
    if (this.#orphans.size >= ORPHANS_MAX) return "contradiction";
    this.bytes += costOf(piece);
    this.#orphans.set(piece.object, piece);
    return "new";
  }

  #adoptOrphans(first: number, end: number, unit: Unit, erasure: Erasure): void {
    const adopted = [...this.#orphans.values()].filter(({ object }) => object >= first && object < end);
    for (const piece of adopted.sort((a, b) => a.object - b.object)) {
      this.#orphans.delete(piece.object);
      this.bytes -= costOf(piece);
      if (piece.properties.fragment) this.#placeIn(first, unit, piece, piece.properties.fragment, erasure);
    }
  }

  /** The frame that this object belongs to. */
  #unitOver(object: number): { readonly first: number; readonly unit: Unit } | undefined {
    const entry = this.#units.findLast(({ first }) => first <= object);
    return entry && object - entry.first < entry.unit.objectCount ? entry : undefined;
  }

  #insert(first: number, unit: Unit): void {
    const before = this.#units.findLastIndex((other) => other.first < first);
    this.#units.splice(before + 1, 0, { first, unit });
  }

  /** The frame that begins with this object. */
  unit(object: number): Unit | undefined {
    return this.#units.find(({ first }) => first === object)?.unit;
  }

  /** The first frame that begins at this object or later. */
  nextUnit(object: number): { readonly first: number; readonly unit: Unit } | undefined {
    return this.#units.find(({ first }) => first >= object);
  }

  /** Drops the frames before this object. */
  forgetBefore(object: number): void {
    while (this.#units[0] && this.#units[0].first < object) {
      this.bytes -= this.#units[0].unit.bytes;
      this.#units.shift();
    }
    for (const [key, piece] of this.#orphans) {
      if (key >= object) continue;
      this.bytes -= costOf(piece);
      this.#orphans.delete(key);
    }
  }

  /** True when nothing is known of the group. */
  get isEmpty(): boolean {
    return this.arrived === undefined;
  }
}
