/** Control messages (draft 10): values, their bytes and back. */
import { SessionErrorCode, Violation } from "./error";
import { readKeyValuePairs, writeKeyValuePairs, type KeyValuePair } from "./key_value";
import {
  type FullTrackName,
  type Namespace,
  readFullTrackName,
  readNamespace,
  writeFullTrackName,
  writeNamespace,
} from "./name";
import {
  type Location,
  type Parameters,
  readLocation,
  readParameters,
  readToken,
  scope,
  type Scope,
  type Token,
  tokenBytes,
  writeLocation,
  writeParameters,
} from "./parameters";
import { Reader, text, utf8, Writer } from "./vi64";

/** Most bytes of a message's payload: its length has 16 bits. */
export const PAYLOAD_BYTES_MAX = 0xffff;
const REASON_BYTES_MAX = 1024;
const URI_BYTES_MAX = 8192;

/** SETUP options (draft 10.3.1). Unknown ones are ignored. */
export interface Setup {
  readonly path?: Uint8Array;
  readonly authorizationTokens?: readonly Token[];
  readonly maxAuthTokenCacheSize?: bigint;
  readonly authority?: Uint8Array;
  readonly implementation?: Uint8Array;
}

/** What a FETCH asks for (draft 10.12). Ends are in the wire's form: object plus one, or 0 for the whole group. */
export type FetchRange =
  | { readonly type: "standalone"; readonly track: FullTrackName; readonly start: Location; readonly end: Location }
  | { readonly type: "relativeJoining"; readonly subscription: bigint; readonly groupsBack: bigint }
  | { readonly type: "absoluteJoining"; readonly subscription: bigint; readonly group: bigint };

/** Where else to ask (draft 10.6.1). */
export interface Redirect {
  readonly uri: Uint8Array;
  readonly track: FullTrackName;
}

/** Every message. Track properties are Key-Value-Pairs as bytes. */
export type Message =
  | { readonly type: "setup"; readonly setup: Setup }
  | { readonly type: "goAway"; readonly uri: Uint8Array; readonly timeoutMs: bigint; readonly requestId?: bigint }
  | { readonly type: "subscribe" | "trackStatus"; readonly requestId: bigint; readonly track: FullTrackName; readonly parameters: Parameters }
  | { readonly type: "publish"; readonly requestId: bigint; readonly track: FullTrackName; readonly alias: bigint; readonly parameters: Parameters; readonly trackProperties: Uint8Array }
  | { readonly type: "fetch"; readonly requestId: bigint; readonly range: FetchRange; readonly parameters: Parameters }
  | { readonly type: "publishNamespace" | "subscribeNamespace" | "subscribeTracks"; readonly requestId: bigint; readonly namespace: Namespace; readonly parameters: Parameters }
  | { readonly type: "requestUpdate"; readonly requestId: bigint; readonly parameters: Parameters }
  | { readonly type: "subscribeOk"; readonly alias: bigint; readonly parameters: Parameters; readonly trackProperties: Uint8Array }
  | { readonly type: "fetchOk"; readonly endOfTrack: boolean; readonly end: Location; readonly parameters: Parameters; readonly trackProperties: Uint8Array }
  | { readonly type: "requestOk"; readonly parameters: Parameters; readonly trackProperties: Uint8Array }
  | { readonly type: "requestError"; readonly code: bigint; readonly retryAfterMs?: bigint; readonly reason: string; readonly redirect?: Redirect }
  | { readonly type: "publishDone"; readonly code: bigint; readonly streamCount: bigint; readonly reason: string }
  | { readonly type: "namespace" | "namespaceDone"; readonly suffix: Namespace }
  | { readonly type: "publishBlocked"; readonly suffix: Namespace; readonly name: Uint8Array };

