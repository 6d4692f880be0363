/**
 * Objects to frames: what a receiver makes of a track (docs/wire.md, "Media datagrams", "Repair").
 *
 * Objects come in any order, twice, late or never. Frames go out in decode order, each once, with the gaps between them. A
 * gap is waited for until the frame behind it has waited long enough, or until somebody says that nothing will come; then
 * it is reported and passed over. Every buffer is bounded: under pressure the oldest gap is given up first.
 *
 * Pure. Times are milliseconds of any clock that does not jump.
 */
import type { MoqtObject } from "../moqt";
import { type FrameLength, recover, type RecoveredFrame } from "./audio";
import { Erasure } from "./erasure";
import { Group, type Unit } from "./group";
import { type AudioLevel, BadProperty, decodeProperties, type FrameMarking, type Properties } from "./loc";
import { after, at, compare, earlier, fromWire, GROUP_END, isBefore, type Location } from "./location";
import { Ranges } from "./ranges";

/** Settings of a receiver's track. */
export interface ReassemblerConfig {
  /** How long a frame waits for one before it that is missing or not whole. */
  readonly waitMs: number;
  /** Payload held, bytes. More than the largest frame that is wanted. */
  readonly bytesMax: number;
  /** Groups held. */
  readonly groupsMax: number;
  /** For tracks of sound: lets earlier frames be taken out of later objects. */
  readonly frameLength: FrameLength | undefined;
  /** When a frame of sound is taken out of a later object: at once, or only when its own object will not come. */
  readonly redundancy: "atOnce" | "atLast";
}

/** For playing: a frame waits no longer than this. */
export function liveConfig(waitMs: number, frameLength?: FrameLength): ReassemblerConfig {
  return { waitMs, bytesMax: 20 * 1024 * 1024, groupsMax: 256, frameLength, redundancy: "atOnce" };
}

/** What became of an object. */
export type Inserted =
  | "new"
  /** It says where a group ends. */
  | "end"
  | "duplicate"
  /** Its frame has been given up. */
  | "late"
  /** Not a media object, or one that contradicts others. It will not be waited for. */
  | "bad"
  /** Memory is full. */
  | "dropped";

/** A frame as it was published. */
export interface ReceivedFrame {
  /** Its first object. */
  readonly location: Location;
  /** Presentation time, ticks of the timescale. */
  readonly timestamp: number;
  /** Ticks per second; `undefined`: Unix microseconds. */
  readonly timescale: number | undefined;
  readonly isKey: boolean;
  readonly marking: FrameMarking | undefined;
  readonly audioLevel: AudioLevel | undefined;
  readonly data: Uint8Array;
  /** When its first object came. */
  readonly arrived: number;
  /** How it came: by its own objects, some of them out of parity, or inside a later frame's object. */
  readonly origin: "objects" | "parity" | "redundancy";
}

/** A hole in a track. */
export interface Gap {
  readonly start: Location;
  /** First location after the gap. */
  readonly end: Location;
  /** Frames that are certainly missing here. 0 when perhaps only the news of a group's end is. */
  readonly framesAtLeast: number;
}

/** Something in the track, in decode order. */
export type Output = { readonly type: "frame"; readonly frame: ReceivedFrame } | { readonly type: "gap"; readonly gap: Gap };

/** What has happened to a track since the start. */
export interface Counters {
  /** Objects kept. */
  objects: number;
  /** Objects of those that were fetched. */
  objectsFetched: number;
  duplicates: number;
  /** Objects that came after their frame was given up. */
  late: number;
  /** Objects without sense. */
  bad: number;
  /** Objects dropped because memory was full. */
  dropped: number;
  /** Frames given out. */
  frames: number;
  framesFromParity: number;
  framesFromRedundancy: number;
  /** Frames given up, as far as is known. */
  framesLost: number;
  gaps: number;
}

/** A hole that may still be filled. */
export interface MissingRange {
  readonly start: Location;
  /** Last location; object `GROUP_END` is the end of the group, wherever that is. */
  readonly end: Location;
  /** Since when something behind it has been waiting. */
  readonly since: number;
}

/** Gaps that are remembered to tell late objects from duplicates. */
const GAPS_REMEMBERED = 64;
/** Redundant frames held. */
const REDUNDANT_MAX = 64;
/** A jump over more groups than these is taken for a new start of the publisher, not for loss. */
const GROUPS_LOST_MAX = 3000;

