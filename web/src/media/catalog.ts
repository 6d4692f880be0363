/**
 * The catalog of a participant: MSF JSON (docs/wire.md, "Catalog"). Every object of the track `catalog` is a whole one.
 * Reading is tolerant: unknown fields are passed over, and a track that is not understood is ignored alone. Pure.
 */
import { readKeyValuePairs } from "../moqt/key_value";
import { codecOf, type Format, isVideo, type Shape } from "./format";

/** The version of MSF that is written and understood. */
export const CATALOG_VERSION = "draft-01";
/** Largest catalog that is read, bytes, before and after decompression. */
export const CATALOG_BYTES_MAX = 256 * 1024;
/** Most tracks read from a catalog; further ones are ignored. */
export const TRACKS_MAX = 64;
/** MSF_COMPRESSION, a property of the track or of an object: 0 is none, 1 is gzip. */
const COMPRESSION = 0x78n;
/** Longest side of a picture that is believed. */
const SIDE_MAX = 16_384;
/** Fastest sampling that is believed, Hz. */
const SAMPLERATE_MAX = 768_000;

/** How frames stand in objects: one frame in each, or perhaps in pieces. */
export type Packaging = "loc" | "loc-fragments";

/** What the time stamps of a track count. */
export type Clock =
  /** Microseconds since 1970: live capture. */
  | { readonly type: "unix" }
  /** Ticks of the format's timescale: a file. */
  | { readonly type: "media"; readonly zeroUnixUs: number | undefined };

/** One track of media. */
export interface CatalogTrack {
  /** Unique in the catalog. */
  readonly name: string;
  readonly packaging: Packaging;
  /** False when nothing will be added to the track. */
  readonly isLive: boolean;
  /** What a decoder must know. Its timescale is that of the clock. */
  readonly format: Format;
  /** Most bits per second; 0 when unsaid. */
  readonly bitrate: number;
  /** Tracks with the same number show the same thing and start groups together. */
  readonly altGroup: number | undefined;
  /** Tracks with the same number belong together. */
  readonly renderGroup: number | undefined;
  /** At least 1. */
  readonly temporalLayers: number;
  readonly clock: Clock;
  /** A name for people. */
  readonly label: string | undefined;
}

/** What one participant publishes right now. */
export interface Catalog {
  /** When it was made, Unix milliseconds. */
  readonly generatedAtMs: number | undefined;
  /** True when nothing will ever be added. */
  readonly isComplete: boolean;
  readonly tracks: readonly CatalogTrack[];
  /** Entries that were not understood (filled by reading only). */
  readonly ignored: readonly { readonly name: string; readonly reason: string }[];
}

/** Why a catalog could not be read; `message` is for people. */
export class CatalogError extends Error {
  override readonly name = "CatalogError";
}

type Compression = "none" | "gzip" | "unknown";
type Json = Record<string, unknown>;

// ---- reading

/** Reads a catalog object. The properties tell how it is compressed. */
export async function readCatalog(
  payload: Uint8Array,
  trackProperties: Uint8Array,
  objectProperties: Uint8Array,
): Promise<Catalog> {
  if (payload.length > CATALOG_BYTES_MAX) throw new CatalogError("the catalog is larger than 256 KiB");
  const decoder = new TextDecoder("utf-8");
  switch (compressionOf(trackProperties, objectProperties)) {
    case "none":
      return parseCatalog(decoder.decode(payload));
    case "gzip":
      return parseCatalog(decoder.decode(await gunzip(payload)));
    case "unknown":
      throw new CatalogError("the catalog's compression is not readable");
  }
}

/** The compression that the properties of the track or of the object announce. */
function compressionOf(trackProperties: Uint8Array, objectProperties: Uint8Array): Compression {
  const announced = (properties: Uint8Array) =>
    readKeyValuePairs(properties).find(({ type, value }) => type === COMPRESSION && typeof value === "bigint")?.value;
  const number = announced(objectProperties) ?? announced(trackProperties) ?? 0n;
  return number === 0n ? "none" : number === 1n ? "gzip" : "unknown";
}

/** Reads a catalog's JSON. */
export function parseCatalog(json: string): Catalog {
  const root = objectOf(parseJson(json));
  if (!root) throw new CatalogError("the catalog is not MSF JSON");
  if (root["deltaUpdate"] !== undefined && root["deltaUpdate"] !== null) {
    throw new CatalogError("the catalog is a delta update, which is not supported");
  }
  if (root["version"] !== CATALOG_VERSION) {
    throw new CatalogError(`the catalog is of MSF version ${JSON.stringify(root["version"]) ?? "none"}, not "${CATALOG_VERSION}"`);
  }
  const tracks: CatalogTrack[] = [];
  const ignored: { name: string; reason: string }[] = [];
  const initData = listOf(root["initDataList"]);
  for (const [i, entry] of listOf(root["tracks"]).entries()) {
    const name = textOf(entry["name"])?.slice(0, 256) ?? "";
    let reason: string | undefined;
    try {
      if (i >= TRACKS_MAX) throw new CatalogError("there are too many tracks");
      const track = readTrack(entry, initData);
      if (tracks.some((other) => other.name === track.name)) throw new CatalogError("the name stands twice");
      tracks.push(track);
    } catch (error) {
      if (!(error instanceof CatalogError)) throw error;
      reason = error.message;
    }
    if (reason !== undefined && ignored.length < TRACKS_MAX) ignored.push({ name, reason });
  }
  const generatedAtMs = numberOf(root["generatedAt"]);
  return { generatedAtMs, isComplete: root["isComplete"] === true, tracks, ignored };
}

