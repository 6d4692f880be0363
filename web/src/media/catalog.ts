/** The catalog of a participant: MSF JSON (docs/wire.md). Reading is tolerant: what is not understood is left out. */

/** The version of MSF that is understood. */
export const CATALOG_VERSION = "draft-01";
/** Largest catalog that is read, bytes, before and after decompression. */
export const CATALOG_BYTES_MAX = 256 * 1024;
/** Most tracks read from a catalog. */
export const TRACKS_MAX = 64;

/** One track of media, as far as the page shows it. */
export interface CatalogTrack {
  readonly name: string;
  /** Codec parameter string, such as `vp8` or `avc1.64001f`. */
  readonly codec: string | undefined;
  /** Bits per second at most, when said. */
  readonly bitrate: number | undefined;
  readonly width: number | undefined;
  readonly height: number | undefined;
  readonly framerate: number | undefined;
  readonly samplerate: number | undefined;
  readonly channels: string | undefined;
  /** A name for people. */
  readonly label: string | undefined;
}

/** Why a catalog could not be read; `message` is for people. */
export class CatalogError extends Error {
  override readonly name = "CatalogError";
}

/** Reads a catalog object, plain or gzipped. */
export async function readCatalog(payload: Uint8Array): Promise<CatalogTrack[]> {
  if (payload.length > CATALOG_BYTES_MAX) throw new CatalogError("its catalog is larger than 256 KiB");
  const isGzip = payload[0] === 0x1f && payload[1] === 0x8b;
  return parseCatalog(new TextDecoder().decode(isGzip ? await gunzip(payload) : payload));
}

/** Reads a catalog's JSON. */
export function parseCatalog(json: string): CatalogTrack[] {
  const root = object(parseJson(json));
  if (!root) throw new CatalogError("its catalog is not a JSON object");
  if (root["version"] !== CATALOG_VERSION) {
    throw new CatalogError(`its catalog is of version ${JSON.stringify(root["version"]) ?? "none"}, not "${CATALOG_VERSION}"`);
  }
  const entries = Array.isArray(root["tracks"]) ? root["tracks"].slice(0, TRACKS_MAX) : [];
  const tracks = new Map<string, CatalogTrack>();
  for (const entry of entries.map(object)) {
    const name = entry && text(entry["name"]);
    if (!name || tracks.has(name)) continue;
    tracks.set(name, {
      name,
      codec: text(entry["codec"]),
      bitrate: number(entry["bitrate"]),
      width: number(entry["width"]),
      height: number(entry["height"]),
      framerate: number(entry["framerate"]),
      samplerate: number(entry["samplerate"]),
      channels: text(entry["channelConfig"]),
      label: text(entry["label"]),
    });
  }
  return [...tracks.values()];
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    throw new CatalogError("its catalog is not JSON");
  }
}

function object(value: unknown): Record<string, unknown> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : undefined;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value.length <= 256 ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : undefined;
}

async function gunzip(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("gzip"));
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    for (const reader = stream.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      if (length > CATALOG_BYTES_MAX) {
        await reader.cancel();
        break;
      }
      parts.push(value);
    }
  } catch {
    throw new CatalogError("its catalog's compression is damaged");
  }
  if (length > CATALOG_BYTES_MAX) throw new CatalogError("its catalog is larger than 256 KiB");
  return new Uint8Array(await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
}
