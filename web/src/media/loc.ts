/**
 * Properties of media objects: LOC's public ones and ours (draft-ietf-moq-loc-04, docs/wire.md, "Media datagrams").
 * The framing of the pairs is the session's to check; what is wrong here costs the receiver that object only. Pure.
 */
import { type KeyValuePair, readKeyValuePairs, writeKeyValuePairs } from "../moqt/key_value";
import { Reader, Writer } from "../moqt/vi64";

const TIMESCALE = 0x08n;
const VIDEO_FRAME_MARKING = 0x09n;
const AUDIO_LEVEL = 0x0cn;
const TIMESTAMP = 0x10n;
const FRAGMENT = 0x3801n;
const AUDIO_REDUNDANCY = 0x3803n;

/** Most data fragments of a block. */
export const BLOCK_FRAGMENTS_MAX = 100;
/** Most parity fragments of a block. */
export const BLOCK_PARITY_MAX = 100;
/** Most earlier frames read from one object; further ones are ignored. */
export const REDUNDANT_FRAMES_MAX = 16;

/** An object's properties are of no use: it is dropped and counted, nothing else. */
export class BadProperty extends Error {
  override readonly name = "BadProperty";
}

/** What a video object says about its frame (RFC 9626, long form). */
export interface FrameMarking {
  /** S: the first data fragment of a frame. */
  readonly startsFrame: boolean;
  /** E: the last data fragment of a frame. */
  readonly endsFrame: boolean;
  /** I: decoding can begin with this frame. */
  readonly isIndependent: boolean;
  /** D: no other frame depends on this one. */
  readonly isDiscardable: boolean;
  /** B: depends on temporal layer 0 only. */
  readonly isBaseLayerSync: boolean;
  /** TID, 0 to 7. */
  readonly temporalLayer: number;
  /** LID. */
  readonly spatialLayer: number;
  /** TL0PICIDX: counts frames of temporal layer 0, modulo 256; 0 in tracks without layers. */
  readonly baseLayerIndex: number;
}

/** How loud a frame of sound is (RFC 6464). */
export interface AudioLevel {
  readonly isVoice: boolean;
  /** Decibels below overload, 0 (loudest) to 127 (silence). */
  readonly belowOverloadDb: number;
}

/** Which piece of which frame an object is; fragment.ts says how a frame is cut. */
export interface FragmentHeader {
  /** Number of the frame in its group, from 0. */
  readonly frame: number;
  readonly block: number;
  /** Data 0 to `dataCount - 1`, then parity. */
  readonly index: number;
  /** k */
  readonly dataCount: number;
  /** m */
  readonly parityCount: number;
  /** Bytes of the whole frame, at least 1. */
  readonly frameBytes: number;
}

/** True for a parity fragment. */
export function isParity(header: FragmentHeader): boolean {
  return header.index >= header.dataCount;
}

/** An earlier frame of sound carried by a later object. */
export interface RedundantFrame {
  /** How many groups before the carrying object's own, at least 1. */
  readonly groupsBack: number;
  readonly payload: Uint8Array;
}

/** What is known of a media object besides its payload. */
export interface Properties {
  /** Presentation time of the frame, in ticks of the timescale. */
  readonly timestamp: number;
  /** Ticks per second; absent: Unix microseconds. */
  readonly timescale?: number | undefined;
  readonly marking?: FrameMarking | undefined;
  readonly audioLevel?: AudioLevel | undefined;
  readonly fragment?: FragmentHeader | undefined;
  /** Earlier frames of sound, newest first. */
  readonly redundancy?: readonly RedundantFrame[] | undefined;
}

/** The key-value pairs, ascending. */
export function encodeProperties(properties: Properties): Uint8Array<ArrayBuffer> {
  const { timestamp, timescale, marking, audioLevel, fragment, redundancy } = properties;
  const pairs: KeyValuePair[] = [];
  if (timescale !== undefined) pairs.push({ type: TIMESCALE, value: BigInt(timescale) });
  if (marking) pairs.push({ type: VIDEO_FRAME_MARKING, value: markingBytes(marking) });
  if (audioLevel) pairs.push({ type: AUDIO_LEVEL, value: BigInt(levelByte(audioLevel)) });
  pairs.push({ type: TIMESTAMP, value: BigInt(timestamp) });
  if (fragment) pairs.push({ type: FRAGMENT, value: fragmentBytes(fragment) });
  if (redundancy && redundancy.length > 0) pairs.push({ type: AUDIO_REDUNDANCY, value: redundancyBytes(redundancy) });
  const writer = new Writer();
  writeKeyValuePairs(writer, pairs);
  return writer.finish();
}

