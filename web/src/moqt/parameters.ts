/** Message parameters (draft 10.2): each type has its own form, none may be unknown. */
import { SessionErrorCode, Violation } from "./error";
import { type Namespace, readNamespace, writeNamespace } from "./name";
import { Reader, VI64_MAX, Writer } from "./vi64";

/** Where an object stands in its track: group first. */
export interface Location {
  readonly group: bigint;
  readonly object: bigint;
}

/** Order of groups within a subscription or FETCH. */
export type GroupOrder = "ascending" | "descending";

/** Which objects a subscription wants (draft 5.1.2). */
export type Filter =
  | { readonly type: "nextGroupStart" }
  | { readonly type: "largestObject" }
  | { readonly type: "absoluteStart"; readonly start: Location }
  /** `endGroup` is absolute here, a delta on the wire. */
  | { readonly type: "absoluteRange"; readonly start: Location; readonly endGroup: bigint };

/** An authorization token as it stands in SETUP or a parameter (draft 10.2.2). */
export type Token =
  | { readonly type: "delete"; readonly alias: bigint }
  | { readonly type: "register"; readonly alias: bigint; readonly tokenType: bigint; readonly value: Uint8Array }
  | { readonly type: "useAlias"; readonly alias: bigint }
  | { readonly type: "useValue"; readonly tokenType: bigint; readonly value: Uint8Array };

