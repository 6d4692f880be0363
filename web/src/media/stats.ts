/** What a receiver sees of a track, in numbers for people and for the relay. Pure; times are milliseconds. */
import { Lateness } from "./lateness";
import type { Counters, ReceivedFrame } from "./reassemble";

/** Rates are taken over this long. */
const RATE_WINDOW_MS = 2000;
/** Rates are counted in slices of this length. */
const SLICE_MS = 100;

/** Figures of one track. */
export interface Figures {
  /** Payload and properties, thousands of bits a second. */
  readonly kbitPerS: number;
  readonly framesPerS: number;
  /** Part of the frames that never came, 0 to 1, since the start. */
  readonly loss: number;
  /** Interarrival jitter (RFC 3550, 6.4.1). */
  readonly jitterMs: number;
  /** How much later than the fastest one of the last 30 s the last frame came. */
  readonly latenessMs: number;
  /** The same, the latest frame of the last 2 s. */
  readonly latenessMaxMs: number;
  /** Bytes since the start. */
  readonly bytes: number;
  /** Counts since the start. */
  readonly counters: Counters;
}

interface Slice {
  readonly began: number;
  bytes: number;
  frames: number;
  latenessMaxMs: number;
}

/** Measures one track. */
export class Stats {
  #bytes = 0;
  #slices: Slice[] = [];
  #previous: { readonly timestampMs: number; readonly transitMs: number } | undefined;
  #jitterMs = 0;
  #lateness = new Lateness();
  #latenessMs = 0;

  /** An object came, whatever became of it. */
  object(now: number, bytes: number): void {
    this.#bytes += bytes;
    this.#slice(now).bytes += bytes;
  }

  /** A frame was given out; returns how much later it came than the fastest. */
  frame(now: number, frame: ReceivedFrame): number {
    const timestampMs = (frame.timestamp / (frame.timescale ?? 1_000_000)) * 1000;
    const transitMs = frame.arrived - timestampMs;
    // A frame shown before one that was sent earlier says nothing about the network.
    if (!this.#previous || timestampMs > this.#previous.timestampMs) {
      if (this.#previous) this.#jitterMs += (Math.abs(transitMs - this.#previous.transitMs) - this.#jitterMs) / 16;
      this.#previous = { timestampMs, transitMs };
      this.#latenessMs = this.#lateness.of(now, transitMs);
    }
    const slice = this.#slice(now);
    slice.frames += 1;
    slice.latenessMaxMs = Math.max(slice.latenessMaxMs, this.#latenessMs);
    return this.#latenessMs;
  }

  /** A new time line begins: another epoch of the publisher. */
  restart(): void {
    this.#previous = undefined;
    this.#lateness = new Lateness();
  }

  /** The figures at this moment. */
  figures(now: number, counters: Counters): Figures {
    const recent = this.#slices.filter((slice) => now - slice.began <= RATE_WINDOW_MS);
    const seconds = Math.max(now - (recent[0]?.began ?? now), SLICE_MS) / 1000;
    const sum = (of: (slice: Slice) => number) => recent.reduce((total, slice) => total + of(slice), 0);
    const expected = counters.frames + counters.framesLost;
    return {
      kbitPerS: (sum(({ bytes }) => bytes) * 8) / 1000 / seconds,
      framesPerS: sum(({ frames }) => frames) / seconds,
      loss: expected === 0 ? 0 : counters.framesLost / expected,
      jitterMs: this.#jitterMs,
      latenessMs: this.#latenessMs,
      latenessMaxMs: Math.max(0, ...recent.map(({ latenessMaxMs }) => latenessMaxMs)),
      bytes: this.#bytes,
      counters,
    };
  }

  #slice(now: number): Slice {
    const last = this.#slices.at(-1);
    if (last && now - last.began < SLICE_MS) return last;
    this.#slices = this.#slices.filter((slice) => now - slice.began <= RATE_WINDOW_MS);
    const slice = { began: now, bytes: 0, frames: 0, latenessMaxMs: 0 };
    this.#slices.push(slice);
    return slice;
  }
}
