/** What is only here: playing, and the publisher's memory. The rest of src/media is held by the golden values. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Gate } from "../src/media/gate";
import { JitterBuffer, SAMPLE_RATE } from "../src/media/jitter";
import { decibels, LevelMeter } from "../src/media/level";
import type { FrameMarking } from "../src/media/loc";
import { at, fromWire, GROUP_END, toWire } from "../src/media/location";
import { Playout } from "../src/media/playout";
import { Sent } from "../src/media/sent";
import type { MoqtObject } from "../src/moqt";

// ---- the delay of video

test("an even network costs no delay, an uneven one as much as it needs, and no longer than it needs it", () => {
  const playout = new Playout();
  let now = 0;
  const run = (seconds: number, lateness: (i: number) => number) => {
    for (let i = 0; i < seconds * 30; i++) playout.observe((now += 33), lateness(i));
  };
  run(10, (i) => i % 7);
  assert.equal(playout.delayMs, 0);
  run(3, (i) => (i % 4 === 0 ? 80 : 5));
  assert.ok(playout.delayMs >= 80 && playout.delayMs <= 90, String(playout.delayMs));
  run(60, () => 5);
  assert.equal(playout.delayMs, 0);
});

// ---- what can be decoded

function marking(temporalLayer: number, baseLayerIndex: number, isBaseLayerSync = false): FrameMarking {
  const rest = { startsFrame: true, endsFrame: true, isIndependent: false, isDiscardable: false, spatialLayer: 0 };
  return { ...rest, temporalLayer, baseLayerIndex, isBaseLayerSync };
}

test("without layers a lost frame breaks all up to the next key frame", () => {
  const gate = new Gate(1);
  assert.equal(gate.check(false, marking(0, 0)), "skipAndAsk");
  assert.equal(gate.check(true, undefined), "decode");
  assert.equal(gate.check(false, marking(0, 0)), "decode");
  gate.gap();
  assert.equal(gate.check(false, marking(0, 0)), "skipAndAsk");
  assert.equal(gate.check(false, marking(0, 0)), "skipAndAsk");
  gate.gap();
  assert.equal(gate.check(true, marking(0, 0)), "decode");
  assert.equal(gate.check(false, marking(0, 0)), "decode");
});

test("with layers a lost frame of an upper one costs only that layer", () => {
  const gate = new Gate(2);
  assert.equal(gate.check(true, marking(0, 255)), "decode");
  gate.gap();
  assert.equal(gate.check(false, marking(0, 0)), "decode", "the frame lost was of layer 1");
  assert.equal(gate.check(false, marking(1, 0)), "skip", "it may depend on what was lost");
  assert.equal(gate.check(false, marking(0, 1)), "decode");
  assert.equal(gate.check(false, marking(1, 1, true)), "decode");
  assert.equal(gate.check(false, marking(0, 2)), "decode");
  gate.gap();
  assert.equal(gate.check(false, marking(0, 4)), "skipAndAsk", "a frame of the base layer is missing");
  assert.equal(gate.check(false, marking(1, 4, true)), "skipAndAsk");
  assert.equal(gate.check(true, marking(0, 5)), "decode");
});

// ---- the publisher's memory

function object(group: number, id: number, status: MoqtObject["status"] = "normal"): MoqtObject {
  const nothing = new Uint8Array(0);
  return { location: toWire(at(group, id)), priority: 64, subgroup: undefined, status, endsGroup: false, properties: nothing, payload: Uint8Array.of(id) };
}

function answered(sent: Sent, from: [number, number], to: [number, number]) {
  const answer = sent.answer(toWire(at(...from)), toWire(at(...to)));
  if (!answer) return undefined;
  const items = answer.items.map((item) => {
    const location = item.type === "object" ? item.object.location : item.end;
    return `${item.type === "object" ? "" : `${item.type} to `}${location.group}/${location.object === BigInt(GROUP_END) ? "end" : location.object}`;
  });
  return [items.join(" "), `${answer.end.group}/${answer.end.object}`];
}

test("what was sent in the last two seconds can be had again, and older objects are not said to be nothing", () => {
  const sent = new Sent();
  assert.equal(answered(sent, [1, 0], [1, 0]), undefined);
  for (let i = 0; i < 4; i++) sent.push(i * 500, object(1, i));
  sent.push(2000, object(1, 4, "endOfGroup"));
  for (let i = 0; i < 3; i++) sent.push(2500 + i * 500, object(2, i));
  // 3500: objects from 1500 on are kept.
  assert.deepEqual(answered(sent, [1, 3], [1, 4]), ["1/3", "1/4"]);
  assert.deepEqual(answered(sent, [1, 1], [1, 0]), ["unknown to 1/2 1/3", "1/0"]);
  assert.deepEqual(answered(sent, [1, 3], [2, 2]), ["1/3 2/0 2/1", "2/2"]);
  assert.deepEqual(answered(sent, [2, 1], [9, 0]), ["2/1 2/2", "2/3"]);
  assert.deepEqual(answered(sent, [0, 0], [0, 5]), ["unknown to 0/4", "0/5"]);
  assert.equal(answered(sent, [2, 3], [2, 9]), undefined);
  assert.equal(sent.takeAsked(), 7);
  assert.equal(sent.takeAsked(), 0);
  assert.deepEqual(sent.largest && fromWire(toWire(sent.largest)), at(2, 2));
});

// ---- loudness

test("loudness is in decibels below full scale, and speech stands out of the background", () => {
  const noise = (amplitude: number, seed: number) =>
    Float32Array.from({ length: 960 }, (_, i) => amplitude * Math.sin(i * i * 0.37 + seed));
  assert.equal(decibels(new Float32Array(960)), -127);
  assert.ok(Math.abs(decibels(new Float32Array(960).fill(1))) < 0.01);
  const meter = new LevelMeter();
  for (let i = 0; i < 400; i++) meter.measure(noise(0.003, i));
  assert.equal(meter.measure(noise(0.003, 1)).isVoice, false);
  assert.deepEqual(meter.measure(noise(0.2, 1)), { isVoice: true, belowOverloadDb: 17 });
});

// ---- the jitter buffer

const FRAME = SAMPLE_RATE / 50;

/** A voice of 150 Hz. */
function voice(from: number, count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 150 * (from + i)) / SAMPLE_RATE));
}

