/** Frames to objects: what a publisher sends (docs/wire.md, "Groups and objects", "Media datagrams"). Pure. */
import type { MoqtObject } from "../moqt";
import { vi64Bytes } from "../moqt/vi64";
import { type FrameLength, History } from "./audio";
import { Erasure } from "./erasure";
import type { Frame } from "./format";
import { ALIAS_BYTES_RESERVED, DATAGRAM_BYTES_MAX, type Fragment, FRAME_BYTES_MAX, Layout, split } from "./fragment";
import {
  type AudioLevel,
  BLOCK_FRAGMENTS_MAX,
  BLOCK_PARITY_MAX,
  encodeProperties,
  type FragmentHeader,
  type FrameMarking,
  isParity,
  type Properties,
} from "./loc";
import { at, type Location, toWire } from "./location";
import { type Priorities, priorityOfLayer } from "./names";

/** A frame did not become objects. The packetizer goes on with the next frame. */
export class PacketizeError extends Error {
  override readonly name = "PacketizeError";
}

const NOTHING = new Uint8Array(0);

/** Bytes that are left for the payload of an object datagram beside its header and these properties. */
function payloadBytesMax({ group, object }: Location, properties: Uint8Array): number {
  const ids = vi64Bytes(group) + vi64Bytes(object);
  const header = 1 + ALIAS_BYTES_RESERVED + ids + 1 + vi64Bytes(properties.length) + properties.length;
  return Math.max(DATAGRAM_BYTES_MAX - header, 0);
}

function timestampOf(frame: Frame): number {
  if (frame.pts < 0) throw new PacketizeError(`presentation time ${frame.pts} is negative`);
  return frame.pts;
}

function checkSize(frame: Frame): void {
  if (frame.data.length > FRAME_BYTES_MAX) {
    throw new PacketizeError(`a frame of ${frame.data.length} bytes is larger than 16 MiB`);
  }
}

/** Which layer a frame of video is in, and who depends on it. */
export interface Layer {
  /** 0 is the base layer. */
  readonly temporal: number;
  /** Depends on the base layer only. */
  readonly isBaseLayerSync: boolean;
  /** No frame depends on it. */
  readonly isDiscardable: boolean;
}

/** A frame of a track without layers. */
export const NO_LAYER: Layer = { temporal: 0, isBaseLayerSync: false, isDiscardable: false };

/** How much parity is sent, in percent of a block's data fragments, rounded up. 0 sends none. */
export interface ParityPercent {
  /** For key frames and temporal layer 0. */
  readonly base: number;
  /** For the layers above. */
  readonly upper: number;
}

/** Settings of a track of video. */
export interface VideoConfig {
  readonly priorities: Priorities;
  /** Ticks per second; `undefined` when frames carry Unix microseconds. */
  readonly timescale: number | undefined;
  /** True when frames come in temporal layers. */
  readonly hasLayers: boolean;
  readonly parity: ParityPercent;
}

interface OpenGroup {
  readonly id: number;
  nextObject: number;
  nextFrame: number;
}

/** Turns the frames of one track of video into objects. */
export class VideoPacketizer {
  readonly #config: VideoConfig;
  readonly #erasure = new Erasure();
  #parity: ParityPercent;
  #nextGroup: number;
  #group: OpenGroup | undefined;
  #baseLayerIndex = 0;

  /** `firstGroup` is at least the Unix milliseconds of now, and larger than any group sent before. */
  constructor(config: VideoConfig, firstGroup: number) {
    this.#config = config;
    this.#parity = config.parity;
    this.#nextGroup = firstGroup;
  }

  /** Changes the amount of parity from the next frame on. */
  setParity(parity: ParityPercent): void {
    this.#parity = parity;
  }

  /** The group of the next key frame, as long as {@link skipToGroup} does not change it. */
  get nextGroup(): number {
    return this.#nextGroup;
  }

