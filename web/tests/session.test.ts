import assert from "node:assert/strict";
import { test } from "node:test";
import { Refused, Violation } from "../src/moqt/error";
import { fullTrackName, namespace, namespaceText } from "../src/moqt/name";
import { encodeDatagram, type MoqtObject } from "../src/moqt/object";
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
