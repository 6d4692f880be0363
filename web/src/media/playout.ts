/**
 * How long frames of video wait before they are shown, so that late ones still come in time: nothing while the network is
 * even, up quickly when it is not, down slowly. Pure; times are milliseconds.
 */

/** Lateness is sorted into buckets of this width. */
const BUCKET_MS = 5;
const BUCKETS = 100;
/** What one frame leaves of those before: half is forgotten after some 11 s at 30 frames a second. */
const MEMORY = 0.998;
/** Part of the frames that shall come in time. */
const PERCENTILE = 0.95;
/** Lateness below this is the browser's own, and not waited for. */
const IGNORED_MS = 15;
/** The delay shrinks by no more than this a second. */
const FALL_MS_PER_S = 20;

/** Follows the lateness of a track's frames. */
export class Playout {
  readonly #weights = new Float64Array(BUCKETS);
  #total = 0;
  #delayMs = 0;
  #at: number | undefined;

  /** A frame came this much later than the fastest one. */
  observe(now: number, latenessMs: number): void {
    const bucket = Math.min(Math.floor(Math.max(latenessMs, 0) / BUCKET_MS), BUCKETS - 1);
    for (let i = 0; i < BUCKETS; i++) this.#weights[i] = (this.#weights[i] ?? 0) * MEMORY;
    this.#weights[bucket] = (this.#weights[bucket] ?? 0) + 1;
    this.#total = this.#total * MEMORY + 1;
    const late = this.#late();
    const target = late <= IGNORED_MS ? 0 : late;
    const fall = ((now - (this.#at ?? now)) / 1000) * FALL_MS_PER_S;
    this.#delayMs = Math.max(target, this.#delayMs - fall);
    this.#at = now;
  }

  /** How long after the fastest way a frame is due. */
  get delayMs(): number {
    return this.#delayMs;
  }

  /** The upper edge of the bucket that the percentile is in. */
  #late(): number {
    let sum = 0;
    for (let i = 0; i < BUCKETS; i++) {
      sum += this.#weights[i] ?? 0;
      if (sum >= this.#total * PERCENTILE) return (i + 1) * BUCKET_MS;
    }
    return BUCKETS * BUCKET_MS;
  }
}
