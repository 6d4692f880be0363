/** Objects on datagrams (draft 11.3.1), subgroup streams (11.4.2) and FETCH streams (11.4.4). */
import { Violation } from "./error";
import { readKeyValuePairs } from "./key_value";
import type { GroupOrder, Location } from "./parameters";
import { Reader, VI64_MAX, Writer } from "./vi64";

/** Whether an object is one, or says that none follow (draft 11.2.1.1). */
export type Status = "normal" | "endOfGroup" | "endOfTrack";

/** One object, whole. */
export interface MoqtObject {
  readonly location: Location;
  /** Publisher priority, lower first; `undefined` is the track's default. */
  readonly priority: number | undefined;
  /** The subgroup it came in; `undefined` for a datagram. */
  readonly subgroup: bigint | undefined;
  readonly status: Status;
  /** True when no later object exists in the group (END_OF_GROUP of a datagram). */
  readonly endsGroup: boolean;
  /** Key-Value-Pairs as they came, without their length. */
  readonly properties: Uint8Array;
  readonly payload: Uint8Array;
}

/** An object and the alias of its track. */
export interface ObjectDatagram {
  readonly alias: bigint;
  readonly object: MoqtObject;
}

/** Most bytes of an object's properties on a stream: what a message may have. */
export const PROPERTIES_BYTES_MAX = 0xffff;
const PADDING_DATAGRAM_TYPE = 0x132b3e29n;
const NOTHING = new Uint8Array(0);

const PROPERTIES = 0x01;
const END_OF_GROUP = 0x02;
const ZERO_OBJECT_ID = 0x04;
const DEFAULT_PRIORITY = 0x08;
const STATUS = 0x20;

/** The status of a number on the wire. */
export function statusOf(code: bigint): Status {
  switch (code) {
    case 0x0n:
      return "normal";
    case 0x3n:
      return "endOfGroup";
    case 0x4n:
      return "endOfTrack";
    default:
      throw new Violation("an object of unknown status");
  }
}

const STATUS_CODES: Record<Status, number> = { normal: 0x0, endOfGroup: 0x3, endOfTrack: 0x4 };

/** Reads a datagram; `undefined` for padding. Payload and properties are views into it. */
export function decodeDatagram(bytes: Uint8Array): ObjectDatagram | undefined {
  const reader = new Reader(bytes);
  const wireType = reader.vi64();
  if (wireType === PADDING_DATAGRAM_TYPE) return undefined;
  const type = Number(wireType);
  const isStatus = (type & STATUS) !== 0;
  if (wireType > 0x2fn || (type & 0x10) !== 0 || (isStatus && (type & END_OF_GROUP) !== 0)) {
    throw new Violation("a datagram of unknown type");
  }
  const alias = reader.vi64();
  const group = reader.vi64();
  const object = type & ZERO_OBJECT_ID ? 0n : reader.vi64();
  const priority = type & DEFAULT_PRIORITY ? undefined : reader.byte();
  const properties = type & PROPERTIES ? readObjectProperties(reader) : NOTHING;
  if (type & PROPERTIES && properties.length === 0) throw new Violation("a datagram says it has properties and has none");
  const status = isStatus ? statusOf(reader.vi64()) : "normal";
  if (status !== "normal" && properties.length > 0) throw new Violation("an object that is none has properties");
  const payload = reader.rest();
  if (isStatus && payload.length > 0) throw new Violation("a status datagram has a payload");
  const endsGroup = (type & END_OF_GROUP) !== 0;
  return {
    alias,
    object: { location: { group, object }, priority, subgroup: undefined, status, endsGroup, properties, payload },
  };
}

/** A datagram's bytes. */
export function encodeDatagram({ alias, object }: ObjectDatagram): Uint8Array<ArrayBuffer> {
  const { location, priority, status, endsGroup, properties, payload } = object;
  const isStatus = status !== "normal";
  const type =
    (properties.length > 0 ? PROPERTIES : 0) |
    (endsGroup && !isStatus ? END_OF_GROUP : 0) |
    (location.object === 0n ? ZERO_OBJECT_ID : 0) |
    (priority === undefined ? DEFAULT_PRIORITY : 0) |
    (isStatus ? STATUS : 0);
  const writer = new Writer().vi64(type).vi64(alias).vi64(location.group);
  if (location.object !== 0n) writer.vi64(location.object);
  if (priority !== undefined) writer.byte(priority);
  if (properties.length > 0) writer.sized(properties);
  if (isStatus) writer.vi64(STATUS_CODES[status]);
  return writer.bytes(payload).finish();
}

function readObjectProperties(reader: Reader): Uint8Array {
  const bytes = reader.sized(PROPERTIES_BYTES_MAX, "an object's properties");
  readKeyValuePairs(bytes);
  return bytes;
}