/** Numbers of the messages on the wire (draft 10). */
const TYPES: Record<Message["type"], bigint> = {
  setup: 0x2f00n,
  goAway: 0x10n,
  subscribe: 0x03n,
  subscribeOk: 0x04n,
  publish: 0x1dn,
  publishDone: 0x0bn,
  fetch: 0x16n,
  fetchOk: 0x18n,
  trackStatus: 0x0dn,
  publishNamespace: 0x06n,
  subscribeNamespace: 0x50n,
  subscribeTracks: 0x51n,
  namespace: 0x08n,
  namespaceDone: 0x0en,
  publishBlocked: 0x0fn,
  requestUpdate: 0x02n,
  requestOk: 0x07n,
  requestError: 0x05n,
};
const NAMES = new Map(Object.entries(TYPES).map(([name, type]) => [type, name as Message["type"]]));
// The draft's table gives PUBLISH_OK a number of its own, its text does not: understood, never sent.
NAMES.set(0x1en, "requestOk");

/** Where a message stands: on a control stream, first on a request stream, or later on one. */
export type Context = "control" | "first" | "request";

const CONTEXTS: Record<Message["type"], readonly Context[]> = {
  setup: ["control"],
  goAway: ["control", "request"],
  subscribe: ["first"],
  publish: ["first"],
  fetch: ["first"],
  trackStatus: ["first"],
  publishNamespace: ["first"],
  subscribeNamespace: ["first"],
  subscribeTracks: ["first"],
  requestUpdate: ["request"],
  subscribeOk: ["request"],
  fetchOk: ["request"],
  requestOk: ["request"],
  requestError: ["request"],
  publishDone: ["request"],
  namespace: ["request"],
  namespaceDone: ["request"],
  publishBlocked: ["request"],
};

/** Which parameters a message may carry. REQUEST_UPDATE and REQUEST_OK: what one of any request may. */
const SCOPES = {
  subscribe: scope(0x02, 0x03, 0x04, 0x06, 0x10, 0x20, 0x21, 0x22, 0x32),
  publish: scope(0x03, 0x08, 0x09, 0x10),
  fetch: scope(0x03, 0x0a, 0x20, 0x22),
  trackStatus: scope(0x03),
  publishNamespace: scope(0x03),
  subscribeNamespace: scope(0x03),
  subscribeTracks: scope(0x03, 0x10),
  requestUpdate: scope(0x02, 0x03, 0x06, 0x10, 0x20, 0x21, 0x32, 0x34),
  subscribeOk: scope(0x08, 0x09),
  fetchOk: scope(),
  requestOk: scope(0x02, 0x06, 0x08, 0x09, 0x10, 0x20, 0x21, 0x22, 0x32),
} satisfies Partial<Record<Message["type"], Scope>>;

const REDIRECT = 0x34n;

/** The type of a control stream and of the message that begins it. */
export const SETUP_TYPE = TYPES.setup;

/** A whole message: type, length, payload. */
export function encodeMessage(message: Message): Uint8Array<ArrayBuffer> {
  const payload = new Writer();
  writePayload(payload, message);
  const bytes = payload.finish();
  if (bytes.length > PAYLOAD_BYTES_MAX) throw new RangeError("the message is longer than the protocol allows");
  return new Writer()
    .vi64(TYPES[message.type])
    .byte(bytes.length >> 8)
    .byte(bytes.length & 0xff)
    .bytes(bytes)
    .finish();
}

/** Reads a message whose type and payload have been cut out of its stream. */
export function decodeMessage(type: bigint, payload: Uint8Array, context: Context): Message {
  const name = NAMES.get(type);
  if (name === undefined) throw new Violation(`a message of unknown type 0x${type.toString(16)}`);
  if (!CONTEXTS[name].includes(context)) throw new Violation(`${name} where it does not belong`);
  const reader = new Reader(payload);
  const message = readPayload(reader, name, context);
  reader.end("a message");
  return message;
}

