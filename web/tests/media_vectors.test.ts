/** The golden values of media objects in tests/vectors, which the Rust crate `media` makes. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FrameLength, opusSamples } from "../src/media/audio";
import { CatalogError, encodeCatalog, parseCatalog } from "../src/media/catalog";
import { Erasure } from "../src/media/erasure";
import { join as joinBlock, Layout, split } from "../src/media/fragment";
import { type Ask, livePlanner, Planner } from "../src/media/gaps";
import { BadProperty, decodeProperties, encodeProperties } from "../src/media/loc";
import { at, GROUP_END } from "../src/media/location";
import { PRIORITIES } from "../src/media/names";
import { AudioPacketizer, VideoPacketizer } from "../src/media/packetize";
import { liveConfig, Reassembler } from "../src/media/reassemble";
import type { MoqtObject } from "../src/moqt";
import { hex, toHex } from "./support/fake_relay";

/** All fields that any kind has. */
interface Vector {
  readonly name: string;
  readonly kind: string;
  readonly hex: string;
  readonly json: string;
  readonly canonical?: false;
  readonly error?: string;
  readonly value: any;
  readonly timescale: number | null;
  readonly parity: [number, number];
  readonly depth: number;
  readonly frames: any[];
  readonly waitMs: number;
  readonly untilMs: number;
  readonly roundTripMs: number;
  readonly steps: [number, number][];
  readonly dataCount: number;
  readonly parityCount: number;
  readonly fragmentBytes: number;
  readonly frameBytes: number;
}

const VECTORS = JSON.parse(readFileSync(join(process.cwd(), "../tests/vectors/media.json"), "utf8")) as Vector[];

const KINDS: Record<string, (vector: Vector) => void> = {
  properties: checkProperties,
  opus: (vector) => assert.equal(opusSamples(hex(vector.hex)) ?? null, vector.value),
  catalog: checkCatalog,
  parity: checkParity,
  "packetize-video": (vector) => assert.deepEqual(videoObjects(vector).map(shownObject), vector.value),
  "packetize-audio": (vector) => assert.deepEqual(audioObjects(vector).map(shownObject), vector.value),
  "reassemble-video": (vector) => {
    const track = new Reassembler(liveConfig(vector.waitMs));
    track.startAt(at(1_790_000_000_000, 0));
    checkReassembly(vector, track, videoObjects(vector));
  },
  "reassemble-audio": (vector) => {
    const track = new Reassembler(liveConfig(vector.waitMs, frameLength(vector)));
    checkReassembly(vector, track, audioObjects(vector));
  },
  plan: checkPlan,
};

test("golden values of media objects mean the same here and are written the same", async (t) => {
  assert.ok(VECTORS.length >= 55);
  for (const vector of VECTORS) {
    await t.test(vector.name, () => {
      const check = KINDS[vector.kind];
      assert.ok(check, `what is ${vector.kind}?`);
      check(vector);
    });
  }
});

// ---- pieces

function checkProperties(vector: Vector): void {
  const bytes = hex(vector.hex);
  if (vector.error !== undefined) {
    assert.throws(() => decodeProperties(bytes), (error) => error instanceof BadProperty && error.message === vector.error);
    return;
  }
  const properties = decodeProperties(bytes);
  const { timestamp, timescale = null, marking = null, audioLevel = null, fragment = null, redundancy = [] } = properties;
  const shown = redundancy.map(({ groupsBack, payload }) => ({ groupsBack, payload: toHex(payload) }));
  assert.deepEqual({ timestamp, timescale, marking, audioLevel, fragment, redundancy: shown }, vector.value);
  assert.equal(toHex(encodeProperties(properties)) === vector.hex, vector.canonical !== false);
}

function checkCatalog(vector: Vector): void {
  if (vector.error !== undefined) {
    assert.throws(() => parseCatalog(vector.json), CatalogError);
    return;
  }
  const catalog = parseCatalog(vector.json);
  const plain = JSON.parse(
    JSON.stringify(
      {
        ...catalog,
        generatedAtMs: catalog.generatedAtMs ?? null,
        tracks: catalog.tracks.map((track) => ({
          ...track,
          format: { ...track.format, config: toHex(track.format.config) },
        })),
        ignored: catalog.ignored.map(({ name }) => name),
      },
      (_, value: unknown) => (value === undefined ? null : value),
    ),
  );
  // Rust says null where something is absent.
  assert.deepEqual(nulls(plain), nulls(vector.value));
  assert.deepEqual(parseCatalog(encodeCatalog(catalog)).tracks, catalog.tracks);
  if (vector.canonical !== false) assert.deepEqual(JSON.parse(encodeCatalog(catalog)), JSON.parse(vector.json));
}

function nulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(nulls);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null)
      .map(([name, field]) => [name, nulls(field)]),
  );
}

