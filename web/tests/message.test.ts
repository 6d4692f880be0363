import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteStream } from "../src/moqt/byte_stream";
import { Violation } from "../src/moqt/error";
import { type Context, decodeMessage, encodeMessage, type Message } from "../src/moqt/message";
import { fullTrackName, namespace, trackKey } from "../src/moqt/name";
import { readMessage } from "../src/moqt/request";
import { utf8 } from "../src/moqt/vi64";
import { hex, toHex } from "./support/fake_relay";

const track = fullTrackName(namespace("ada"), "camera");
const nothing = new Uint8Array(0);
const location = { group: 1_764_000_000_000n, object: 7n };

function contextOf(message: Message): Context {
  if (message.type === "setup" || message.type === "goAway") return "control";
  return "requestId" in message && message.type !== "requestUpdate" ? "first" : "request";
}

const MESSAGES: Message[] = [
  { type: "setup", setup: { implementation: utf8("test"), maxAuthTokenCacheSize: 9n } },
  { type: "goAway", uri: utf8("https://other.example/room"), timeoutMs: 3000n, requestId: 4n },
  { type: "subscribe", requestId: 0n, track, parameters: { rendezvousTimeoutMs: 500n, forward: false, subscriberPriority: 1, groupOrder: "descending" } },
  { type: "trackStatus", requestId: 2n, track, parameters: { authorizationTokens: [{ type: "useValue", tokenType: 0n, value: utf8("a") }, { type: "useAlias", alias: 3n }] } },
  { type: "publish", requestId: 4n, track, alias: 1n << 40n, parameters: { largestObject: location }, trackProperties: hex("0e8080") },
  { type: "fetch", requestId: 6n, range: { type: "standalone", track, start: location, end: { group: location.group, object: 0n } }, parameters: { fillTimeoutMs: 0n } },
  { type: "fetch", requestId: 8n, range: { type: "relativeJoining", subscription: 0n, groupsBack: 2n }, parameters: {} },
  { type: "fetch", requestId: 8n, range: { type: "absoluteJoining", subscription: 0n, group: 5n }, parameters: {} },
  { type: "subscribeNamespace", requestId: 10n, namespace: [], parameters: {} },
  { type: "publishNamespace", requestId: 12n, namespace: namespace("a", "b"), parameters: {} },
  { type: "subscribeTracks", requestId: 14n, namespace: namespace("a"), parameters: { forward: true } },
  { type: "requestUpdate", requestId: 16n, parameters: { newGroupRequest: 0n, namespacePrefix: namespace("x") } },
  { type: "subscribeOk", alias: 300n, parameters: { largestObject: location, expiresMs: 0n }, trackProperties: nothing },
  { type: "fetchOk", endOfTrack: true, end: location, parameters: {}, trackProperties: nothing },
  { type: "requestOk", parameters: { objectDeliveryTimeoutMs: 1n, subgroupDeliveryTimeoutMs: 2n }, trackProperties: nothing },
  { type: "requestError", code: 0x10n, reason: "no such track" },
  { type: "requestError", code: 0x9n, retryAfterMs: 0n, reason: "" },
  { type: "requestError", code: 0x34n, reason: "", redirect: { uri: utf8("https://o.example"), track } },
  { type: "publishDone", code: 2n, streamCount: (1n << 62n) - 1n, reason: "bye" },
  { type: "namespace", suffix: namespace("ada") },
  { type: "namespaceDone", suffix: namespace("ada") },
  { type: "publishBlocked", suffix: namespace("ada"), name: utf8("camera") },
];
for (const filter of [
  { type: "nextGroupStart" },
  { type: "largestObject" },
  { type: "absoluteStart", start: location },
  { type: "absoluteRange", start: location, endGroup: location.group + 3n },
] as const) {
  MESSAGES.push({ type: "subscribe", requestId: 0n, track, parameters: { filter } });
}

function stream(bytes: Uint8Array): ByteStream {
  // One byte a chunk: the hardest way a message can come.
  return new ByteStream(
    new ReadableStream({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    }),
  );
}

test("every message comes back as it was", async () => {
  for (const message of MESSAGES) {
    assert.deepEqual(await readMessage(stream(encodeMessage(message)), contextOf(message)), message, message.type);
  }
});

test("a message that is cut off anywhere, or too long, is a violation and nothing worse", async () => {
  for (const message of MESSAGES) {
    const bytes = encodeMessage(message);
    for (let length = 1; length < bytes.length; length++) {
      await assert.rejects(readMessage(stream(bytes.subarray(0, length)), contextOf(message)), Violation, `${message.type} ${length}`);
    }
  }
  assert.throws(() => decodeMessage(0x08n, hex("010161ff"), "request"), Violation);
});

test("noise never throws anything but a violation", () => {
  let seed = 20_261_122;
  const random = () => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32;
  const contexts: Context[] = ["control", "first", "request"];
  const types = [0x2f00n, 0x10n, 0x3n, 0x4n, 0x1dn, 0xbn, 0x16n, 0x18n, 0x6n, 0x8n, 0xfn, 0x2n, 0x7n, 0x5n, 0x99n];
  for (let i = 0; i < 20_000; i++) {
    const bytes = Uint8Array.from({ length: Math.floor(random() * 24) }, () => Math.floor(random() * 256));
    try {
      decodeMessage(types[i % types.length] ?? 0n, bytes, contexts[i % 3] ?? "first");
    } catch (error) {
      assert.ok(error instanceof Violation, `${toHex(bytes)}: ${String(error)}`);
    }
  }
});

test("a name is rendered as the draft says", () => {
  const name = fullTrackName(namespace("example.net", "team2", "project_x"), "report");
  assert.equal(trackKey(name), "example.2enet-team2-project_x--report");
});

test("unknown SETUP options are ignored, known ones stand once", () => {
  assert.deepEqual(decodeMessage(0x2f00n, hex("02 05 05 01 61 39 07"), "control"), {
    type: "setup",
    setup: { implementation: utf8("a") },
  });
  assert.throws(() => decodeMessage(0x2f00n, hex("04 05 00 06"), "control"), Violation);
});
