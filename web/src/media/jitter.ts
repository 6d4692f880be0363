/**
 * Sound between network and loudspeaker: frames come early, late or not at all, samples leave at an even pace. Runs on the
 * audio thread. Pure: its clock is the samples that are pulled.
 *
 * - A frame that is missing between others is concealed: its place is filled with the last period of the voice, fading.
 * - With nothing left to play, the same goes on without time passing, so that what comes late is still heard.
 * - The delay follows what the receiver asks for, by leaving out or repeating whole periods, in a tenth of the time at most.
 */

/** Samples a second, everywhere here. */
export const SAMPLE_RATE = 48_000;

const MS = SAMPLE_RATE / 1000;
/** The delay may differ from what is asked for by this much. */
const TOLERANCE = 8 * MS;
/** What one frame adds to the measured delay. */
const SMOOTHING = 0.1;
/** Periods that are believed: 400 Hz to 66 Hz. */
const PERIOD_MIN = 2.5 * MS;
const PERIOD_MAX = 15 * MS;
/** Sounds at least so much like the next period may be stretched. */
const LIKENESS_MIN = 0.6;
/** A missing frame is filled for so long at most, fading all the while. */
const CONCEAL = 60 * MS;
/** Filled-in sound gives way to what was sent over this long. */
const BLEND = 5 * MS;
/** Chunks that begin this close to where the last one ended follow it: time stamps are rounded. */
const SNAP = 2 * MS;
/** So far away it is another time line: a film that began again. */
const OTHER_TIME = 5000 * MS;
/** With more than this, what is too much is left out at once. */
const BUFFERED_MAX = 1000 * MS;
/** The last samples played, from which missing ones are made. */
const MEMORY = 2 * PERIOD_MAX;

interface Chunk {
  readonly at: number;
  readonly channels: readonly Float32Array[];
}

/** Numbers for people and for the synchronisation with video. */
export interface JitterFigures {
  /** Media time of the next sample, in samples; `undefined` while nothing plays. */
  readonly position: number | undefined;
  readonly bufferedMs: number;
  /** Between the fastest way here and being heard. */
  readonly delayMs: number;
  /** Filled in since the start. */
  readonly concealedMs: number;
  /** Played since the start, filled in or not. */
  readonly playedMs: number;
  /** Left out or repeated since the start, to change the delay. */
  readonly stretchedMs: number;
  /** Came after its place had been filled in. */
  readonly lateMs: number;
}

function lengthOf(chunk: Chunk): number {
  return chunk.channels[0]?.length ?? 0;
}

/** One source of sound. */
export class JitterBuffer {
  /** By time, without overlaps. */
  readonly #chunks: Chunk[] = [];
  /** The next sample to be played; `undefined` until enough is there to begin. */
  #position: number | undefined;
  /** The last samples played, for each channel. */
  readonly #memory: Float32Array[];
  /** Filled in without a break so far. */
  #concealing = 0;
  /** The period that is repeated meanwhile, for each channel; where in it we are, and how loud. */
  #loop: readonly Float32Array[] = [];
  #phase = 0;
  #fade = 0;
  /** Samples of the blend that remain. */
  #blending = 0;
  /** Samples until the delay may be changed again. */
  #restLeft = 0;
  /** Asked for, and as it is: samples between the fastest way here and being heard. */
  #target = 20 * MS;
  #delay = this.#target;
  /** True before the first sample after silence: what is not heard then is not missing. */
  #isLeadIn = false;
  #concealed = 0;
  #played = 0;
  #stretched = 0;
  #late = 0;

  constructor(readonly channels: number) {
    this.#memory = Array.from({ length: channels }, () => new Float32Array(MEMORY));
  }

  /** The delay to keep, beside the fastest way that sound takes to here. */
  setTarget(delayMs: number): void {
    this.#target = delayMs * MS;
  }