function writePayload(writer: Writer, message: Message): void {
  switch (message.type) {
    case "setup":
      writeKeyValuePairs(writer, setupPairs(message.setup));
      return;
    case "goAway":
      writer.sized(message.uri).vi64(message.timeoutMs);
      if (message.requestId !== undefined) writer.vi64(message.requestId);
      return;
    case "subscribe":
    case "trackStatus":
      writeFullTrackName(writer.vi64(message.requestId), message.track);
      writeParameters(writer, message.parameters);
      return;
    case "publish":
      writeFullTrackName(writer.vi64(message.requestId), message.track);
      writeParameters(writer.vi64(message.alias), message.parameters);
      writer.bytes(message.trackProperties);
      return;
    case "fetch":
      writeFetchRange(writer.vi64(message.requestId), message.range);
      writeParameters(writer, message.parameters);
      return;
    case "publishNamespace":
    case "subscribeNamespace":
    case "subscribeTracks":
      writeNamespace(writer.vi64(message.requestId), message.namespace);
      writeParameters(writer, message.parameters);
      return;
    case "requestUpdate":
      writeParameters(writer.vi64(message.requestId), message.parameters);
      return;
    case "subscribeOk":
      writeParameters(writer.vi64(message.alias), message.parameters);
      writer.bytes(message.trackProperties);
      return;
    case "fetchOk":
      writeLocation(writer.byte(Number(message.endOfTrack)), message.end);
      writeParameters(writer, message.parameters);
      writer.bytes(message.trackProperties);
      return;
    case "requestOk":
      writeParameters(writer, message.parameters);
      writer.bytes(message.trackProperties);
      return;
    case "requestError":
      writer.vi64(message.code).vi64(message.retryAfterMs === undefined ? 0n : message.retryAfterMs + 1n);
      writer.sized(utf8(message.reason));
      if (message.redirect) writeFullTrackName(writer.sized(message.redirect.uri), message.redirect.track);
      return;
    case "publishDone":
      writer.vi64(message.code).vi64(message.streamCount).sized(utf8(message.reason));
      return;
    case "namespace":
    case "namespaceDone":
      writeNamespace(writer, message.suffix);
      return;
    case "publishBlocked":
      writeNamespace(writer, message.suffix);
      writer.sized(message.name);
  }
}

function readPayload(reader: Reader, type: Message["type"], context: Context): Message {
  switch (type) {
    case "setup":
      return { type, setup: readSetup(reader.rest()) };
    case "goAway": {
      const uri = reader.sized(URI_BYTES_MAX, "a URI");
      const timeoutMs = reader.vi64();
      // On the control stream it says where processing stopped; a request's stream is about that request.
      return context === "control"
        ? { type, uri, timeoutMs, requestId: reader.vi64() }
        : { type, uri, timeoutMs };
    }
    case "subscribe":
    case "trackStatus":
      return { type, requestId: reader.vi64(), track: readFullTrackName(reader), parameters: readParameters(reader, SCOPES[type]) };
    case "publish":
      return {
        type,
        requestId: reader.vi64(),
        track: readFullTrackName(reader),
        alias: reader.vi64(),
        parameters: readParameters(reader, SCOPES[type]),
        trackProperties: readProperties(reader),
      };
    case "fetch":
      return { type, requestId: reader.vi64(), range: readFetchRange(reader), parameters: readParameters(reader, SCOPES[type]) };
    case "publishNamespace":
    case "subscribeNamespace":
    case "subscribeTracks":
      return { type, requestId: reader.vi64(), namespace: readNamespace(reader), parameters: readParameters(reader, SCOPES[type]) };
    case "requestUpdate":
      return { type, requestId: reader.vi64(), parameters: readParameters(reader, SCOPES[type]) };
    case "subscribeOk":
      return {
        type,
        alias: reader.vi64(),
        parameters: readParameters(reader, SCOPES[type]),
        trackProperties: readProperties(reader),
      };
    case "fetchOk": {
      const endOfTrack = reader.byte();
      if (endOfTrack > 1) throw new Violation("End Of Track is neither 0 nor 1");
      return {
        type,
        endOfTrack: endOfTrack === 1,
        end: readLocation(reader),
        parameters: readParameters(reader, SCOPES[type]),
        trackProperties: readProperties(reader),
      };
    }
    case "requestOk":
      return { type, parameters: readParameters(reader, SCOPES[type]), trackProperties: readProperties(reader) };
    case "requestError": {
      const code = reader.vi64();
      const retry = reader.vi64();
      const reason = text(reader.sized(REASON_BYTES_MAX, "a reason"));
      return {
        type,
        code,
        ...(retry > 0n && { retryAfterMs: retry - 1n }),
        reason,
        ...(code === REDIRECT && {
          redirect: { uri: reader.sized(URI_BYTES_MAX, "a URI"), track: readFullTrackName(reader) },
        }),
      };
    }
    case "publishDone":
      return {
        type,
        code: reader.vi64(),
        streamCount: reader.vi64(),
        reason: text(reader.sized(REASON_BYTES_MAX, "a reason")),
      };
    case "namespace":
    case "namespaceDone":
      return { type, suffix: readNamespace(reader) };
    case "publishBlocked": {
      const { namespace, name } = readFullTrackName(reader);
      return { type, suffix: namespace, name };
    }
  }
}