/** Reads an object's properties; those not known here are passed over. What is wrong is a {@link BadProperty}. */
export function decodeProperties(bytes: Uint8Array): Properties {
  const properties: { -readonly [K in keyof Properties]: Properties[K] } = { timestamp: -1 };
  let seen: bigint | undefined;
  for (const { type, value } of pairsOf(bytes)) {
    if (typeof value === "bigint") {
      if (type === TIMESTAMP) properties.timestamp = timestampOf(value);
      else if (type === TIMESCALE) properties.timescale = timescaleOf(value);
      else if (type === AUDIO_LEVEL) properties.audioLevel = levelOf(value);
      else continue;
    } else if (type === VIDEO_FRAME_MARKING) properties.marking = markingOf(value);
    else if (type === FRAGMENT) properties.fragment = within(value, readFragment, "the FRAGMENT property makes no sense");
    else if (type === AUDIO_REDUNDANCY) {
      properties.redundancy = within(value, readRedundancy, "the AUDIO_REDUNDANCY property makes no sense");
    } else continue;
    // Keys ascend, so a repeated one stands beside its first.
    if (seen === type) throw new BadProperty(`property 0x${type.toString(16)} stands twice`);
    seen = type;
  }
  if (properties.timestamp < 0) throw new BadProperty("a media object has no Timestamp");
  return properties;
}

function pairsOf(bytes: Uint8Array): KeyValuePair[] {
  try {
    return readKeyValuePairs(bytes);
  } catch {
    throw new BadProperty("the properties are not key-value pairs");
  }
}

function timestampOf(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new BadProperty("the Timestamp is out of range");
  return Number(value);
}

function timescaleOf(value: bigint): number {
  if (value === 0n || value > 0xffff_ffffn) throw new BadProperty("the Timescale is out of range");
  return Number(value);
}

function levelByte({ isVoice, belowOverloadDb }: AudioLevel): number {
  return (isVoice ? 0x80 : 0) | (belowOverloadDb & 0x7f);
}

function levelOf(value: bigint): AudioLevel {
  if (value > 0xffn) throw new BadProperty("the Audio Level is out of range");
  return { isVoice: (Number(value) & 0x80) !== 0, belowOverloadDb: Number(value) & 0x7f };
}

function markingBytes(marking: FrameMarking): Uint8Array {
  const flags =
    (marking.startsFrame ? 0x80 : 0) |
    (marking.endsFrame ? 0x40 : 0) |
    (marking.isIndependent ? 0x20 : 0) |
    (marking.isDiscardable ? 0x10 : 0) |
    (marking.isBaseLayerSync ? 0x08 : 0) |
    (marking.temporalLayer & 0x07);
  return Uint8Array.of(flags, marking.spatialLayer, marking.baseLayerIndex);
}

/** Reads the long form, or one of the shorter ones, in which what is left out is 0. */
function markingOf(bytes: Uint8Array): FrameMarking {
  const [flags, spatialLayer = 0, baseLayerIndex = 0] = bytes;
  if (flags === undefined || bytes.length > 4) throw new BadProperty("the Video Frame Marking has the wrong length");
  return {
    startsFrame: (flags & 0x80) !== 0,
    endsFrame: (flags & 0x40) !== 0,
    isIndependent: (flags & 0x20) !== 0,
    isDiscardable: (flags & 0x10) !== 0,
    isBaseLayerSync: (flags & 0x08) !== 0,
    temporalLayer: flags & 0x07,
    spatialLayer,
    baseLayerIndex,
  };
}

/** Reads a property with a form of its own; whatever goes wrong in it is the same to the receiver. */
function within<T>(bytes: Uint8Array, read: (reader: Reader) => T | undefined, problem: string): T {
  let value: T | undefined;
  try {
    value = read(new Reader(bytes));
  } catch {
    value = undefined;
  }
  if (value === undefined) throw new BadProperty(problem);
  return value;
}

function fragmentBytes(header: FragmentHeader): Uint8Array {
  const { frame, block, index, dataCount, parityCount, frameBytes } = header;
  return new Writer().vi64(frame).vi64(block).vi64(index).vi64(dataCount).vi64(parityCount).vi64(frameBytes).finish();
}

function readFragment(reader: Reader): FragmentHeader | undefined {
  const [frame, block, index] = [reader.count(), reader.count(), reader.count()];
  const [dataCount, parityCount, frameBytes] = [reader.count(), reader.count(), reader.count()];
  const makesSense =
    reader.left === 0 &&
    block <= 0xffff_ffff &&
    dataCount >= 1 &&
    dataCount <= BLOCK_FRAGMENTS_MAX &&
    parityCount <= BLOCK_PARITY_MAX &&
    index < dataCount + parityCount &&
    frameBytes >= 1 &&
    frameBytes <= 0xffff_ffff;
  return makesSense ? { frame, block, index, dataCount, parityCount, frameBytes } : undefined;
}

function redundancyBytes(frames: readonly RedundantFrame[]): Uint8Array {
  const writer = new Writer();
  for (const { groupsBack, payload } of frames) writer.vi64(groupsBack).sized(payload);
  return writer.finish();
}

function readRedundancy(reader: Reader): RedundantFrame[] | undefined {
  const frames: RedundantFrame[] = [];
  let previous = 0;
  while (reader.left > 0) {
    const groupsBack = reader.count();
    const payload = reader.sized(0xffff, "an earlier frame");
    if (groupsBack <= previous) return undefined;
    previous = groupsBack;
    if (frames.length < REDUNDANT_FRAMES_MAX) frames.push({ groupsBack, payload });
  }
  return frames;
}