function checkParity({ dataCount, parityCount, fragmentBytes, frameBytes: bytes, value }: Vector): void {
  const layout = Layout.make(bytes, fragmentBytes, parityCount);
  assert.ok(layout);
  const erasure = new Erasure();
  const frame = contentOf(dataCount, bytes);
  const fragments = split(erasure, frame, layout);
  assert.deepEqual(fragments.slice(dataCount).map(({ payload }) => toHex(payload)), value);
  // As many as can be lost are lost, from the front.
  const arrived = fragments.map(({ payload }, i) => (i < parityCount ? undefined : payload));
  const joined = joinBlock(erasure, layout, 0, arrived);
  assert.equal(joined && toHex(joined.bytes), toHex(frame));
  assert.equal(joined?.fragmentsRebuilt, Math.min(parityCount, dataCount));
  assert.equal(joinBlock(erasure, layout, 0, arrived.with(parityCount, undefined)), undefined);
}

// ---- frames to objects

/** The bytes that stand for a frame: number and length say all. */
function contentOf(number: number, bytes: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + number * 13 + Math.floor(i / 251)) & 0xff);
}

/** FNV-1a, 32 bits. */
function digest(bytes: Uint8Array): number {
  return bytes.reduce((hash, byte) => Math.imul(hash ^ byte, 0x0100_0193) >>> 0, 0x811c_9dc5);
}

function videoObjects(vector: Vector): MoqtObject[] {
  const config = {
    priorities: PRIORITIES.camera,
    timescale: vector.timescale ?? undefined,
    hasLayers: vector.frames.some(([, , , temporal]) => temporal > 0),
    parity: { base: vector.parity[0], upper: vector.parity[1] },
  };
  const packetizer = new VideoPacketizer(config, 1_790_000_000_000);
  const objects = vector.frames.flatMap(([pts, isKey, bytes, temporal], number) =>
    packetizer.packetize(
      { pts, isKey, data: contentOf(number, bytes) },
      { temporal, isBaseLayerSync: temporal === 1, isDiscardable: temporal > 0 },
    ),
  );
  return [...objects, ...packetizer.finish()];
}

function frameLength(vector: Vector): FrameLength {
  return new FrameLength("opus", 48_000, vector.timescale ?? 1_000_000);
}

function audioObjects(vector: Vector): MoqtObject[] {
  const config = {
    priorities: PRIORITIES.audio,
    timescale: vector.timescale ?? undefined,
    frameLength: frameLength(vector),
    redundancyDepth: vector.depth,
  };
  const packetizer = new AudioPacketizer(config, 1_790_000_000_000);
  return vector.frames.map(([pts, bytes], number) => {
    const data = contentOf(number, bytes);
    data[0] = 0xf8;
    const level = { isVoice: number % 2 === 0, belowOverloadDb: number };
    return packetizer.packetize({ pts, isKey: true, data }, level);
  });
}

function shownObject({ location, priority, status, endsGroup, subgroup, properties, payload }: MoqtObject): unknown[] {
  const { group, object } = location;
  const isDatagram = subgroup === undefined;
  return [
    ...[Number(group), Number(object), priority, status, endsGroup, isDatagram],
    ...[toHex(properties), payload.length, digest(payload)],
  ];
}

// ---- objects to frames

function checkReassembly(vector: Vector, track: Reassembler, objects: MoqtObject[]): void {
  const outputs: unknown[] = [];
  const missing: unknown[] = [];
  const poll = (now: number) => {
    for (let output = track.poll(now); output; output = track.poll(now)) {
      if (output.type === "gap") {
        const { start, end, framesAtLeast } = output.gap;
        outputs.push([now, "gap", start.group, start.object, end.group, end.object, framesAtLeast]);
      } else {
        const { location, timestamp, isKey, origin, data } = output.frame;
        outputs.push([now, "frame", location.group, location.object, timestamp, isKey, origin, digest(data)]);
      }
    }
  };
  vector.steps.forEach(([now, index], number) => {
    track.insert(now, objects[index] as MoqtObject, "live");
    poll(now);
    if (number % 20 !== 19) return;
    const ranges = track
      .missing(6)
      .map(({ start, end, since }) => [
        ...[start.group, start.object, end.group],
        ...[end.object === GROUP_END ? null : end.object, since],
      ]);
    missing.push([number, ranges]);
  });
  poll(vector.untilMs);
  const { objectsFetched: _, ...counters } = track.counters();
  assert.deepEqual(outputs, vector.value.outputs);
  assert.deepEqual(missing, vector.value.missing);
  assert.deepEqual(counters, vector.value.counters);
}

function checkPlan(vector: Vector): void {
  const planner = new Planner(livePlanner(vector.waitMs));
  const inFlight: Ask[] = [];
  const shown = ({ start, end }: Ask) => [start.group, start.object, end.group, end.object];
  for (const step of vector.value) {
    const missing = step.missing.map(([group, from, to, since]: number[]) => ({
      start: at(group ?? 0, from ?? 0),
      end: at(group ?? 0, to ?? 0),
      since,
    }));
    const plan = planner.plan(step.at, missing, vector.roundTripMs);
    const { asks, hopeless, againAt = null } = plan;
    assert.deepEqual(
      { asks: asks.map(shown), hopeless: hopeless.map(shown), againAt },
      { asks: step.asks, hopeless: step.hopeless, againAt: step.againAt },
      `at ${step.at}`,
    );
    inFlight.push(...asks);
    const answered = step.answer === null ? undefined : inFlight.shift();
    if (answered) planner.answered(step.at, answered, step.answer ? "complete" : "incomplete");
  }
}
