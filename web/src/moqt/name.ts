/** Namespaces and track names (draft 2.4.1): tuples of bytes, compared byte for byte. */
import { Violation } from "./error";
import { type Reader, text, utf8, Writer } from "./vi64";

/** Most fields of a namespace. */
export const NAMESPACE_FIELDS_MAX = 32;
/** Most bytes of a namespace and a name together. */
export const FULL_TRACK_NAME_BYTES_MAX = 4096;

/** A track namespace, or a prefix of one. */
export type Namespace = readonly Uint8Array[];

/** A namespace and the track's name in it. */
export interface FullTrackName {
  readonly namespace: Namespace;
  readonly name: Uint8Array;
}

/** A namespace of text fields. */
export function namespace(...fields: string[]): Namespace {
  return fields.map(utf8);
}

/** A track of text fields and a text name. */
export function fullTrackName(space: Namespace, name: string): FullTrackName {
  return { namespace: space, name: utf8(name) };
}

/** The draft's rendering (2.4.2): safe, unambiguous, and so the key of a namespace in a map. */
export function namespaceKey(space: Namespace): string {
  return space.map(safe).join("-");
}

/** The same for a track. */
export function trackKey(track: FullTrackName): string {
  return `${namespaceKey(track.namespace)}--${safe(track.name)}`;
}

/** A namespace for people. */
export function namespaceText(space: Namespace): string {
  return space.map(text).join("/");
}

function safe(bytes: Uint8Array): string {
  let rendered = "";
  for (const byte of bytes) {
    const letter = String.fromCharCode(byte);
    rendered += /[A-Za-z0-9_]/.test(letter) ? letter : `.${byte.toString(16).padStart(2, "0")}`;
  }
  return rendered;
}

/** Reads a namespace. */
export function readNamespace(reader: Reader): Namespace {
  const count = reader.count();
  if (count > NAMESPACE_FIELDS_MAX) throw new Violation("a namespace has more than 32 fields");
  const fields: Uint8Array[] = [];
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const field = reader.sized(FULL_TRACK_NAME_BYTES_MAX, "a namespace field");
    if (field.length === 0) throw new Violation("a namespace field is empty");
    bytes += field.length;
    fields.push(field);
  }
  if (bytes > FULL_TRACK_NAME_BYTES_MAX) throw new Violation("a namespace is longer than 4096 bytes");
  return fields;
}

/** Writes a namespace. */
export function writeNamespace(writer: Writer, space: Namespace): void {
  writer.vi64(space.length);
  for (const field of space) writer.sized(field);
}

/** Reads namespace and name. */
export function readFullTrackName(reader: Reader): FullTrackName {
  const space = readNamespace(reader);
  const name = reader.sized(FULL_TRACK_NAME_BYTES_MAX, "a track name");
  const bytes = space.reduce((sum, field) => sum + field.length, name.length);
  if (bytes > FULL_TRACK_NAME_BYTES_MAX) throw new Violation("a full track name is longer than 4096 bytes");
  return { namespace: space, name };
}

/** Writes namespace and name. */
export function writeFullTrackName(writer: Writer, track: FullTrackName): void {
  writeNamespace(writer, track.namespace);
  writer.sized(track.name);
}
