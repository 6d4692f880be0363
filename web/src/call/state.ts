/** The track `state`: JSON, what a participant says of itself (docs/wire.md, "Tracks"). Reading is tolerant. */
import { type Codec, codecOf } from "../media/format";
import type { ParticipantState } from "./protocol";

const NAME_LENGTH_MAX = 64;

/** Reads a snapshot; `undefined` for what is none. */
export function readState(payload: Uint8Array): ParticipantState | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null) return undefined;
  const fields = json as Record<string, unknown>;
  const decodes = Array.isArray(fields["decodes"]) ? fields["decodes"] : [];
  return {
    name: typeof fields["name"] === "string" ? fields["name"].trim().slice(0, NAME_LENGTH_MAX) : "",
    isMuted: fields["muted"] === true,
    hasCamera: fields["camera"] === true,
    hasScreen: fields["screen"] === true,
    hasHandUp: fields["hand"] === true,
    decodes: decodes
      .map((codec) => (typeof codec === "string" ? codecOf(codec) : undefined))
      .filter((codec): codec is Codec => codec !== undefined),
  };
}

/** Codecs as WebCodecs names them. */
const CODEC_STRINGS: Record<Codec, string> = {
  vp8: "vp8",
  vp9: "vp09.00.10.08",
  av1: "av01.0.04M.08",
  h264: "avc1.42001f",
  opus: "opus",
  aac: "mp4a.40.2",
};

/** The JSON of a snapshot. */
export function writeState(state: ParticipantState): string {
  return JSON.stringify({
    name: state.name,
    muted: state.isMuted,
    camera: state.hasCamera,
    screen: state.hasScreen,
    hand: state.hasHandUp,
    decodes: state.decodes.map((codec) => CODEC_STRINGS[codec]),
  });
}
