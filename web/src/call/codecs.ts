/** Which codecs of video this browser has. */
import type { Codec } from "../media/format";

/** Cheapest first; VP8 is what every browser has. */
const VIDEO: readonly Codec[] = ["h264", "vp8", "vp9", "av1"];

/** For WebCodecs, at this size. */
export function codecString(codec: Codec, width: number, height: number): string {
  const isLarge = width * height > 1280 * 720;
  switch (codec) {
    case "h264":
      // Constrained Baseline, level 3.1 or 4.2.
      return isLarge ? "avc1.42e02a" : "avc1.42e01f";
    case "vp9":
      return isLarge ? "vp09.00.41.08" : "vp09.00.31.08";
    case "av1":
      return isLarge ? "av01.0.08M.08" : "av01.0.05M.08";
    default:
      return codec;
  }
}

async function isSupported(ask: Promise<{ supported?: boolean }>): Promise<boolean> {
  return (await ask.catch(() => ({ supported: false }))).supported === true;
}

/** Codecs of video that this browser decodes. */
export async function decodable(): Promise<Codec[]> {
  if (typeof VideoDecoder === "undefined") return [];
  const asked = VIDEO.map(async (codec) => {
    const config = { codec: codecString(codec, 640, 360), codedWidth: 640, codedHeight: 360 };
    return (await isSupported(VideoDecoder.isConfigSupported(config))) ? codec : undefined;
  });
  return (await Promise.all(asked)).filter((codec) => codec !== undefined);
}

/** The first codec that this browser encodes and everybody in the room decodes. */
export async function pickCodec(
  width: number,
  height: number,
  framerate: number,
  roomDecodes: readonly (readonly Codec[])[],
): Promise<Codec | undefined> {
  if (typeof VideoEncoder === "undefined") return undefined;
  // Everybody has VP8; nobody is asked to change it when somebody else comes.
  for (const codec of ["vp8", ...VIDEO] as const) {
    if (codec !== "vp8" && !roomDecodes.every((decodes) => decodes.includes(codec))) continue;
    const config = { codec: codecString(codec, width, height), width, height, framerate, latencyMode: "realtime" } as const;
    if (await isSupported(VideoEncoder.isConfigSupported(config))) return codec;
  }
  return undefined;
}
