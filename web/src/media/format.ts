/** What a track of media is, whichever catalog says it. Pure. */

/** Codecs that are carried. */
export type Codec = "vp8" | "vp9" | "av1" | "h264" | "opus" | "aac";

/** The codec of a parameter string of RFC 6381 or WebCodecs; `undefined` for one that is not carried. */
export function codecOf(codecString: string): Codec | undefined {
  switch (codecString.split(".")[0]) {
    case "vp8":
    case "vp08":
      return "vp8";
    case "vp9":
    case "vp09":
      return "vp9";
    case "av01":
      return "av1";
    case "avc1":
    case "avc3":
      return "h264";
    case "opus":
    case "Opus":
      return "opus";
    case "mp4a":
      return codecString.startsWith("mp4a.40.") ? "aac" : undefined;
    default:
      return undefined;
  }
}

/** True for a codec of pictures. */
export function isVideo(codec: Codec): boolean {
  return codec !== "opus" && codec !== "aac";
}

/** Size or sound of a track. */
export type Shape =
  | {
      readonly type: "video";
      /** Pixels. */
      readonly width: number;
      readonly height: number;
      /** Frames per second, when known. */
      readonly framerate: number | undefined;
    }
  | {
      readonly type: "audio";
      /** Hz. */
      readonly samplerate: number;
      readonly channels: number;
    };

/** Everything a receiver must know before the first frame. */
export interface Format {
  readonly codec: Codec;
  /** For WebCodecs: `vp8`, `avc1.64001f`, `opus` … */
  readonly codecString: string;
  readonly shape: Shape;
  /** avcC, av1C, OpusHead, AudioSpecificConfig; empty where there is none. */
  readonly config: Uint8Array;
  /** Ticks per second of the track's time stamps. */
  readonly timescale: number;
}

/** True when a decoder for one takes the frames of the other. */
export function isSameFormat(a: Format, b: Format): boolean {
  return (
    a.codecString === b.codecString &&
    a.timescale === b.timescale &&
    JSON.stringify(a.shape) === JSON.stringify(b.shape) &&
    a.config.length === b.config.length &&
    a.config.every((byte, i) => byte === b.config[i])
  );
}

/** One frame of a track, in decode order. */
export interface Frame {
  /** Presentation time in the track's timescale; of B-frames not ascending. */
  readonly pts: number;
  /** True when decoding can begin here; always for sound. */
  readonly isKey: boolean;
  /** The codec's own bytes. */
  readonly data: Uint8Array;
}