function readTrack(json: Json, initData: readonly Json[]): CatalogTrack {
  const name = textOf(json["name"]) ?? "";
  if (name === "" || new TextEncoder().encode(name).length > 256) {
    throw new CatalogError("the name is empty or longer than 256 bytes");
  }
  const packaging = json["packaging"];
  if (packaging !== "loc" && packaging !== "loc-fragments") throw new CatalogError("the packaging is unknown");
  const codecString = textOf(json["codec"]) ?? fail("there is no codec");
  const codec = codecOf(codecString) ?? fail("the codec is unknown");
  const timescale = numberOf(json["timescale"]);
  if (timescale === 0) throw new CatalogError("the timescale is 0");
  const config = readInitData(textOf(json["initRef"]), initData);
  if (codec === "h264" && config.length === 0) throw new CatalogError("H.264 needs its avcC");
  const shape = isVideo(codec) ? readPicture(json) : readSound(json);
  const isLive = json["isLive"];
  if (typeof isLive !== "boolean") throw new CatalogError("there is no isLive");
  return {
    name,
    packaging,
    isLive,
    format: { codec, codecString, shape, config, timescale: timescale ?? 1_000_000 },
    bitrate: Math.floor(numberOf(json["bitrate"]) ?? 0),
    altGroup: numberOf(json["altGroup"]),
    renderGroup: numberOf(json["renderGroup"]),
    temporalLayers: Math.min(Math.max(numberOf(json["temporalLayers"]) ?? 1, 1), 8),
    clock: timescale === undefined ? { type: "unix" } : { type: "media", zeroUnixUs: numberOf(json["epochUs"]) },
    label: textOf(json["label"])?.slice(0, 256),
  };
}

function readPicture(json: Json): Shape {
  const side = (name: string) => {
    const side = numberOf(json[name]);
    return side !== undefined && side >= 1 && side <= SIDE_MAX ? side : fail(`there is no ${name}`);
  };
  const framerate = numberOf(json["framerate"]);
  return {
    type: "video",
    width: side("width"),
    height: side("height"),
    framerate: framerate !== undefined && framerate > 0 && framerate <= 1000 ? framerate : undefined,
  };
}

function readSound(json: Json): Shape {
  const config = textOf(json["channelConfig"]) ?? fail("there is no channelConfig");
  const channels = config === "mono" ? 1 : config === "stereo" ? 2 : /^\d{1,3}$/.test(config) ? Number(config) : 0;
  const samplerate = numberOf(json["samplerate"]) ?? 0;
  if (samplerate < 1 || samplerate > SAMPLERATE_MAX) throw new CatalogError("there is no samplerate");
  if (channels < 1 || channels > 255) throw new CatalogError("the channelConfig is unknown");
  return { type: "audio", samplerate, channels };
}

function readInitData(reference: string | undefined, list: readonly Json[]): Uint8Array {
  if (reference === undefined) return new Uint8Array(0);
  const entry = list.find((entry) => entry["id"] === reference) ?? fail("the initRef refers to nothing");
  if (entry["type"] !== "inline") throw new CatalogError("the initialization data is not inline");
  try {
    return Uint8Array.from(atob(textOf(entry["data"]) ?? fail("")), (letter) => letter.charCodeAt(0));
  } catch {
    throw new CatalogError("the initialization data is not base64");
  }
}

function fail(reason: string): never {
  throw new CatalogError(reason);
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new CatalogError("the catalog is not MSF JSON");
  }
}

function objectOf(value: unknown): Json | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
}

function listOf(value: unknown): Json[] {
  return Array.isArray(value) ? value.map((entry) => objectOf(entry) ?? {}) : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    for (const reader = stream.getReader(); length <= CATALOG_BYTES_MAX; ) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      parts.push(value as Uint8Array<ArrayBuffer>);
      if (length > CATALOG_BYTES_MAX) await reader.cancel();
    }
  } catch {
    throw new CatalogError("the catalog's compression is not readable");
  }
  if (length > CATALOG_BYTES_MAX) throw new CatalogError("the catalog is larger than 256 KiB");
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

// ---- writing

/** The JSON of a catalog. */
export function encodeCatalog(catalog: Omit<Catalog, "ignored">): string {
  const withConfig = catalog.tracks.filter(({ format }) => format.config.length > 0);
  return JSON.stringify({
    version: CATALOG_VERSION,
    generatedAt: catalog.generatedAtMs,
    isComplete: catalog.isComplete || undefined,
    tracks: catalog.tracks.map(trackJson),
    initDataList:
      withConfig.length > 0
        ? withConfig.map(({ name, format }) => ({ id: name, type: "inline", data: base64(format.config) }))
        : undefined,
  });
}

function trackJson(track: CatalogTrack): Json {
  const { format, clock } = track;
  const { shape } = format;
  return {
    name: track.name,
    packaging: track.packaging,
    isLive: track.isLive,
    role: shape.type,
    label: track.label,
    renderGroup: track.renderGroup,
    altGroup: track.altGroup,
    initRef: format.config.length > 0 ? track.name : undefined,
    codec: format.codecString,
    bitrate: track.bitrate,
    ...(shape.type === "video"
      ? { width: shape.width, height: shape.height, framerate: shape.framerate }
      : { samplerate: shape.samplerate, channelConfig: String(shape.channels) }),
    ...(clock.type === "media" && { timescale: format.timescale, epochUs: clock.zeroUnixUs }),
    temporalLayers: shape.type === "video" ? track.temporalLayers : undefined,
  };
}

function base64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes));
}
