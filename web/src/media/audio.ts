/** Earlier frames of sound inside later ones (docs/wire.md, AUDIO_REDUNDANCY), and how long a frame of sound is. Pure. */
import { vi64Bytes } from "../moqt/vi64";
import type { Codec, Format } from "./format";
import { REDUNDANT_FRAMES_MAX, type RedundantFrame } from "./loc";

const SILK = [480, 960, 1920, 2880];
const HYBRID = [480, 960];
const CELT = [120, 240, 480, 960];

/** Samples of an Opus packet at 48 kHz (RFC 6716, 3.1); `undefined` for no packet. */
export function opusSamples(packet: Uint8Array): number | undefined {
  const [toc, counter] = packet;
  if (toc === undefined) return undefined;
  const config = toc >> 3;
  const frame = config < 12 ? SILK[config % 4] : config < 16 ? HYBRID[config % 2] : CELT[config % 4];
  const code = toc & 0x03;
  const frames = code === 0 ? 1 : code < 3 ? 2 : counter === undefined ? 0 : counter & 0x3f;
  const samples = (frame ?? 0) * frames;
  return samples >= 1 && samples <= 5760 ? samples : undefined;
}

/** How long the frames of one track of sound are. */
export class FrameLength {
  constructor(
    readonly codec: Codec,
    readonly samplerate: number,
    readonly timescale: number,
  ) {}

  /** For a track of this format; `undefined` for pictures. */
  static of(format: Format): FrameLength | undefined {
    if (format.shape.type !== "audio") return undefined;
    return new FrameLength(format.codec, format.shape.samplerate, format.timescale);
  }

  /** Ticks of the track that these frames last together; `undefined` when one of them is no frame. */
  ticks(frames: readonly Uint8Array[]): number | undefined {
    let total = 0;
    for (const frame of frames) {
      const samples = this.codec === "opus" ? opusSamples(frame) : this.codec === "aac" ? 1024 : undefined;
      if (samples === undefined) return undefined;
      total += samples;
    }
    const rate = this.codec === "aac" ? Math.max(this.samplerate, 1) : 48_000;
    return Math.floor((total * this.timescale + Math.floor(rate / 2)) / rate);
  }
}

/** A publisher's memory of its last frames. */
export class History {
  #frames: { readonly group: number; readonly payload: Uint8Array }[] = [];

  /** Remembers a frame sent as `group`. */
  push(group: number, payload: Uint8Array): void {
    this.#frames.unshift({ group, payload });
    this.#frames.length = Math.min(this.#frames.length, REDUNDANT_FRAMES_MAX);
  }

  /** Forgets everything: after a break in time, since a receiver counts time back from the carrying frame. */
  clear(): void {
    this.#frames = [];
  }

  /** The last `depth` frames before `group`, newest first, as far as they fit into `bytesMax` bytes of property. */
  redundancy(group: number, depth: number, bytesMax: number): RedundantFrame[] {
    let left = bytesMax;
    const chosen: RedundantFrame[] = [];
    for (const { group: earlier, payload } of this.#frames.slice(0, depth)) {
      const groupsBack = group - earlier;
      if (groupsBack <= 0) break;
      left -= vi64Bytes(groupsBack) + vi64Bytes(payload.length) + payload.length;
      if (left < 0) break;
      chosen.push({ groupsBack, payload });
    }
    return chosen;
  }
}

/** An earlier frame as a receiver gets it out of a later object. */
export interface RecoveredFrame {
  /** The group it was sent as. */
  readonly group: number;
  /** Counted back from the carrying frame's by the lengths of the frames between. */
  readonly timestamp: number;
  readonly payload: Uint8Array;
}

/**
 * The frames that an object of `group` with this timestamp carries besides its own. A frame is given only when all
 * between it and the carrier are there as well, or its time would be a guess.
 */
export function recover(
  group: number,
  timestamp: number,
  redundancy: readonly RedundantFrame[],
  length: FrameLength,
): RecoveredFrame[] {
  const recovered: RecoveredFrame[] = [];
  for (const [i, frame] of redundancy.entries()) {
    if (frame.groupsBack !== i + 1) break;
    const ticks = length.ticks(redundancy.slice(0, i + 1).map(({ payload }) => payload));
    if (ticks === undefined || ticks > timestamp || frame.groupsBack > group) break;
    recovered.push({ group: group - frame.groupsBack, timestamp: timestamp - ticks, payload: frame.payload });
  }
  return recovered;
}