interface Cursor {
  readonly location: Location;
  /** Number of the next frame in its group, if nothing was miscounted. */
  readonly frame: number;
}

/** Why the cursor stands still: something behind has been waiting since then; the gap reaches to `end`. */
interface Blocked {
  readonly since: number;
  readonly end: Location;
  readonly framesAtLeast: number;
}

/** Receives one track. */
export class Reassembler {
  readonly #config: ReassemblerConfig;
  #waitMs: number;
  /** Where the next frame begins; `undefined` until the first object. */
  #cursor: Cursor | undefined;
  /** Ascending by id. */
  #groups: { readonly id: number; readonly group: Group }[] = [];
  #bytes = 0;
  /** What does not exist. */
  readonly #absent = new Ranges();
  /** What perhaps exists and will not come. */
  readonly #abandoned = new Ranges();
  readonly #givenUp: { readonly start: Location; readonly end: Location }[] = [];
  readonly #redundant = new Map<number, { readonly recovered: RecoveredFrame; readonly arrived: number }>();
  readonly #erasure = new Erasure();
  readonly #counters: Counters = {
    objects: 0,
    objectsFetched: 0,
    duplicates: 0,
    late: 0,
    bad: 0,
    dropped: 0,
    frames: 0,
    framesFromParity: 0,
    framesFromRedundancy: 0,
    framesLost: 0,
    gaps: 0,
  };

  /** Begins at the start of the group of the first object, unless {@link startAt} says otherwise. */
  constructor(config: ReassemblerConfig) {
    this.#config = config;
    this.#waitMs = config.waitMs;
  }

  /** The track begins here. Only before the first object. */
  startAt(location: Location): void {
    this.#cursor ??= { location, frame: 0 };
  }

  /** Changes how long a frame waits. */
  setWait(waitMs: number): void {
    this.#waitMs = waitMs;
  }

  /** What has happened so far. */
  counters(): Counters {
    return { ...this.#counters };
  }

  /** Memory held, bytes. */
  get bufferedBytes(): number {
    return this.#bytes;
  }

  /** Where the next frame is expected. */
  get position(): Location | undefined {
    return this.#cursor?.location;
  }

  /** An object of the track. */
  insert(now: number, object: MoqtObject, source: "live" | "fetch"): Inserted {
    const location = fromWire(object.location);
    if (!location) {
      this.#counters.bad += 1;
      return "bad";
    }
    this.#cursor ??= { location: at(location.group, 0), frame: 0 };
    const cursor = this.#cursor;
    if (object.status !== "normal") {
      this.#noteEnd(now, location);
      return "end";
    }
    if (isBefore(location, cursor.location)) return this.#countOld(location);
    if (this.#isFull(location.group)) {
      this.#counters.dropped += 1;
      return "dropped";
    }
    let properties: Properties;
    try {
      properties = decodeProperties(object.properties);
    } catch (error) {
      if (!(error instanceof BadProperty)) throw error;
      return this.#bad(location);
    }
    const { redundancy = [], ...own } = properties;
    const group = this.#groupFor(location.group);
    const bytesBefore = group.bytes;
    const wantedFrom = location.group === cursor.location.group ? cursor.location.object : 0;
    const piece = { object: location.object, properties: own, payload: object.payload, arrived: now };
    const placed = group.place(piece, wantedFrom, this.#erasure);
    this.#bytes += group.bytes - bytesBefore;
    if (object.endsGroup) {
      group.end ??= location.object + 1;
      group.arrived ??= now;
    }
    if (group.isEmpty) this.#groups = this.#groups.filter((entry) => entry.group !== group);
    switch (placed) {
      case "new":
        this.#counters.objects += 1;
        if (source === "fetch") this.#counters.objectsFetched += 1;
        this.#keepRedundancy(now, location.group, own.timestamp, redundancy);
        return "new";
      case "duplicate":
        this.#counters.duplicates += 1;
        return "duplicate";
      case "tooLate":
        this.#counters.late += 1;
        return "late";
      case "contradiction":
        return this.#bad(location);
    }
  }

  /** Nothing exists from `start` to `end`, both included: nothing is lost there, and nothing is waited for. */
  noteAbsent(start: Location, end: Location): void {
    this.#absent.add(start, end);
  }

  /** Nobody has what is missing from `start` to `end`, both included: it is lost, without waiting longer. */
  abandon(start: Location, end: Location): void {
    this.#abandoned.add(start, end);
  }

  /** The next frame or gap, `undefined` until more comes or {@link pollTimeout} passes. */
  poll(now: number): Output | undefined {
    for (;;) {
      const cursor = this.#cursor;
      if (!cursor) return undefined;
      const frame = this.#takeFrame(cursor);
      if (frame) return { type: "frame", frame };
      const hopeless = this.#giveUpHopeless(cursor);
      if (hopeless) return { type: "gap", gap: hopeless };
      if (this.#skipAbsent(cursor)) continue;
      if (this.#config.redundancy === "atOnce") {
        const redundant = this.#takeRedundant(cursor);
        if (redundant) return { type: "frame", frame: redundant };
      }
      const blocked = this.#blocked(cursor);
      if (!blocked) return undefined;
      const isPressed = this.#bytes > this.#config.bytesMax || this.#groups.length > this.#config.groupsMax;
      const abandonedEnd = this.#abandoned.endOf(cursor.location);
      if (!isPressed && !abandonedEnd && now < blocked.since + this.#waitMs) return undefined;
      const end = abandonedEnd ? earlier(blocked.end, after(abandonedEnd)) : blocked.end;
      const redundant = this.#takeRedundant(cursor);
      if (redundant) return { type: "frame", frame: redundant };
      return { type: "gap", gap: this.#giveUp(cursor, end, blocked.framesAtLeast) };
    }
  }

  /** When {@link poll} gives up a gap unless something comes before. */
  pollTimeout(): number | undefined {
    const blocked = this.#cursor && this.#blocked(this.#cursor);
    return blocked && blocked.since + this.#waitMs;
  }

  /** The holes between what has come, in order, at most `rangesMax` of them. */
  missing(rangesMax: number): MissingRange[] {
    if (!this.#cursor) return [];
    const holes: MissingRange[] = [];
    const add = (start: Location, end: Location, since: number) => {
      for (const rest of this.#absent.subtractFrom(start, end)) {
        for (const range of this.#abandoned.subtractFrom(rest.start, rest.end)) {
          if (holes.length < rangesMax) holes.push({ ...range, since });
        }
      }
    };
    let position = this.#cursor.location;
    for (const [i, { id, group }] of this.#groups.entries()) {
      if (holes.length >= rangesMax) break;
      if (position.group < id && group.arrived !== undefined) {
        add(position, at(id - 1, GROUP_END), group.arrived);
        position = at(id, 0);
      }
      position = this.#holesInGroup(id, group, position, i === this.#groups.length - 1, add);
    }
    return holes;
  }

  // ---- what comes in

  #bad(location: Location): "bad" {
    this.#counters.bad += 1;
    this.#absent.add(location, location);
    return "bad";
  }

  #groupFor(id: number): Group {
    const before = this.#groups.findLastIndex((entry) => entry.id <= id);
    const found = this.#groups[before];
    if (found?.id === id) return found.group;
    const group = new Group();
    this.#groups.splice(before + 1, 0, { id, group });
    return group;
  }

  #group(id: number): Group | undefined {
    return this.#groups.find((entry) => entry.id === id)?.group;
  }

  /** True when an object of this group cannot be taken: the caller has not polled, or one frame takes it all. */
  #isFull(id: number): boolean {
    return (
      this.#bytes > this.#config.bytesMax * 2 ||
      (this.#groups.length > this.#config.groupsMax * 2 && this.#group(id) === undefined)
    );
  }

  #countOld(location: Location): Inserted {
    const isLate = this.#givenUp.some(({ start, end }) => compare(start, location) <= 0 && isBefore(location, end));
    if (isLate) this.#counters.late += 1;
    else this.#counters.duplicates += 1;
    return isLate ? "late" : "duplicate";
  }

  /** No object exists in the group from here on. */
  #noteEnd(now: number, { group: id, object }: Location): void {
    if ((this.#cursor && id < this.#cursor.location.group) || this.#isFull(id)) return;
    const group = this.#groupFor(id);
    group.end ??= object;
    group.arrived ??= now;
  }

  #keepRedundancy(now: number, group: number, timestamp: number, redundancy: NonNullable<Properties["redundancy"]>): void {
    const { frameLength } = this.#config;
    if (!frameLength || redundancy.length === 0) return;
    const wantedFrom = this.#cursor?.location.group ?? 0;
    for (const recovered of recover(group, timestamp, redundancy, frameLength)) {
      const isWanted =
        recovered.group >= wantedFrom && !this.#group(recovered.group) && this.#redundant.size < REDUNDANT_MAX;
      if (isWanted && !this.#redundant.has(recovered.group)) this.#redundant.set(recovered.group, { recovered, arrived: now });
    }
  }

  // ---- what goes out

  /** Gives out the frame at the cursor if it is whole. */
  #takeFrame(cursor: Cursor): ReceivedFrame | undefined {
    const { group: id, object } = cursor.location;
    const unit = this.#group(id)?.unit(object);
    const data = unit?.frame();
    if (!unit || !data) return undefined;
    const { properties, fragmentsRebuilt } = unit;
    const frame: ReceivedFrame = {
      location: cursor.location,
      timestamp: properties.timestamp,
      timescale: properties.timescale,
      isKey: properties.marking?.isIndependent ?? object === 0,
      marking: properties.marking,
      audioLevel: properties.audioLevel,
      data,
      arrived: unit.arrived,
      origin: fragmentsRebuilt === 0 ? "objects" : "parity",
    };
    const number = unit.number ?? cursor.frame;
    // Frames were lost in a gap, more of them or fewer than it was taken for.
    this.#counters.framesLost = Math.max(this.#counters.framesLost + number - cursor.frame, 0);
    this.#counters.frames += 1;
    if (fragmentsRebuilt > 0) this.#counters.framesFromParity += 1;
    this.#advance(at(id, object + unit.objectCount), number + 1);
    return frame;
  }

  /** Takes the frame of sound at the cursor out of a later object. */
  #takeRedundant(cursor: Cursor): ReceivedFrame | undefined {
    const { group, object } = cursor.location;
    if (object !== 0 || this.#group(group)) return undefined;
    const kept = this.#redundant.get(group);
    if (!kept) return undefined;
    this.#redundant.delete(group);
    this.#counters.frames += 1;
    this.#counters.framesFromRedundancy += 1;
    this.#advance(at(group + 1, 0), 0);
    return {
      location: cursor.location,
      timestamp: kept.recovered.timestamp,
      // That of the carrier, which is a few groups further on.
      timescale: this.#groups.find(({ id }) => id >= group)?.group.nextUnit(0)?.unit.properties.timescale,
      isKey: true,
      marking: undefined,
      audioLevel: undefined,
      data: kept.recovered.payload,
      arrived: kept.arrived,
      origin: "redundancy",
    };
  }

  /** Gives up the frame at the cursor when too many of its missing objects will never come. */
  #giveUpHopeless(cursor: Cursor): Gap | undefined {
    const { group, object } = cursor.location;
    const unit = this.#group(group)?.unit(object);
    if (!unit || unit.missing((offset) => this.#isWanted(at(group, object + offset)))) return undefined;
    return this.#giveUp(cursor, at(group, object + unit.objectCount), 1);
  }

  /** True for objects that may still come. */
  #isWanted(location: Location): boolean {
    return !this.#absent.has(location) && !this.#abandoned.has(location);
  }

  /** Steps over the end of a group and over what does not exist. True when the cursor moved. */
  #skipAbsent(cursor: Cursor): boolean {
    const { group: id, object } = cursor.location;
    const group = this.#group(id);
    if (group?.end !== undefined && object >= group.end) {
      this.#advance(at(id + 1, 0), 0);
      return true;
    }
    const nextUnit = group?.nextUnit(object);
    if (nextUnit?.first === object) return false;
    const absentEnd = this.#absent.endOf(cursor.location);
    if (!absentEnd) return false;
    // What is here exists, whoever says that it does not.
    const nextGroup = this.#groups.find((entry) => entry.id > id);
    const nextHere = nextUnit ? at(id, nextUnit.first) : nextGroup && at(nextGroup.id, 0);
    const target = nextHere ? earlier(nextHere, after(absentEnd)) : after(absentEnd);
    if (compare(target, cursor.location) <= 0) return false;
    this.#advance(target, target.group === id ? cursor.frame : 0);
    return true;
  }

  /** What the cursor waits for; `undefined` when nothing is known of what follows. */
  #blocked(cursor: Cursor): Blocked | undefined {
    const { group: id, object } = cursor.location;
    const group = this.#group(id);
    const here = group?.unit(object);
    const searchFrom = here ? object + here.objectCount : object;
    const nextHere = group?.nextUnit(searchFrom);
    if (nextHere) {
      // The frame here is not whole, or something is missing before the next one.
      const end = at(id, here ? searchFrom : nextHere.first);
      return { since: nextHere.unit.arrived, end, framesAtLeast: 1 };
    }
    const next = this.#groups.find((entry) => entry.id > id);
    const since = next?.group.arrived;
    if (!next || since === undefined) return undefined;
    if (here) return { since, end: at(id, searchFrom), framesAtLeast: 1 };
    const between = next.id - id - 1;
    const isCertainHere = group ? group.end !== undefined && group.end > object : object === 0;
    const framesAtLeast = between > GROUPS_LOST_MAX ? 0 : between + (isCertainHere ? 1 : 0);
    return { since, end: at(next.id, 0), framesAtLeast };
  }

  #giveUp(cursor: Cursor, end: Location, framesAtLeast: number): Gap {
    const gap = { start: cursor.location, end, framesAtLeast };
    this.#counters.gaps += 1;
    this.#counters.framesLost += framesAtLeast;
    if (this.#givenUp.length >= GAPS_REMEMBERED) this.#givenUp.shift();
    this.#givenUp.push(gap);
    this.#advance(end, end.group === cursor.location.group ? cursor.frame + framesAtLeast : 0);
    return gap;
  }

  /** Moves the cursor and forgets what lies behind it. */
  #advance(location: Location, frame: number): void {
    this.#cursor = { location, frame };
    while (this.#groups[0] && this.#groups[0].id < location.group) {
      this.#bytes -= this.#groups[0].group.bytes;
      this.#groups.shift();
    }
    const first = this.#groups[0];
    if (first?.id === location.group) {
      const before = first.group.bytes;
      first.group.forgetBefore(location.object);
      this.#bytes -= before - first.group.bytes;
    }
    for (const group of this.#redundant.keys()) {
      if (group < location.group) this.#redundant.delete(group);
    }
    this.#absent.forgetBefore(location);
    this.#abandoned.forgetBefore(location);
  }

  // ---- what is missing

  /** The holes of one group from `position` on; returns where the next group is expected. */
  #holesInGroup(
    id: number,
    group: Group,
    position: Location,
    isLast: boolean,
    add: (start: Location, end: Location, since: number) => void,
  ): Location {
    let { object } = position;
    for (let next = group.nextUnit(object); next; next = group.nextUnit(object)) {
      const { first, unit } = next;
      if (first > object) add(at(id, object), at(id, first - 1), unit.arrived);
      if (!unit.isComplete) {
        // Those of the newest frame may be on their way.
        const end = isLast && group.end === undefined ? group.seenEnd : Infinity;
        this.#holesInFrame(id, first, unit, end, add);
      }
      object = first + unit.objectCount;
    }
    if (group.arrived !== undefined) {
      if (group.end !== undefined) {
        if (object < group.end) add(at(id, object), at(id, group.end - 1), group.arrived);
      } else if (!isLast) {
        add(at(id, object), at(id, GROUP_END), group.arrived);
      }
    }
    return isLast && group.end === undefined ? at(id, object) : at(id + 1, 0);
  }

  /** The missing objects of a frame, neighbours together. */
  #holesInFrame(
    id: number,
    first: number,
    unit: Unit,
    seenEnd: number,
    add: (start: Location, end: Location, since: number) => void,
  ): void {
    const offsets = unit.missing((offset) => this.#isWanted(at(id, first + offset))) ?? [];
    let run: { start: number; end: number } | undefined;
    for (const object of offsets.map((offset) => first + offset)) {
      if (object >= seenEnd) break;
      if (run?.end === object - 1) {
        run.end = object;
        continue;
      }
      if (run) add(at(id, run.start), at(id, run.end), unit.arrived);
      run = { start: object, end: object };
    }
    if (run) add(at(id, run.start), at(id, run.end), unit.arrived);
  }
}
