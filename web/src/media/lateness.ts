/** How much later than others a frame comes. Pure; times are milliseconds. */

/** The fastest way a frame took is remembered this long. */
const FASTEST_WINDOW_MS = 30_000;

/** Measures against the fastest frame of the last 30 s. */
export class Lateness {
  /** Ascending in time and in transit: the first is the fastest of the window. */
  #fastest: { readonly at: number; readonly transitMs: number }[] = [];

  /** `transitMs` is the time of arrival less the frame's own, whatever the two clocks count from. */
  of(now: number, transitMs: number): number {
    while ((this.#fastest.at(-1)?.transitMs ?? -Infinity) >= transitMs) this.#fastest.pop();
    this.#fastest.push({ at: now, transitMs });
    while (this.#fastest.length > 1 && now - (this.#fastest[0]?.at ?? now) > FASTEST_WINDOW_MS) this.#fastest.shift();
    // Slowly growing transits would keep every frame of the window.
    if (this.#fastest.length > 4096) this.#fastest.length = 2048;
    return transitMs - (this.#fastest[0]?.transitMs ?? transitMs);
  }
}
