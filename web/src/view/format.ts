/** Numbers and tracks in words. */
import type { CatalogTrack } from "../media/catalog";

/** `1 234`, `12.3`, `0`. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return value < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

const CODECS: readonly [RegExp, string][] = [
  [/^vp8/, "VP8"],
  [/^vp0?9/, "VP9"],
  [/^av01/, "AV1"],
  [/^avc/, "H.264"],
  [/^opus/i, "Opus"],
  [/^mp4a/, "AAC"],
];

/** `VP8, 640 × 360, 30 fps`. */
export function format(track: CatalogTrack): string {
  const { codec, width, height, framerate, samplerate, channels } = track;
  const parts = [
    codec && (CODECS.find(([pattern]) => pattern.test(codec))?.[1] ?? codec),
    width && height && `${width} × ${height}`,
    framerate && `${Number(framerate.toFixed(2))} fps`,
    samplerate && `${samplerate / 1000} kHz`,
    channels && (channels === "1" ? "mono" : channels === "2" ? "stereo" : `${channels} channels`),
  ];
  return parts.filter((part) => part).join(", ");
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
