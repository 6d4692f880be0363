import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused, Violation } from "../src/moqt/error";
import { fullTrackName, namespace, namespaceText } from "../src/moqt/name";
import { ByteStream } from "../src/moqt/byte_stream";
import {
  decodeDatagram,
  encodeDatagram,
  type MoqtObject,
  readFetchItems,
  readSubgroupHeader,
  readSubgroupObjects,
} from "../src/moqt/object";
import type { PublicationHandlers } from "../src/moqt/publication";
import { Session } from "../src/moqt/session";
import { Writer } from "../src/moqt/vi64";
import { FakeRelay, hex } from "./support/fake_relay";

const track = fullTrackName(namespace("ada"), "camera");
const nothing = new Uint8Array(0);

function datagram(alias: bigint, object: bigint) {
  const location = { group: 1n, object };
  return encodeDatagram({
    alias,
    object: { location, priority: 1, subgroup: undefined, status: "normal", endsGroup: false, properties: nothing, payload: hex("aa") },
  });
}

/** Waits for a condition, with a bound. */
async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 2000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 1));
  assert.ok(condition(), "waited too long");
}

async function subscribed(relay: FakeRelay, session: Session) {
  const objects: MoqtObject[] = [];
  const ends: string[] = [];
  const asked = session.subscribe(track, { object: (o) => objects.push(o), ended: (why) => ends.push(why.message) });
  const request = await relay.requests.take();
  assert.equal((await request.receive())?.type, "subscribe");
  return { objects, ends, asked, request };
}

test("SETUP goes out first and the session is ready when the relay's has come", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const control = (await relay.streams.take()).getReader();
  const { value } = await control.read();
  assert.deepEqual([...(value ?? [])].slice(0, 2), [0xaf, 0x00], "0x2F00");
  relay.setup();
  await session.ready;
  session.close();
  assert.equal(relay.closedWith?.closeCode, 0);
});

test("a relay that stays silent is given up", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier, { setupTimeoutMs: 5 });
  assert.deepEqual((await session.closed).code, 0x11n);
  await assert.rejects(session.ready);
});

test("namespaces appear and disappear, all of them when the request ends", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const seen: string[] = [];
  const asked = session.subscribeNamespace([], {
    appeared: (space) => seen.push(`+${namespaceText(space)}`),
    disappeared: (space) => seen.push(`-${namespaceText(space)}`),
  });
  const request = await relay.requests.take();
  assert.equal((await request.receive())?.type, "subscribeNamespace");
  await request.answer({ type: "requestOk", parameters: {}, trackProperties: nothing });
  await asked;
  await request.answer({ type: "namespace", suffix: namespace("ada") });
  await request.answer({ type: "namespace", suffix: namespace("bob") });
  await request.answer({ type: "namespaceDone", suffix: namespace("ada") });
  await request.finish();
  await until(() => seen.length === 4);
  assert.deepEqual(seen, ["+ada", "+bob", "-ada", "-bob"]);
  session.close();
});

test("datagrams that overtake SUBSCRIBE_OK are handed over when it comes", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { objects, asked, request } = await subscribed(relay, session);
  relay.datagram(datagram(9n, 0n));
  relay.datagram(datagram(8n, 0n));
  await new Promise((resolve) => setTimeout(resolve, 1));
  await request.answer({ type: "subscribeOk", alias: 9n, parameters: { largestObject: { group: 1n, object: 0n } }, trackProperties: nothing });
  const subscription = await asked;
  assert.deepEqual(subscription.largest, { group: 1n, object: 0n });
  relay.datagram(datagram(9n, 1n));
  await until(() => objects.length === 2);
  assert.deepEqual(objects.map((object) => object.location.object), [0n, 1n]);
  session.close();
});

test("a subgroup stream is read object by object, also before its alias is known", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { objects, asked, request } = await subscribed(relay, session);
  relay.stream(hex("10 09 05 80 00 02 cafe 00 01 aa"));
  await request.answer({ type: "subscribeOk", alias: 9n, parameters: {}, trackProperties: nothing });
  await asked;
  await until(() => objects.length === 2);
  assert.deepEqual(objects.map((object) => object.location.group), [5n, 5n]);
  session.close();
});

