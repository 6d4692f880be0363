/** The golden bytes in tests/vectors, which the Rust crates read as well. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ByteStream } from "../src/moqt/byte_stream";
import { SessionErrorCode, Violation } from "../src/moqt/error";
import { type Context, encodeMessage, type Message } from "../src/moqt/message";
import type { FullTrackName, Namespace } from "../src/moqt/name";
import {
  decodeDatagram,
  encodeDatagram,
  type MoqtObject,
  readFetchItems,
  readSubgroupHeader,
  readSubgroupObjects,
} from "../src/moqt/object";
import type { Filter, GroupOrder, Location, Parameters, Token } from "../src/moqt/parameters";
import { readMessage } from "../src/moqt/request";
import { Reader, Writer } from "../src/moqt/vi64";
import { hex, toHex } from "./support/fake_relay";

interface Vector {
  readonly name: string;
  readonly kind: "varint" | "datagram" | "subgroup" | "fetch" | "control";
  readonly hex: string;
  readonly value?: unknown;
  readonly error?: string;
  readonly canonical?: false;
  readonly context?: Context;
  readonly order?: GroupOrder;
}

/** What the bytes mean, and the bytes written from that where this library writes them. */
type Outcome = [value: unknown, written?: Uint8Array];

const VECTORS = JSON.parse(readFileSync(join(process.cwd(), "../tests/vectors/moqt.json"), "utf8")) as Vector[];

test("golden bytes mean what they say and are written the same", async (t) => {
  assert.ok(VECTORS.length >= 144);
  for (const vector of VECTORS) {
    await t.test(vector.name, async () => {
      if (vector.error !== undefined) {
        await assert.rejects(outcome(vector), (error) => {
          assert.ok(error instanceof Violation, String(error));
          // A number cut short is only wrong when nothing more can come; here it cannot.
          if (vector.error !== "incomplete") assert.equal(codeName(error.code), vector.error);
          return true;
        });
        return;
      }
      const [value, written] = await outcome(vector);
      assert.deepEqual(value, plain(vector.value));
      if (written) assert.equal(toHex(written) === vector.hex, vector.canonical !== false, toHex(written));
    });
  }
});

async function outcome(vector: Vector): Promise<Outcome> {
  const bytes = hex(vector.hex);
  switch (vector.kind) {
    case "varint": {
      const value = new Reader(bytes).vi64();
      return [String(value), new Writer().vi64(value).finish()];
    }
    case "datagram": {
      const datagram = decodeDatagram(bytes);
      if (!datagram) return [null];
      const value = { alias: datagram.alias, ...object(datagram.object), endsGroup: datagram.object.endsGroup };
      const { subgroup: _, ...shown } = value;
      return [plain(shown), encodeDatagram(datagram)];
    }
    case "subgroup": {
      const source = stream(bytes);
      const { ...header } = await readSubgroupHeader(await source.vi64(), source);
      const objects = [];
      for await (const item of readSubgroupObjects(header, source, 1000)) objects.push(object(item));
      return [plain({ header: nulls(header, "subgroup", "priority"), objects })];
    }
    case "fetch": {
      const order = (vector.value as { order: GroupOrder } | undefined)?.order ?? vector.order ?? "ascending";
      const source = stream(bytes);
      assert.equal(await source.vi64(), 5n);
      const request = await source.vi64();
      const items = [];
      for await (const item of readFetchItems(order, source, 1000)) {
        if (item.type === "object") {
          const { status: _, ...shown } = object(item.object);
          items.push({ type: "object", ...shown });
        } else {
          items.push({ type: item.type.toLowerCase(), ...item.end });
        }
      }
      return [plain({ request, order, items })];
    }
    case "control": {
      const message = await readMessage(stream(bytes), vector.context ?? "request");
      assert.ok(message);
      return [plain(shown(message)), encodeMessage(message)];
    }
  }
}

function stream(bytes: Uint8Array): ByteStream {
  return new ByteStream(
    new ReadableStream({
      start(controller) {
        if (bytes.length > 0) controller.enqueue(bytes);
        controller.close();
      },
    }),
  );
}

/** Numbers of any size as strings, bytes as hex. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint" || typeof value === "number") return String(value);
  if (value instanceof Uint8Array) return toHex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, field]) => field !== undefined);
  return Object.fromEntries(entries.map(([name, field]) => [name, plain(field)]));
}

function nulls(value: object, ...names: string[]): object {
  const absent = Object.fromEntries(names.map((name) => [name, null]));
  return { ...absent, ...Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) };
}

function kebab(name: string): string {
  return name === "goAway" ? "goaway" : name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function object({ location, priority, subgroup, status, properties, payload }: MoqtObject) {
  return {
    ...location,
    subgroup: subgroup ?? null,
    priority: priority ?? null,
    status: kebab(status),
    properties,
    payload,
  };
}

function shown(message: Message): object {
  const type = kebab(message.type);
  switch (message.type) {
    case "setup": {
      const { authorizationTokens, ...rest } = message.setup;
      return { type, ...rest, authorizationTokens: authorizationTokens?.map(token) };
    }
    case "goAway": {
      const { requestId, uri, timeoutMs } = message;
      return { type, uri, timeoutMs, request: requestId ?? null };
    }
    case "requestError": {
      const { code, reason, retryAfterMs, redirect } = message;
      const to = redirect && { uri: redirect.uri, track: track(redirect.track) };
      return { type, code, reason, retryAfterMs: retryAfterMs ?? null, redirect: to ?? null };
    }
    case "namespace":
    case "namespaceDone":
      return { type, namespace: message.suffix };
    case "publishBlocked":
      return { type, track: { namespace: message.suffix, name: message.name } };
    default: {
      const { requestId, ...rest } = { requestId: undefined, ...message };
      const fields: Record<string, unknown> = { ...rest, type, request: requestId };
      if ("parameters" in message) fields["parameters"] = parameters(message.parameters);
      if ("track" in message) fields["track"] = track(message.track);
      if ("end" in message) fields["end"] = location(message.end);
      if ("range" in message) {
        const { range } = message;
        fields["range"] =
          range.type === "standalone"
            ? { type: range.type, track: track(range.track), start: location(range.start), end: location(range.end) }
            : { ...range, type: kebab(range.type) };
      }
      return fields;
    }
  }
}

function track({ namespace, name }: FullTrackName): { namespace: Namespace; name: Uint8Array } {
  return { namespace, name };
}

function location({ group, object }: Location): bigint[] {
  return [group, object];
}

function parameters(of: Parameters): object {
  return {
    ...of,
    authorizationTokens: of.authorizationTokens?.map(token),
    largestObject: of.largestObject && location(of.largestObject),
    filter: of.filter && filter(of.filter),
  };
}

function token(of: Token): object {
  const use = { delete: "delete", register: "register", useAlias: "alias", useValue: "value" }[of.type];
  const { type: _, ...rest } = of;
  return { use, alias: null, tokenType: null, value: "", ...rest };
}

function filter(of: Filter): object {
  const type = kebab(of.type);
  return "start" in of ? { ...of, type, start: location(of.start) } : { type };
}

function codeName(code: bigint): string {
  const [name] = Object.entries(SessionErrorCode).find(([, value]) => value === code) ?? ["unknown"];
  return kebab(name).replaceAll("-", "_").toUpperCase();
}