/** Checks the pairs, which fill the rest of the message; whoever needs one reads them again. */
function readProperties(reader: Reader): Uint8Array {
  const bytes = reader.rest();
  checkTrackProperties(readKeyValuePairs(bytes));
  return bytes;
}

function checkTrackProperties(pairs: KeyValuePair[]): void {
  for (const { type, value } of pairs) {
    if (type === 0x22n && value !== 1n && value !== 2n) throw new Violation("a track's group order is neither 1 nor 2");
    if (type === 0x30n && value !== 0n && value !== 1n) throw new Violation("DYNAMIC_GROUPS is neither 0 nor 1");
  }
}

function setupPairs(setup: Setup): KeyValuePair[] {
  const pairs: KeyValuePair[] = [];
  if (setup.path) pairs.push({ type: 0x01n, value: setup.path });
  for (const token of setup.authorizationTokens ?? []) pairs.push({ type: 0x03n, value: tokenBytes(token) });
  if (setup.maxAuthTokenCacheSize !== undefined) pairs.push({ type: 0x04n, value: setup.maxAuthTokenCacheSize });
  if (setup.authority) pairs.push({ type: 0x05n, value: setup.authority });
  if (setup.implementation) pairs.push({ type: 0x07n, value: setup.implementation });
  return pairs;
}

function readSetup(bytes: Uint8Array): Setup {
  const setup: { -readonly [K in keyof Setup]: Setup[K] } = {};
  const tokens: Token[] = [];
  const once = (option: keyof Setup) => {
    if (setup[option] !== undefined) throw new Violation(`SETUP has the option ${option} twice`);
  };
  for (const { type, value } of readKeyValuePairs(bytes)) {
    if (typeof value === "bigint") {
      if (type !== 0x04n) continue;
      once("maxAuthTokenCacheSize");
      setup.maxAuthTokenCacheSize = value;
    } else if (type === 0x03n) {
      const token = readToken(value);
      if (token.type === "delete" || token.type === "useAlias") {
        throw new Violation("a token alias in SETUP, where none can have been registered");
      }
      tokens.push(token);
      setup.authorizationTokens = tokens;
    } else {
      const option = type === 0x01n ? "path" : type === 0x05n ? "authority" : type === 0x07n ? "implementation" : null;
      if (!option) continue;
      once(option);
      if (option === "path" && !/^([/?][!$-;=?-Z_a-z~%@]*)?$/.test(text(value))) {
        throw new Violation("PATH is no path of a URI", SessionErrorCode.malformedPath);
      }
      setup[option] = value;
    }
  }
  return setup;
}

function writeFetchRange(writer: Writer, range: FetchRange): void {
  switch (range.type) {
    case "standalone":
      writeFullTrackName(writer.vi64(1), range.track);
      writeLocation(writer, range.start);
      writeLocation(writer, range.end);
      return;
    case "relativeJoining":
      writer.vi64(2).vi64(range.subscription).vi64(range.groupsBack);
      return;
    case "absoluteJoining":
      writer.vi64(3).vi64(range.subscription).vi64(range.group);
  }
}

function readFetchRange(reader: Reader): FetchRange {
  const type = reader.vi64();
  switch (type) {
    case 1n:
      return {
        type: "standalone",
        track: readFullTrackName(reader),
        start: readLocation(reader),
        end: readLocation(reader),
      };
    case 2n:
      return { type: "relativeJoining", subscription: reader.vi64(), groupsBack: reader.vi64() };
    case 3n:
      return { type: "absoluteJoining", subscription: reader.vi64(), group: reader.vi64() };
    default:
      throw new Violation("a FETCH of an unknown type");
  }
}
