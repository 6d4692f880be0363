/** Numbers and tracks in words. */
import type { CatalogTrack } from "../media/catalog";
import type { Codec } from "../media/format";

/** `1 234`, `12.3`, `0`. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

const CODECS: Record<Codec, string> = { vp8: "VP8", vp9: "VP9", av1: "AV1", h264: "H.264", opus: "Opus", aac: "AAC" };

/** `VP8, 640 × 360, 30 fps`. */
export function format({ format: { codec, shape } }: CatalogTrack): string {
  if (shape.type === "video") {
    const rate = shape.framerate === undefined ? "" : `, ${Number(shape.framerate.toFixed(2))} fps`;
    return `${CODECS[codec]}, ${shape.width} × ${shape.height}${rate}`;
  }
  const { samplerate, channels } = shape;
  return `${CODECS[codec]}, ${samplerate / 1000} kHz, ${channels === 1 ? "mono" : channels === 2 ? "stereo" : `${channels} channels`}`;
}

/** What a track's name means. */
export function title(name: string): string {
  const titles: Record<string, string> = {
    catalog: "Catalog",
    audio: "Microphone",
    camera: "Camera",
    "camera-low": "Camera, small",
    screen: "Screen",
    "screen-audio": "Screen, sound",
  };
  return titles[name] ?? name;
}