test("joining fetches the past through the same hands", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { objects, asked, request } = await subscribed(relay, session);
  await request.answer({ type: "subscribeOk", alias: 9n, parameters: {}, trackProperties: nothing });
  const joining = (await asked).join(0n);
  const fetch = await relay.requests.take();
  assert.deepEqual(await fetch.receive(), {
    type: "fetch",
    requestId: 2n,
    range: { type: "relativeJoining", subscription: 0n, groupsBack: 0n },
    parameters: {},
  });
  await fetch.answer({ type: "fetchOk", endOfTrack: false, end: { group: 5n, object: 1n }, parameters: {}, trackProperties: nothing });
  relay.stream(new Writer().vi64(5).vi64(2).bytes(hex("5c 05 00 01 02 beef")).finish());
  await joining;
  assert.deepEqual(objects.map((object) => object.payload), [hex("beef")]);
  session.close();
});

test("a refusal is an error of that request alone", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { asked, request } = await subscribed(relay, session);
  await request.answer({ type: "requestError", code: 0x10n, reason: "no such track" });
  await assert.rejects(asked, (error) => error instanceof Refused && error.code === 0x10n && error.message === "no such track");
  assert.equal(relay.closedWith, undefined);
  session.close();
});

test("PUBLISH_DONE ends a subscription, but not before late objects had time to come", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { objects, ends, asked, request } = await subscribed(relay, session);
  await request.answer({ type: "subscribeOk", alias: 9n, parameters: {}, trackProperties: nothing });
  await asked;
  await request.answer({ type: "publishDone", code: 2n, streamCount: 0n, reason: "gone home" });
  relay.datagram(datagram(9n, 3n));
  await until(() => ends.length === 1);
  assert.deepEqual(ends, ["gone home"]);
  assert.equal(objects.length, 1);
  session.close();
});

test("a violation ends the session with its code", async () => {
  const cases: [string, (relay: FakeRelay) => void][] = [
    ["a datagram of unknown type", (relay) => relay.datagram(hex("10 01 01"))],
    ["a stream of unknown type", (relay) => relay.stream(hex("03"))],
  ];
  for (const [reason, act] of cases) {
    const relay = new FakeRelay();
    const session = new Session(relay.carrier);
    act(relay);
    assert.deepEqual(await session.closed, { code: 0x3n, reason, byUs: true });
    assert.equal(relay.closedWith?.closeCode, 3);
  }
});

test("an answer that does not fit ends the session", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { asked, request } = await subscribed(relay, session);
  await request.answer({ type: "namespace", suffix: namespace("a") });
  await assert.rejects(asked, Violation);
  assert.equal((await session.closed).code, 0x3n);
});

test("one alias for two tracks ends the session", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  for (let i = 0; i < 2; i++) {
    const { asked, request } = await subscribed(relay, session);
    await request.answer({ type: "subscribeOk", alias: 9n, parameters: {}, trackProperties: nothing });
    await asked.catch(() => {});
  }
  assert.equal((await session.closed).code, 0x5n);
});

test("what the relay says when it closes is known", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  relay.close(0x10, "too slow");
  assert.deepEqual(await session.closed, { code: 0x10n, reason: "too slow", byUs: false });
});

async function published(relay: FakeRelay, session: Session, handlers: PublicationHandlers, forward: boolean) {
  const asked = session.publish(track, handlers, hex("30 01"));
  const request = await relay.requests.take();
  const message = await request.receive();
  assert.ok(message?.type === "publish");
  await request.answer({ type: "requestOk", parameters: { forward }, trackProperties: nothing });
  return { publication: await asked, request, message };
}

const live: MoqtObject = {
  location: { group: 3n, object: 1n },
  priority: 64,
  subgroup: undefined,
  status: "normal",
  endsGroup: false,
  properties: hex("10 09"),
  payload: hex("cafe"),
};

test("a track is published, wanted and not wanted, and asked for new groups", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const seen: unknown[] = [];
  const handlers = { forward: (isWanted: boolean) => seen.push(isWanted), newGroup: (group: bigint) => seen.push(group) };
  const { publication, request, message } = await published(relay, session, handlers, false);
  assert.deepEqual(message.trackProperties, hex("30 01"));
  assert.equal(publication.isWanted, false);
  await request.answer({ type: "requestUpdate", requestId: 1n, parameters: { forward: true } });
  assert.equal((await request.receive())?.type, "requestOk");
  await request.answer({ type: "requestUpdate", requestId: 3n, parameters: { newGroupRequest: 8n } });
  assert.equal((await request.receive())?.type, "requestOk");
  await until(() => seen.length === 2);
  assert.deepEqual(seen, [true, 8n]);
  publication.sendDatagram(live);
  await until(() => relay.datagramsOut.length === 1);
  assert.deepEqual(decodeDatagram(relay.datagramsOut[0] ?? nothing), { alias: message.alias, object: live });
  session.close();
});