/**
 * Plays frames that arrive as `arrives` says, in milliseconds after their time, in order as the reassembler hands them
 * over; `undefined` is lost.
 */
function play(frames: number, arrives: (frame: number) => number | undefined, target: (frame: number) => number = () => 20) {
  const buffer = new JitterBuffer(1);
  const heard: number[] = [];
  const out = [new Float32Array(128)];
  const due: { at: number; frame: number; late: number }[] = [];
  let last = 0;
  for (let frame = 0; frame < frames; frame++) {
    const late = arrives(frame);
    if (late === undefined) continue;
    last = Math.max(last, (frame + 1) * FRAME + (late * SAMPLE_RATE) / 1000);
    due.push({ at: last, frame, late: (last - (frame + 1) * FRAME) / (SAMPLE_RATE / 1000) });
  }
  let step = 0;
  for (let time = 0; time < (frames + 5) * FRAME; time += 128) {
    for (; due[0] && due[0].at <= time; due.shift()) {
      const { frame, late } = due[0];
      buffer.setTarget(target(frame));
      buffer.push(frame * FRAME, [voice(frame * FRAME, FRAME)], late);
    }
    buffer.pull(out);
    heard.push(...(out[0] ?? []));
  }
  for (let i = 1; i < heard.length; i++) step = Math.max(step, Math.abs((heard[i] ?? 0) - (heard[i - 1] ?? 0)));
  return { figures: buffer.figures(), heard, step };
}

/** Largest step between two samples of the voice itself. */
const STEP = 0.5 * 2 * Math.PI * (150 / SAMPLE_RATE);