  /** Gives the next key frame at least this group, so that tracks of one altGroup count alike. */
  skipToGroup(group: number): void {
    this.#nextGroup = Math.max(this.#nextGroup, group);
  }

  /**
   * The objects of the next frame in decode order, in the order in which they are sent. A key frame ends the group before
   * (an END_OF_GROUP object stands first then) and begins the next.
   */
  packetize(frame: Frame, layer: Layer): MoqtObject[] {
    const timestamp = timestampOf(frame);
    checkSize(frame);
    const objects: MoqtObject[] = [];
    if (frame.isKey) {
      objects.push(...this.finish());
      this.#group = { id: this.#nextGroup, nextObject: 0, nextFrame: 0 };
      this.#nextGroup += 1;
    }
    if (!this.#group) throw new PacketizeError("a track begins with a key frame");
    const isBase = frame.isKey || layer.temporal === 0;
    if (this.#config.hasLayers && isBase) this.#baseLayerIndex = (this.#baseLayerIndex + 1) & 0xff;
    const marking: FrameMarking = {
      startsFrame: false,
      endsFrame: false,
      isIndependent: frame.isKey,
      isDiscardable: layer.isDiscardable,
      isBaseLayerSync: layer.isBaseLayerSync,
      temporalLayer: frame.isKey ? 0 : layer.temporal,
      spatialLayer: 0,
      baseLayerIndex: this.#baseLayerIndex,
    };
    this.#cut(this.#group, frame.data, { timestamp, timescale: this.#config.timescale, marking }, marking, isBase, objects);
    return objects;
  }

  /**
   * Ends the open group when the camera goes off: its END_OF_GROUP object. There is never an END_OF_TRACK, since the
   * track may be published again.
   */
  finish(): MoqtObject[] {
    const group = this.#group;
    if (!group) return [];
    this.#group = undefined;
    return [
      {
        location: toWire(at(group.id, group.nextObject)),
        priority: this.#config.priorities.base,
        subgroup: undefined,
        status: "endOfGroup",
        endsGroup: false,
        properties: NOTHING,
        payload: NOTHING,
      },
    ];
  }

  #cut(group: OpenGroup, data: Uint8Array, properties: Properties, marking: FrameMarking, isBase: boolean, out: MoqtObject[]): void {
    const number = group.nextFrame;
    group.nextFrame += 1;
    const percent = isBase ? this.#parity.base : this.#parity.upper;
    const layout = layoutOf(group, data.length, number, properties, percent);
    const fragments: (Fragment | undefined)[] = layout ? split(this.#erasure, data, layout) : [undefined];
    for (const fragment of fragments) {
      const header: FragmentHeader | undefined =
        layout && fragment
          ? {
              frame: number,
              block: fragment.block,
              index: fragment.index,
              dataCount: fragment.dataCount,
              parityCount: layout.parityCount,
              frameBytes: data.length,
            }
          : undefined;
      const startsFrame = !fragment || (fragment.block === 0 && fragment.index === 0);
      const endsFrame = !fragment || fragment.endsFrame;
      const { priorities } = this.#config;
      const priority =
        header && isParity(header) ? priorities.parity : priorityOfLayer(priorities, marking.temporalLayer);
      out.push({
        location: toWire(at(group.id, group.nextObject)),
        priority,
        subgroup: undefined,
        status: "normal",
        endsGroup: false,
        properties: encodeProperties({
          ...properties,
          marking: { ...marking, startsFrame, endsFrame },
          fragment: header,
        }),
        payload: fragment?.payload ?? data,
      });
      group.nextObject += 1;
    }
  }
}

function parityCountOf(percent: number, dataCount: number): number {
  return Math.min(Math.ceil((dataCount * percent) / 100), BLOCK_PARITY_MAX);
}

/** How a frame is cut; `undefined` when it fits into one datagram and gets no parity. */
function layoutOf(group: OpenGroup, frameBytes: number, frame: number, properties: Properties, percent: number): Layout | undefined {
  const here = at(group.id, group.nextObject);
  const fitsWhole = frameBytes <= payloadBytesMax(here, encodeProperties(properties));
  if (frameBytes === 0 || (fitsWhole && percent === 0)) return undefined;
  // The longest header that any fragment of this frame can have.
  const widest: FragmentHeader = {
    frame,
    block: Math.floor(frameBytes / (BLOCK_FRAGMENTS_MAX * 512)),
    index: BLOCK_FRAGMENTS_MAX + BLOCK_PARITY_MAX,
    dataCount: BLOCK_FRAGMENTS_MAX,
    parityCount: BLOCK_PARITY_MAX,
    frameBytes,
  };
  const lastObject = here.object + Math.floor(frameBytes / 256) + 256;
  const bytesMax = payloadBytesMax(at(here.group, lastObject), encodeProperties({ ...properties, fragment: widest }));
  const unprotected = Layout.balanced(frameBytes, bytesMax, 0);
  const parityCount = parityCountOf(percent, unprotected?.dataCount(0) ?? 0);
  return Layout.balanced(frameBytes, bytesMax, parityCount);
}

/** Settings of a track of sound. */
export interface AudioConfig {
  readonly priorities: Priorities;
  /** Ticks per second; `undefined` when frames carry Unix microseconds. */
  readonly timescale: number | undefined;
  readonly frameLength: FrameLength;
  /** Earlier frames in each object: 0 without loss, 2 to 4 with it. */
  readonly redundancyDepth: number;
}

/** Turns the frames of one track of sound into objects, one group each. */
export class AudioPacketizer {
  readonly #config: AudioConfig;
  readonly #history = new History();
  #depth: number;
  #nextGroup: number;
  /** Where the frame after the last one begins, when time goes on without a break. */
  #expected: number | undefined;

  /** `firstGroup` is at least the Unix milliseconds of now, and larger than any group sent before. */
  constructor(config: AudioConfig, firstGroup: number) {
    this.#config = config;
    this.#depth = config.redundancyDepth;
    this.#nextGroup = firstGroup;
  }

  /** Changes the redundancy from the next frame on. */
  setRedundancy(depth: number): void {
    this.#depth = depth;
  }

  /** The group of the next frame. */
  get nextGroup(): number {
    return this.#nextGroup;
  }

  /**
   * The object of the next frame. It is a datagram (`subgroup` is `undefined`) unless the frame is too long for one: then
   * it belongs on a subgroup stream of its own.
   */
  packetize(frame: Frame, audioLevel: AudioLevel | undefined): MoqtObject {
    const timestamp = timestampOf(frame);
    checkSize(frame);
    if (!this.#follows(timestamp)) this.#history.clear();
    const ticks = this.#config.frameLength.ticks([frame.data]);
    this.#expected = ticks === undefined ? undefined : timestamp + ticks;

    const location = at(this.#nextGroup, 0);
    this.#nextGroup += 1;
    const own: Properties = { timestamp, timescale: this.#config.timescale, audioLevel };
    const bytesFree = payloadBytesMax(location, encodeProperties(own)) - frame.data.length;
    // Key and length of the property itself, and a length of all properties that grows by a byte.
    const redundancy = this.#history.redundancy(location.group, this.#depth, bytesFree - 6);
    this.#history.push(location.group, frame.data);
    return {
      location: toWire(location),
      priority: this.#config.priorities.base,
      subgroup: bytesFree >= 0 ? undefined : 0n,
      status: "normal",
      endsGroup: true,
      properties: encodeProperties({ ...own, redundancy }),
      payload: frame.data,
    };
  }

  /** True when the frame begins where the last one ended, up to 2 ms: clocks round. */
  #follows(timestamp: number): boolean {
    const tolerance = Math.floor((this.#config.timescale ?? 1_000_000) / 500) + 1;
    return this.#expected !== undefined && Math.abs(this.#expected - timestamp) <= tolerance;
  }
}
