/** What arrives on a track, per second. Pure: time is an argument, in milliseconds. */

/** Seconds of history kept for drawing. */
export const HISTORY_SECONDS = 30;

/** One second of a track. */
export interface Second {
  readonly kbits: number;
  readonly objects: number;
}

/** Counts bytes and objects; every {@link Meter.tick} closes a piece of time. */
export class Meter {
  #bytes = 0;
  #objects = 0;
  #since: number;
  /** Objects since the start. */
  objectsTotal = 0;
  /** The latest pieces, oldest first. */
  readonly history: Second[] = [];

  constructor(now: number) {
    this.#since = now;
  }

  /** An object of so many bytes has come. */
  add(bytes: number): void {
    this.#bytes += bytes;
    this.#objects += 1;
    this.objectsTotal += 1;
  }

  /** Rates since the last tick. */
  tick(now: number): Second {
    const seconds = Math.max(now - this.#since, 1) / 1000;
    const second = { kbits: (this.#bytes * 8) / 1000 / seconds, objects: this.#objects / seconds };
    this.#bytes = 0;
    this.#objects = 0;
    this.#since = now;
    this.history.push(second);
    if (this.history.length > HISTORY_SECONDS) this.history.shift();
    return second;
  }
}