test("frames in time are played as they are, once the delay has passed", () => {
  const { figures, heard } = play(100, () => 0);
  assert.equal(figures.stretchedMs, 0);
  assert.ok(figures.concealedMs <= 62, `only the end: ${figures.concealedMs} ms`);
  const first = heard.findIndex((sample) => sample !== 0);
  const passed = (first - FRAME) / (SAMPLE_RATE / 1000);
  assert.ok(passed > 17 && passed < 24, `after ${passed} ms`);
  // After the blend, which follows the first samples.
  const start = first + 480;
  const whole = voice(0, 100 * FRAME);
  const offset = Array.from({ length: 400 }, (_, shift) => shift + 240).find((shift) =>
    heard.slice(start, start + 5000).every((sample, i) => Math.abs(sample - (whole[shift + i] ?? 0)) < 1e-6),
  );
  assert.ok(offset !== undefined);
});

test("a missing frame is filled in without a click, and time goes on", () => {
  const { figures, step } = play(100, (frame) => (frame % 10 === 5 ? undefined : 0));
  assert.ok(figures.concealedMs > 180 && figures.concealedMs < 270, String(figures.concealedMs));
  assert.ok(step < STEP * 2.5, `a step of ${step}`);
  assert.equal(figures.lateMs, 0);
});

test("late frames are waited for, and a larger delay takes them all", () => {
  const late = (frame: number) => (frame % 10 === 4 ? 60 : 0);
  const short = play(500, late);
  const enough = play(500, late, () => 80);
  assert.ok(short.figures.concealedMs > 1000, `concealed ${short.figures.concealedMs} ms of 10 s`);
  assert.ok(enough.figures.concealedMs <= 62, `concealed ${enough.figures.concealedMs} ms of 10 s`);
  assert.equal(enough.figures.lateMs, 0);
  assert.ok(short.step < STEP * 2.5 && enough.step < STEP * 2.5, `steps of ${short.step}, ${enough.step}`);
});

test("the delay follows what is asked for, up and down, without a click", () => {
  const up = play(300, () => 0, (frame) => (frame < 100 ? 20 : 120));
  assert.ok(Math.abs(up.figures.delayMs - 120) < 20 || up.figures.stretchedMs > 80, JSON.stringify(up.figures));
  const both = play(700, () => 0, (frame) => (frame > 100 && frame < 300 ? 120 : 20));
  assert.ok(both.figures.stretchedMs > 160, JSON.stringify(both.figures));
  assert.ok(both.figures.concealedMs <= 62, JSON.stringify(both.figures));
  assert.ok(up.step < STEP * 2.5 && both.step < STEP * 2.5, `steps of ${up.step}, ${both.step}`);
});

test("a pause ends in silence, and the voice comes back after it", () => {
  const { figures, heard, step } = play(150, (frame) => (frame >= 50 && frame < 100 ? undefined : 0));
  const middle = heard.slice(75 * FRAME, 90 * FRAME);
  assert.ok(middle.every((sample) => sample === 0));
  assert.ok(heard.slice(115 * FRAME, 120 * FRAME).some((sample) => Math.abs(sample) > 0.4));
  assert.ok(figures.concealedMs < 140, `silence is not concealment: ${figures.concealedMs} ms`);
  assert.ok(step < STEP * 2.5, `a step of ${step}`);
});

test("a receiver that was asleep does not play an old second", () => {
  const buffer = new JitterBuffer(1);
  for (let frame = 0; frame < 200; frame++) buffer.push(frame * FRAME, [voice(frame * FRAME, FRAME)], 0);
  assert.ok(buffer.figures().bufferedMs < 1000);
  assert.ok((buffer.figures().position ?? 0) > 100 * FRAME);
});

test("a film that begins again is heard from there", () => {
  const buffer = new JitterBuffer(1);
  const out = [new Float32Array(128)];
  for (const from of [100_000 * FRAME, 0]) {
    for (let frame = 0; frame < 5; frame++) buffer.push(from + frame * FRAME, [voice(frame * FRAME, FRAME)], 0);
    for (let i = 0; i < 20; i++) buffer.pull(out);
    assert.ok(Math.abs((buffer.figures().position ?? NaN) - from) < 5 * FRAME);
  }
  assert.equal(buffer.figures().lateMs, 0);
});