/** What begins a subgroup stream (draft 11.4.2). */
export interface SubgroupHeader {
  readonly alias: bigint;
  readonly group: bigint;
  /** `undefined`: the id of the first object. */
  readonly subgroup: bigint | undefined;
  readonly priority: number | undefined;
  readonly hasProperties: boolean;
  readonly endsGroup: boolean;
  /** True when the stream begins with the first object of its subgroup. */
  readonly firstObject: boolean;
}

/** True for the type of a subgroup stream, valid or not. */
export function isSubgroupType(type: bigint): boolean {
  return type <= 0x7fn && (type & 0x10n) !== 0n;
}

/** What begins a subgroup stream. */
export function writeSubgroupHeader(writer: Writer, header: SubgroupHeader): void {
  const { subgroup, priority } = header;
  const mode = subgroup === undefined ? 0b01 : subgroup === 0n ? 0b00 : 0b10;
  writer.vi64(
    0x10 |
      (mode << 1) |
      (header.hasProperties ? 0x01 : 0) |
      (header.endsGroup ? 0x08 : 0) |
      (priority === undefined ? 0x20 : 0) |
      (header.firstObject ? 0x40 : 0),
  );
  writer.vi64(header.alias).vi64(header.group);
  if (mode === 0b10) writer.vi64(subgroup ?? 0n);
  if (priority !== undefined) writer.byte(priority);
}

/** One object of a subgroup stream; `previous` is the id of the one before it on the stream. */
export function writeSubgroupObject(
  writer: Writer,
  header: SubgroupHeader,
  object: MoqtObject,
  previous: bigint | undefined,
): void {
  const id = object.location.object;
  writer.vi64(previous === undefined ? id : id - previous - 1n);
  if (header.hasProperties) writer.sized(object.properties);
  writer.sized(object.payload);
  if (object.payload.length === 0) writer.vi64(STATUS_CODES[object.status]);
}

/** Reads fields from somewhere, perhaps waiting for them. */
export interface FieldSource {
  vi64(): Promise<bigint>;
  byte(): Promise<number>;
  bytes(length: number): Promise<Uint8Array>;
  /** True when the source ends cleanly here. */
  isAtEnd(): Promise<boolean>;
}

/** Reads the rest of a subgroup header whose type has been read. */
export async function readSubgroupHeader(wireType: bigint, source: FieldSource): Promise<SubgroupHeader> {
  const type = Number(wireType);
  const mode = (type >> 1) & 0b11;
  if (!isSubgroupType(wireType) || mode === 0b11) throw new Violation("a stream of unknown type");
  const alias = await source.vi64();
  const group = await source.vi64();
  const subgroup = mode === 0b00 ? 0n : mode === 0b10 ? await source.vi64() : undefined;
  const priority = type & 0x20 ? undefined : await source.byte();
  return {
    alias,
    group,
    subgroup,
    priority,
    hasProperties: (type & 0x01) !== 0,
    endsGroup: (type & 0x08) !== 0,
    firstObject: (type & 0x40) !== 0,
  };
}

/** Reads the objects of a subgroup stream one by one, to its end. */
export async function* readSubgroupObjects(
  header: SubgroupHeader,
  source: FieldSource,
  payloadBytesMax: number,
): AsyncGenerator<MoqtObject> {
  let previous: bigint | undefined;
  let subgroup = header.subgroup;
  let hasEnded = false;
  while (!(await source.isAtEnd())) {
    if (hasEnded) throw new Violation("an object after the end of its group");
    const delta = await source.vi64();
    const object = previous === undefined ? delta : previous + delta + 1n;
    if (object > VI64_MAX) throw new Violation("an object id is beyond 64 bits");
    previous = object;
    subgroup ??= object;
    const properties = header.hasProperties ? await streamProperties(source) : NOTHING;
    const length = await source.vi64();
    const status = length === 0n ? statusOf(await source.vi64()) : "normal";
    if (status !== "normal" && properties.length > 0) throw new Violation("an object that is none has properties");
    hasEnded = status !== "normal";
    const payload = await streamPayload(source, length, payloadBytesMax);
    const location = { group: header.group, object };
    yield { location, priority: header.priority, subgroup, status, endsGroup: false, properties, payload };
  }
}

/** An item of a FETCH: an object, or a range (up to a location, inclusive) of which nothing came. */
export type FetchItem =
  | { readonly type: "object"; readonly object: MoqtObject }
  | { readonly type: "nonExistent" | "unknown"; readonly end: Location };

