/** The worker's clocks. */

/** Milliseconds of a clock that does not jump. */
export function now(): number {
  return performance.now();
}

/** Unix microseconds, by the same clock: time stamps of live capture. */
export function unixUs(at = performance.now()): number {
  return Math.round((performance.timeOrigin + at) * 1000);
}

/** The smallest round trip to the relay of late, by how long requests take. */
export class RoundTrip {
  readonly #samples: number[] = [];

  observe(ms: number): void {
    this.#samples.push(ms);
    if (this.#samples.length > 10) this.#samples.shift();
  }

  get ms(): number {
    return this.#samples.length === 0 ? 100 : Math.min(...this.#samples);
  }
}
