/** Which track an alias names, and the waiting room of datagrams that overtook the SUBSCRIBE_OK naming it. Pure. */
import { SessionErrorCode, Violation } from "./error";
import type { MoqtObject } from "./object";

/** Datagrams kept while their alias is unknown. */
export const WAITING_DATAGRAMS_MAX = 256;
/** How long they are kept, milliseconds. */
export const WAITING_MS_MAX = 250;
/** Aliases remembered after their end, so that late objects are not taken for unknown ones. */
const ENDED_MAX = 1024;

interface Waiting {
  readonly alias: bigint;
  readonly object: MoqtObject;
  readonly since: number;
}

/** Maps aliases to whoever wants their objects. `now` is in milliseconds of any clock that does not jump. */
export class Aliases<T> {
  readonly #wanted = new Map<bigint, T>();
  readonly #ended = new Set<bigint>();
  #waiting: Waiting[] = [];
  /** Datagrams dropped because nobody established their alias in time, or too many waited. */
  dropped = 0;

  /** Whoever wants the objects of `alias`. */
  get(alias: bigint): T | undefined {
    return this.#wanted.get(alias);
  }

  /** True when `alias` was wanted once and no longer is. */
  hasEnded(alias: bigint): boolean {
    return this.#ended.has(alias);
  }

  /** From now on `alias` means `wanted`; returns what has been waiting for it. */
  establish(alias: bigint, wanted: T, now: number): MoqtObject[] {
    if (this.#wanted.has(alias)) {
      throw new Violation("one alias for two tracks", SessionErrorCode.duplicateTrackAlias);
    }
    this.#expire(now);
    this.#wanted.set(alias, wanted);
    this.#ended.delete(alias);
    const objects = this.#waiting.filter((waiting) => waiting.alias === alias).map((waiting) => waiting.object);
    this.#waiting = this.#waiting.filter((waiting) => waiting.alias !== alias);
    return objects;
  }

  /** Nobody wants `alias` any more. */
  end(alias: bigint): void {
    if (!this.#wanted.delete(alias)) return;
    this.#ended.add(alias);
    for (const oldest of this.#ended) {
      if (this.#ended.size <= ENDED_MAX) break;
      this.#ended.delete(oldest);
    }
  }

  /** Keeps an object whose alias is unknown; the oldest makes room. */
  wait(alias: bigint, object: MoqtObject, now: number): void {
    if (this.#ended.has(alias)) return;
    this.#expire(now);
    this.#waiting.push({ alias, object, since: now });
    if (this.#waiting.length > WAITING_DATAGRAMS_MAX) {
      this.#waiting.shift();
      this.dropped += 1;
    }
  }

  #expire(now: number): void {
    const kept = this.#waiting.filter((waiting) => now - waiting.since <= WAITING_MS_MAX);
    this.dropped += this.#waiting.length - kept.length;
    this.#waiting = kept;
  }
}