/** All parameters of the draft; absent ones are left out. Times are milliseconds. */
export interface Parameters {
  readonly objectDeliveryTimeoutMs?: bigint;
  readonly authorizationTokens?: readonly Token[];
  readonly rendezvousTimeoutMs?: bigint;
  readonly subgroupDeliveryTimeoutMs?: bigint;
  readonly expiresMs?: bigint;
  readonly largestObject?: Location;
  readonly fillTimeoutMs?: bigint;
  readonly forward?: boolean;
  readonly subscriberPriority?: number;
  readonly filter?: Filter;
  readonly groupOrder?: GroupOrder;
  readonly newGroupRequest?: bigint;
  readonly namespacePrefix?: Namespace;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const TOKEN_BYTES_MAX = 0xffff;
/** What is not what its type says (draft 1.4.3). */
const KEY_VALUE = SessionErrorCode.keyValueFormattingError;

/** Reads a location. */
export function readLocation(reader: Reader): Location {
  return { group: reader.vi64(), object: reader.vi64() };
}

/** Writes a location. */
export function writeLocation(writer: Writer, location: Location): void {
  writer.vi64(location.group).vi64(location.object);
}

/** Reads a token to the end of `bytes`. */
export function readToken(bytes: Uint8Array): Token {
  const reader = new Reader(bytes, KEY_VALUE);
  const aliasType = reader.vi64();
  switch (aliasType) {
    case 0n: {
      const token: Token = { type: "delete", alias: reader.vi64() };
      reader.end("a token");
      return token;
    }
    case 1n:
      return { type: "register", alias: reader.vi64(), tokenType: reader.vi64(), value: reader.rest() };
    case 2n: {
      const token: Token = { type: "useAlias", alias: reader.vi64() };
      reader.end("a token");
      return token;
    }
    case 3n:
      return { type: "useValue", tokenType: reader.vi64(), value: reader.rest() };
    default:
      throw new Violation("a token of an unknown alias type", KEY_VALUE);
  }
}

/** A token's bytes. */
export function tokenBytes(token: Token): Uint8Array {
  const writer = new Writer();
  switch (token.type) {
    case "delete":
      return writer.vi64(0).vi64(token.alias).finish();
    case "register":
      return writer.vi64(1).vi64(token.alias).vi64(token.tokenType).bytes(token.value).finish();
    case "useAlias":
      return writer.vi64(2).vi64(token.alias).finish();
    case "useValue":
      return writer.vi64(3).vi64(token.tokenType).bytes(token.value).finish();
  }
}

function readFilter(bytes: Uint8Array): Filter {
  const reader = new Reader(bytes, KEY_VALUE);
  const filter = filterOf(reader);
  reader.end("a filter");
  return filter;
}

function filterOf(reader: Reader): Filter {
  const type = reader.vi64();
  switch (type) {
    case 1n:
      return { type: "nextGroupStart" };
    case 2n:
      return { type: "largestObject" };
    case 3n:
      return { type: "absoluteStart", start: readLocation(reader) };
    case 4n: {
      const start = readLocation(reader);
      const endGroup = start.group + reader.vi64();
      if (endGroup > VI64_MAX) throw new Violation("a filter ends beyond the last group");
      return { type: "absoluteRange", start, endGroup };
    }
    default:
      throw new Violation("a filter of an unknown type");
  }
}

function filterBytes(filter: Filter): Uint8Array {
  const writer = new Writer();
  switch (filter.type) {
    case "nextGroupStart":
      return writer.vi64(1).finish();
    case "largestObject":
      return writer.vi64(2).finish();
    case "absoluteStart":
      writeLocation(writer.vi64(3), filter.start);
      return writer.finish();
    case "absoluteRange":
      writeLocation(writer.vi64(4), filter.start);
      return writer.vi64(filter.endGroup - filter.start.group).finish();
  }
}

/** Parameters that may stand in a message, by type (draft 10.2). */
export type Scope = ReadonlySet<bigint>;

/** A scope of these types. */
export function scope(...types: number[]): Scope {
  return new Set(types.map(BigInt));
}

/** Reads a count and as many parameters; one that is not in `scope` is a violation. */
export function readParameters(reader: Reader, scope: Scope): Parameters {
  const count = reader.count();
  const parameters: Mutable<Parameters> = {};
  const tokens: Token[] = [];
  let type = 0n;
  for (let i = 0; i < count; i++) {
    const delta = reader.vi64();
    if (i > 0 && delta === 0n && type !== 0x03n) throw new Violation("a parameter stands twice");
    type += delta;
    if (!scope.has(type)) throw new Violation("a message has a parameter that it may not carry");
    switch (type) {
      case 0x02n:
        parameters.objectDeliveryTimeoutMs = reader.vi64();
        break;
      case 0x03n:
        tokens.push(readToken(reader.sized(TOKEN_BYTES_MAX, "a token")));
        parameters.authorizationTokens = tokens;
        break;
      case 0x04n:
        parameters.rendezvousTimeoutMs = reader.vi64();
        break;
      case 0x06n:
        parameters.subgroupDeliveryTimeoutMs = reader.vi64();
        break;
      case 0x08n:
        parameters.expiresMs = reader.vi64();
        break;
      case 0x09n:
        parameters.largestObject = readLocation(reader);
        break;
      case 0x0an:
        parameters.fillTimeoutMs = reader.vi64();
        break;
      case 0x10n:
        parameters.forward = oneOf(reader.byte(), 0, 1, "FORWARD") === 1;
        break;
      case 0x20n:
        parameters.subscriberPriority = reader.byte();
        break;
      case 0x21n:
        parameters.filter = readFilter(reader.sized(64, "a filter"));
        break;
      case 0x22n:
        parameters.groupOrder = oneOf(reader.byte(), 1, 2, "GROUP_ORDER") === 1 ? "ascending" : "descending";
        break;
      case 0x32n:
        parameters.newGroupRequest = reader.vi64();
        break;
      case 0x34n:
        parameters.namespacePrefix = readNamespace(reader);
        break;
      default:
        throw new Violation("a message has a parameter that it may not carry");
    }
  }
  return parameters;
}

function oneOf(value: number, a: number, b: number, what: string): number {
  if (value !== a && value !== b) throw new Violation(`${what} is neither ${a} nor ${b}`);
  return value;
}

/** Writes the count and the parameters, ascending. */
export function writeParameters(writer: Writer, parameters: Parameters): void {
  const fields: [number, (writer: Writer) => void][] = [];
  const number = (type: number, value: bigint | undefined) => {
    if (value !== undefined) fields.push([type, (writer) => void writer.vi64(value)]);
  };
  const byte = (type: number, value: number | undefined) => {
    if (value !== undefined) fields.push([type, (writer) => void writer.byte(value)]);
  };
  const { largestObject, filter, groupOrder, namespacePrefix, forward } = parameters;
  number(0x02, parameters.objectDeliveryTimeoutMs);
  for (const token of parameters.authorizationTokens ?? []) {
    fields.push([0x03, (writer) => void writer.sized(tokenBytes(token))]);
  }
  number(0x04, parameters.rendezvousTimeoutMs);
  number(0x06, parameters.subgroupDeliveryTimeoutMs);
  number(0x08, parameters.expiresMs);
  if (largestObject) fields.push([0x09, (writer) => writeLocation(writer, largestObject)]);
  number(0x0a, parameters.fillTimeoutMs);
  byte(0x10, forward === undefined ? undefined : Number(forward));
  byte(0x20, parameters.subscriberPriority);
  if (filter) fields.push([0x21, (writer) => void writer.sized(filterBytes(filter))]);
  byte(0x22, groupOrder && (groupOrder === "ascending" ? 1 : 2));
  number(0x32, parameters.newGroupRequest);
  if (namespacePrefix) fields.push([0x34, (writer) => writeNamespace(writer, namespacePrefix)]);

  writer.vi64(fields.length);
  let previous = 0;
  for (const [type, write] of fields) {
    writer.vi64(type - previous);
    previous = type;
    write(writer);
  }
}