test("a group goes on a stream of its own, and the end of a track tells how many there were", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const { publication, request, message } = await published(relay, session, {}, true);
  await relay.streams.take();
  const sent = publication.sendGroup({ ...live, subgroup: 0n });
  const source = new ByteStream(await relay.streams.take());
  const header = await readSubgroupHeader(await source.vi64(), source);
  assert.deepEqual([header.alias, header.group, header.endsGroup], [message.alias, 3n, true]);
  for await (const object of readSubgroupObjects(header, source, 100)) assert.deepEqual(object.payload, live.payload);
  await sent;
  publication.end("gone home");
  assert.deepEqual(await request.receive(), { type: "publishDone", code: 2n, streamCount: 1n, reason: "gone home" });
  assert.equal(await request.receive(), undefined);
  session.close();
});

test("the relay is given the past it asks for, and refused what is not ours", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const end = { group: 3n, object: 2n };
  await published(relay, session, { fetch: () => ({ items: [{ type: "object", object: live }], end }) }, true);
  await relay.streams.take();
  const range = { type: "standalone" as const, track, start: { group: 3n, object: 0n }, end };
  const ok = await relay.ask({ type: "fetch", requestId: 9n, range, parameters: {} });
  assert.ok(ok?.type === "fetchOk");
  assert.deepEqual(ok.end, end);
  const source = new ByteStream(await relay.streams.take());
  assert.deepEqual([await source.vi64(), await source.vi64()], [5n, 9n]);
  const items = [];
  for await (const item of readFetchItems("ascending", source, 100)) items.push(item);
  assert.deepEqual(items, [{ type: "object", object: live }]);
  const foreign = { ...range, track: fullTrackName(namespace("bob"), "camera") };
  const refused = await relay.ask({ type: "fetch", requestId: 11n, range: foreign, parameters: {} });
  assert.ok(refused?.type === "requestError" && refused.code === 0x10n);
  const twice = await relay.ask({ type: "subscribe", requestId: 13n, track, parameters: {} });
  assert.ok(twice?.type === "requestError" && twice.code === 0x19n);
  const other = await relay.ask({ type: "trackStatus", requestId: 15n, track, parameters: {} });
  assert.ok(other?.type === "requestError" && other.code === 0x3n);
  session.close();
});

test("a track that the relay does not want any more is over", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const ends: string[] = [];
  const { request } = await published(relay, session, { ended: (reason) => ends.push(reason) }, true);
  await request.finish();
  await until(() => ends.length === 1);
  session.close();
});

test("a FETCH tells how far it reached and whether it came whole", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const start = { group: 5n, object: 0n };
  const asked = session.fetch(track, start, { group: 5n, object: 0n }, () => {}, { fillTimeoutMs: 100n });
  const fetch = await relay.requests.take();
  const message = await fetch.receive();
  assert.ok(message?.type === "fetch" && message.parameters.fillTimeoutMs === 100n);
  await fetch.answer({ type: "fetchOk", endOfTrack: false, end: { group: 5n, object: 1n }, parameters: {}, trackProperties: nothing });
  relay.stream(new Writer().vi64(5).vi64(message.requestId).bytes(hex("5c 05 00 01 02 beef")).finish());
  assert.deepEqual(await asked, { end: { group: 5n, object: 1n }, isWhole: true });
  session.close();
});

test("a track that somebody waits for is published by the relay's own SUBSCRIBE", async () => {
  const relay = new FakeRelay();
  const session = new Session(relay.carrier);
  const seen: boolean[] = [];
  const asked = session.publish(track, { forward: (isWanted) => seen.push(isWanted) }, hex("30 01"));
  const request = await relay.requests.take();
  await request.receive();
  const ok = await relay.ask({ type: "subscribe", requestId: 1n, track, parameters: { forward: true } });
  assert.ok(ok?.type === "subscribeOk");
  assert.deepEqual(ok.trackProperties, hex("30 01"));
  await request.answer({ type: "requestError", code: 0x19n, reason: "the track has a subscription" });
  const publication = await asked;
  assert.equal(publication.alias, ok.alias);
  assert.deepEqual(seen, [true]);
  const refused = await relay.ask({ type: "subscribe", requestId: 3n, track: fullTrackName(namespace("ada"), "screen"), parameters: {} });
  assert.ok(refused?.type === "requestError" && refused.code === 0x10n);
  session.close();
});