  /** Sound whose first sample has this media time. `latenessMs` is how much later than the fastest it is here. */
  push(at: number, channels: readonly Float32Array[], latenessMs: number): void {
    const isOtherTime = Math.abs(at - (this.#position ?? at)) > OTHER_TIME;
    if (isOtherTime) this.#chunks.length = 0;
    if (this.#position === undefined || isOtherTime) this.#begin(at, latenessMs);
    const position = this.#position ?? at;
    const delay = at - position + latenessMs * MS;
    this.#delay += (delay - this.#delay) * SMOOTHING;
    const before = this.#chunks.findLastIndex((chunk) => chunk.at <= at);
    const previous = this.#chunks[before];
    const previousEnd = previous ? previous.at + lengthOf(previous) : position;
    if (Math.abs(at - previousEnd) <= SNAP) at = previousEnd;
    let chunk: Chunk = { at, channels };
    if (at < previousEnd) {
      const known = Math.min(previousEnd - at, lengthOf(chunk));
      if (!previous) this.#late += known;
      chunk = tail(chunk, known);
    }
    const next = this.#chunks[before + 1];
    if (next && chunk.at + lengthOf(chunk) > next.at) chunk = head(chunk, next.at - chunk.at);
    if (lengthOf(chunk) <= 0) return;
    this.#chunks.splice(before + 1, 0, chunk);
    if (this.#buffered > BUFFERED_MAX) this.#jump(chunk.at - this.#target);
  }

  /** Fills `out`, one array for each channel; false when there is nothing but silence. */
  pull(out: readonly Float32Array[]): boolean {
    const length = out[0]?.length ?? 0;
    if (this.#position === undefined) {
      for (const channel of out) channel.fill(0);
      return false;
    }
    this.#played += length;
    this.#restLeft -= length;
    this.#stretch();
    for (let done = 0; done < length; ) {
      const position: number = this.#position;
      const chunk = this.#chunks[0];
      if (chunk && chunk.at <= position) {
        const from = position - chunk.at;
        const count = Math.min(length - done, lengthOf(chunk) - from);
        this.#play(chunk, from, out, done, count);
        this.#position = position + count;
        if (from + count >= lengthOf(chunk)) this.#chunks.shift();
        done += count;
        continue;
      }
      const count = Math.min(length - done, chunk ? chunk.at - position : Infinity);
      this.#conceal(out, done, count);
      // Time stands still only while nothing is known of what follows.
      if (chunk) this.#position = position + count;
      else this.#delay += count;
      done += count;
    }
    if (this.#chunks.length === 0 && this.#concealing > CONCEAL) this.#position = undefined;
    return true;
  }

  figures(): JitterFigures {
    return {
      position: this.#position,
      bufferedMs: this.#buffered / MS,
      delayMs: this.#delay / MS,
      concealedMs: this.#concealed / MS,
      playedMs: this.#played / MS,
      stretchedMs: this.#stretched / MS,
      lateMs: this.#late / MS,
    };
  }

  get #buffered(): number {
    const last = this.#chunks.at(-1);
    return last && this.#position !== undefined ? Math.max(last.at + lengthOf(last) - this.#position, 0) : 0;
  }

  /** The first chunk after silence: it is heard when it is as old as it shall be. */
  #begin(at: number, latenessMs: number): void {
    this.#delay = Math.max(this.#target, latenessMs * MS);
    this.#position = Math.round(at - (this.#delay - latenessMs * MS));
    this.#isLeadIn = true;
    // The voice comes back without a click.
    this.#concealing = Math.max(this.#concealing, 1);
  }

  #jump(position: number): void {
    while (this.#chunks[0] && this.#chunks[0].at + lengthOf(this.#chunks[0]) <= position) this.#chunks.shift();
    this.#delay -= position - (this.#position ?? position);
    this.#position = Math.round(position);
    this.#concealing = Math.max(this.#concealing, 1);
  }

  #play(chunk: Chunk, from: number, out: readonly Float32Array[], at: number, count: number): void {
    if (this.#concealing > 0) {
      this.#blending = BLEND;
      this.#concealing = 0;
    }
    this.#isLeadIn = false;
    const blended = Math.min(this.#blending, count);
    out.forEach((channel, c) => {
      const samples = chunk.channels[Math.min(c, chunk.channels.length - 1)];
      if (!samples) return;
      channel.set(samples.subarray(from, from + count), at);
      for (let i = 0; i < blended; i++) {
        const weight = (this.#blending - i) / BLEND;
        channel[at + i] = (channel[at + i] ?? 0) * (1 - weight) + this.#filler(c, i) * this.#fade * weight;
      }
    });
    this.#blending -= blended;
    this.#phase += blended;
    this.#remember(out, at, count);
  }

  #conceal(out: readonly Float32Array[], at: number, count: number): void {
    if (this.#concealing === 0) {
      const { period } = similarPeriod(this.#memory[0] ?? new Float32Array(MEMORY), MEMORY - PERIOD_MAX, -1);
      this.#loop = this.#memory.map((memory) => memory.slice(MEMORY - period));
      this.#phase = 0;
    }
    out.forEach((channel, c) => {
      for (let i = 0; i < count; i++) {
        channel[at + i] = this.#filler(c, i) * Math.max(1 - (this.#concealing + i) / CONCEAL, 0);
      }
    });
    this.#concealing += count;
    if (!this.#isLeadIn) this.#concealed += count;
    this.#phase += count;
    this.#fade = Math.max(1 - this.#concealing / CONCEAL, 0);
  }

  #filler(channel: number, i: number): number {
    const loop = this.#loop[Math.min(channel, this.#loop.length - 1)];
    return loop?.[(this.#phase + i) % loop.length] ?? 0;
  }

  #remember(out: readonly Float32Array[], at: number, count: number): void {
    const kept = Math.min(count, MEMORY);
    this.#memory.forEach((memory, c) => {
      const channel = out[c];
      if (!channel) return;
      memory.copyWithin(0, kept);
      memory.set(channel.subarray(at + count - kept, at + count), MEMORY - kept);
    });
  }

  /** Leaves out or repeats one period, when the delay is not what it shall be and the sound allows it. */
  #stretch(): void {
    const excess = this.#delay - this.#target;
    if (Math.abs(excess) < TOLERANCE || this.#restLeft > 0 || this.#concealing > 0) return;
    const position = this.#position ?? 0;
    const ahead = this.#contiguous(position, 2 * PERIOD_MAX);
    const [voice] = ahead;
    // A delay that is too short leaves little to look at.
    if (!voice || voice.length < 2 * PERIOD_MIN) return;
    const { period, likeness } = similarPeriod(voice, 0, 1, Math.min(PERIOD_MAX, Math.floor(voice.length / 2)));
    if (likeness < LIKENESS_MIN || period > Math.abs(excess) + TOLERANCE) return;
    const blend = (channel: Float32Array, first: number, second: number) =>
      Float32Array.from({ length: period }, (_, i) => {
        const weight = i / period;
        return (channel[first + i] ?? 0) * (1 - weight) + (channel[second + i] ?? 0) * weight;
      });
    if (excess > 0) {
      this.#replace(position, 2 * period, ahead.map((channel) => blend(channel, 0, period)));
    } else {
      const repeated = ahead.map((channel) => {
        const longer = new Float32Array(2 * period);
        longer.set(channel.subarray(0, period));
        longer.set(blend(channel, period, 0), period);
        return longer;
      });
      this.#replace(position, period, repeated);
    }
    this.#delay -= Math.sign(excess) * period;
    this.#stretched += period;
    this.#restLeft = 10 * period;
  }

  /** Samples from here on as far as they follow one another. */
  #contiguous(position: number, count: number): Float32Array[] {
    const samples = Array.from({ length: this.channels }, () => new Float32Array(count));
    let filled = 0;
    for (const chunk of this.#chunks) {
      const from = position + filled - chunk.at;
      if (from < 0 || filled >= count) break;
      const part = Math.min(lengthOf(chunk) - from, count - filled);
      samples.forEach((channel, c) => {
        const source = chunk.channels[Math.min(c, chunk.channels.length - 1)];
        if (source) channel.set(source.subarray(from, from + part), filled);
      });
      filled += part;
    }
    return samples.map((channel) => channel.subarray(0, filled));
  }

  /** Puts other samples in the place of `count` from here on, which end at the same time. */
  #replace(position: number, count: number, samples: Float32Array[]): void {
    const end = position + count;
    while (this.#chunks[0] && this.#chunks[0].at + lengthOf(this.#chunks[0]) <= end) this.#chunks.shift();
    const cut = this.#chunks[0];
    if (cut && cut.at < end) this.#chunks[0] = tail(cut, end - cut.at);
    const at = end - (samples[0]?.length ?? 0);
    this.#chunks.unshift({ at, channels: samples });
    this.#position = at;
  }
}

/**
 * The distance at which samples resemble those that far on (`direction` 1) or back (-1), from `at` on, and how much (1 is
 * wholly). Every fourth sample and distance is enough for voices.
 */
function similarPeriod(
  samples: Float32Array,
  at: number,
  direction: 1 | -1,
  periodMax = PERIOD_MAX,
): { period: number; likeness: number } {
  let best = { period: periodMax, likeness: -1 };
  for (let period = PERIOD_MIN; period <= periodMax; period += 4) {
    let product = 0;
    let own = 1e-9;
    let other = 1e-9;
    for (let i = 0; i < periodMax; i += 4) {
      const a = samples[at + i] ?? 0;
      const b = samples[at + i + direction * period] ?? 0;
      product += a * b;
      own += a * a;
      other += b * b;
    }
    // Silence resembles everything.
    const likeness = own < 1e-6 && other < 1e-6 ? 1 : product / Math.sqrt(own * other);
    if (likeness > best.likeness) best = { period, likeness };
  }
  return best;
}

function tail(chunk: Chunk, samples: number): Chunk {
  return { at: chunk.at + samples, channels: chunk.channels.map((channel) => channel.subarray(samples)) };
}

function head(chunk: Chunk, samples: number): Chunk {
  return { at: chunk.at, channels: chunk.channels.map((channel) => channel.subarray(0, Math.max(samples, 0))) };
}