/** Reads the items of a FETCH stream, whose header has been read, to its end. */
export async function* readFetchItems(
  order: GroupOrder,
  source: FieldSource,
  payloadBytesMax: number,
): AsyncGenerator<FetchItem> {
  let prior: Location | undefined;
  let priorSubgroup: bigint | undefined;
  let priorPriority: number | undefined;
  while (!(await source.isAtEnd())) {
    const flags = await source.vi64();
    if (flags === 0x8cn || flags === 0x10cn) {
      // Both as they are (11.4.4.2 has no deltas).
      prior = { group: await source.vi64(), object: await source.vi64() };
      yield { type: flags === 0x8cn ? "nonExistent" : "unknown", end: prior };
      continue;
    }
    if (flags > 0x7fn) throw new Violation("a FETCH item of unknown form");
    const bits = Number(flags);
    const hasGroup = (bits & 0x08) !== 0;
    if (!prior && (!hasGroup || (bits & 0x04) === 0)) throw new Violation("the first FETCH item refers to one before");
    const group: bigint = hasGroup ? nextGroup(order, prior, await source.vi64()) : (prior?.group ?? 0n);
    const isDatagram = (bits & 0x40) !== 0;
    let subgroup: bigint | undefined;
    if (!isDatagram) subgroup = await fetchSubgroup(bits & 0x03, priorSubgroup, source);
    const object: bigint = await fetchObjectId((bits & 0x04) !== 0, hasGroup, prior, source);
    if (prior?.group === group && prior.object >= object) throw new Violation("a FETCH brings an object twice");
    if ((bits & 0x10) === 0 && priorPriority === undefined) throw new Violation("a FETCH item refers to no priority");
    const priority = bits & 0x10 ? await source.byte() : priorPriority;
    const properties = bits & 0x20 ? await streamProperties(source) : NOTHING;
    const payload = await streamPayload(source, await source.vi64(), payloadBytesMax);
    prior = { group, object };
    priorPriority = priority;
    if (!isDatagram) priorSubgroup = subgroup;
    yield {
      type: "object",
      object: { location: prior, priority, subgroup, status: "normal", endsGroup: false, properties, payload },
    };
  }
}

/** The items of a FETCH stream in ascending order, after its header. Every field that may be left out stands. */
export function writeFetchItems(writer: Writer, items: readonly FetchItem[]): void {
  let prior: Location | undefined;
  for (const item of items) {
    if (item.type !== "object") {
      writer.vi64(item.type === "nonExistent" ? 0x8c : 0x10c).vi64(item.end.group).vi64(item.end.object);
      prior = item.end;
      continue;
    }
    const { location, priority, subgroup, properties, payload } = item.object;
    const isSameGroup = prior?.group === location.group;
    writer.vi64(
      (subgroup === undefined ? 0x40 : 0x03) |
        0x04 |
        (isSameGroup ? 0 : 0x08) |
        0x10 |
        (properties.length > 0 ? 0x20 : 0),
    );
    if (!isSameGroup) writer.vi64(prior ? location.group - prior.group - 1n : location.group);
    if (subgroup !== undefined) writer.vi64(subgroup);
    writer.vi64(isSameGroup && prior ? location.object - prior.object : location.object);
    writer.byte(priority ?? 128);
    if (properties.length > 0) writer.sized(properties);
    writer.sized(payload);
    prior = location;
  }
}

function nextGroup(order: GroupOrder, prior: Location | undefined, delta: bigint): bigint {
  if (!prior) return delta;
  const group = order === "ascending" ? prior.group + delta + 1n : prior.group - delta - 1n;
  if (group < 0n || group > VI64_MAX) throw new Violation("a FETCH leaves the groups there are");
  return group;
}

async function fetchSubgroup(mode: number, prior: bigint | undefined, source: FieldSource): Promise<bigint> {
  if (mode === 0x00) return 0n;
  if (mode === 0x03) return source.vi64();
  if (prior === undefined) throw new Violation("a FETCH item refers to no subgroup");
  const subgroup = mode === 0x01 ? prior : prior + 1n;
  if (subgroup > VI64_MAX) throw new Violation("a subgroup id is beyond 64 bits");
  return subgroup;
}

async function fetchObjectId(
  isPresent: boolean,
  hasGroup: boolean,
  prior: Location | undefined,
  source: FieldSource,
): Promise<bigint> {
  const before = prior?.object ?? 0n;
  const value = isPresent ? await source.vi64() : 0n;
  const object = !isPresent ? before + 1n : hasGroup ? value : before + value;
  if (object > VI64_MAX) throw new Violation("an object id is beyond 64 bits");
  return object;
}

async function streamProperties(source: FieldSource): Promise<Uint8Array> {
  const length = await source.vi64();
  if (length > BigInt(PROPERTIES_BYTES_MAX)) throw new Violation("an object's properties are longer than allowed");
  const bytes = await source.bytes(Number(length));
  readKeyValuePairs(bytes);
  return bytes;
}

async function streamPayload(source: FieldSource, length: bigint, max: number): Promise<Uint8Array> {
  if (length > BigInt(max)) throw new Violation("an object is larger than this client takes");
  return source.bytes(Number(length));
}
