/** How fast datagrams leave: sound at once, video a few at a time, so that a key frame does not fill a queue on the way. */

/** Datagrams that leave together. */
const BURST = 16;
const PAUSE_MS = 4;
/** What waits longer is of no use; a full second of video would never be waited for. */
const WAITING_MAX = 3000;

/** Ended with {@link Pacer.close}. */
export class Pacer {
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #left = BURST;
  /** Datagrams that were not sent because too many waited. */
  dropped = 0;

  /** Sends now, or after what waits. */
  send(datagram: () => void): void {
    if (this.#waiting.length === 0 && this.#left > 0) {
      this.#left -= 1;
      datagram();
    } else if (this.#waiting.length < WAITING_MAX) {
      this.#waiting.push(datagram);
    } else {
      this.dropped += 1;
    }
    this.#timer ??= setTimeout(() => this.#refill(), PAUSE_MS);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }

  #refill(): void {
    this.#timer = undefined;
    this.#left = BURST;
    for (const datagram of this.#waiting.splice(0, BURST)) {
      this.#left -= 1;
      datagram();
    }
    if (this.#waiting.length > 0 || this.#left < BURST) this.#timer = setTimeout(() => this.#refill(), PAUSE_MS);
  }
}
