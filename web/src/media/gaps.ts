/**
 * When to ask for what is missing (docs/wire.md, "Repair"): gaps that lie close together become one FETCH, at most 20 are
 * sent a second, none is sent twice at once, and what would come too late is not asked for. Pure; times are milliseconds.
 */
import { after, at, compare, GROUP_END, later, type Location } from "./location";
import type { MissingRange } from "./reassemble";

/** Gaps at most this many objects (or groups of one object) apart become one FETCH. */
export const MERGE_DISTANCE = 8;
/** Most FETCHes a second and track. */
export const FETCHES_PER_SECOND = 20;
/** Most FETCHes of a track that wait for their answers at once. */
const IN_FLIGHT_MAX = 8;
/** Most ranges remembered because their answer was of no use. */
const COOLING_MAX = 64;

/** Settings of the planner. */
export interface PlannerConfig {
  /** How long a gap must have been there: datagrams overtake each other. */
  readonly settleMs: number;
  /** A gap this old is not asked for when the answer, a round trip later, would come too late. */
  readonly giveUpAfterMs: number;
  /** How long after an answer without the objects the same gap is asked for again; doubled every time. */
  readonly retryAfterMs: number;
  /** How often one gap is asked for. */
  readonly attemptsMax: number;
}

/** For playing, where a frame waits no longer than this. */
export function livePlanner(waitMs: number): PlannerConfig {
  return { settleMs: 10, giveUpAfterMs: waitMs, retryAfterMs: 50, attemptsMax: 3 };
}

/** A range to ask for. As in a FETCH, objects that are there already come along. */
export interface Ask {
  readonly start: Location;
  /** Last location; object `GROUP_END` is the end of the group, wherever that is. */
  readonly end: Location;
}

/** The end in FETCH's encoding: object plus one, or 0 for the whole group (draft 10.12.1). */
export function wireEnd({ end }: Ask): Location {
  return end.object >= GROUP_END ? at(end.group, 0) : at(end.group, end.object + 1);
}

/** How a FETCH ended: with everything that exists, or with something unknown or failed. */
export type Answer = "complete" | "incomplete";

/** What to do now. */
export interface Plan {
  /** FETCHes to send; each is ended with {@link Planner.answered}. */
  readonly asks: readonly Ask[];
  /** Gaps that have been asked for often enough: nobody knows about them. */
  readonly hopeless: readonly Ask[];
  /** When to plan again, if nothing else happens. */
  readonly againAt: number | undefined;
}

interface Cooling {
  readonly ask: Ask;
  readonly until: number;
  readonly attempts: number;
}

/** Plans the repair of one track. */
export class Planner {
  readonly #config: PlannerConfig;
  #inFlight: Ask[] = [];
  #cooling: Cooling[] = [];
  #sent: number[] = [];

  constructor(config: PlannerConfig) {
    this.#config = config;
  }

  /** What to ask for, of what the reassembler lists as missing. */
  plan(now: number, missing: readonly MissingRange[], roundTripMs: number): Plan {
    const { settleMs, giveUpAfterMs, attemptsMax } = this.#config;
    const asks: Ask[] = [];
    const hopeless: Ask[] = [];
    const due: Ask[] = [];
    let againAt: number | undefined;
    const wake = (time: number) => (againAt = Math.min(againAt ?? time, time));
    for (const { start, end, since } of missing) {
      const range = { start, end };
      if (this.#inFlight.some((ask) => overlap(ask, range))) continue;
      const cooling = this.#cooling
        .filter(({ ask }) => overlap(ask, range))
        .reduce<Cooling | undefined>((latest, other) => (latest && latest.until > other.until ? latest : other), undefined);
      const dueAt = Math.max(since + settleMs, cooling?.until ?? 0);
      if (cooling && cooling.attempts >= attemptsMax) hopeless.push(range);
      else if (dueAt > now) wake(dueAt);
      else if (now + roundTripMs <= since + giveUpAfterMs) due.push(range);
    }
    this.#sent = this.#sent.filter((sent) => now - sent < 1000);
    for (const ask of merged(due)) {
      if (this.#inFlight.length >= IN_FLIGHT_MAX) break;
      if (this.#sent.length >= FETCHES_PER_SECOND) {
        wake((this.#sent[0] ?? now) + 1000);
        break;
      }
      this.#sent.push(now);
      this.#inFlight.push(ask);
      asks.push(ask);
    }
    return { asks, hopeless, againAt };
  }

  /** The FETCH of an ask is over. */
  answered(now: number, ask: Ask, answer: Answer): void {
    this.#inFlight = this.#inFlight.filter((other) => other !== ask);
    const previous = Math.max(0, ...this.#cooling.filter((other) => overlap(other.ask, ask)).map(({ attempts }) => attempts));
    this.#cooling = this.#cooling.filter((other) => !overlap(other.ask, ask));
    if (answer === "complete") return;
    const pause = this.#config.retryAfterMs * 2 ** Math.min(previous, 6);
    if (this.#cooling.length >= COOLING_MAX) this.#cooling.shift();
    this.#cooling.push({ ask, until: now + pause, attempts: previous + 1 });
  }

  /** FETCHes that wait for their answers. */
  get inFlight(): number {
    return this.#inFlight.length;
  }
}

function overlap(a: Ask, b: Ask): boolean {
  return compare(a.start, b.end) <= 0 && compare(b.start, a.end) <= 0;
}

function merged(asks: Ask[]): Ask[] {
  const merged: Ask[] = [];
  for (const ask of asks.sort((a, b) => compare(a.start, b.start))) {
    const last = merged.at(-1);
    if (last && areClose(last.end, ask.start)) merged[merged.length - 1] = { start: last.start, end: later(last.end, ask.end) };
    else merged.push(ask);
  }
  return merged;
}

function areClose(end: Location, start: Location): boolean {
  if (end.group === start.group) return start.object - end.object <= MERGE_DISTANCE;
  // Between them lie whole groups and nothing else: sound has one object in each.
  return end.object >= GROUP_END && start.object === 0 && start.group - end.group <= MERGE_DISTANCE;
}

/** Follows the answer to an ascending FETCH: what it passes over does not exist (draft 11.4.4). */
export class Fetching {
  /** The first location nothing has been said about; `undefined` until the start of a joining FETCH is known. */
  #next: Location | undefined;
  #hasUnknown = false;

  constructor(start: Location | undefined) {
    this.#next = start;
  }

  /** An object of the answer; returns what does not exist before it. */
  object(location: Location): Ask | undefined {
    const absent = this.#upTo(location);
    this.#next = after(location);
    return absent;
  }

  /** Nothing exists up to here. */
  nonExistent(end: Location): Ask | undefined {
    const start = this.#next;
    this.#next = after(end);
    return start && compare(start, end) <= 0 ? { start, end } : undefined;
  }

  /** Nothing is known up to here. */
  unknown(end: Location): void {
    this.#hasUnknown ||= this.#next !== undefined;
    this.#next = after(end);
  }

  /** The answer is over and reached to `end`, included: what does not exist after its last item, and how it ended. */
  ended(end: Location | undefined): { readonly absent: Ask | undefined; readonly answer: Answer } {
    const start = this.#next;
    const absent = start && end && compare(start, end) <= 0 ? { start, end } : undefined;
    return { absent, answer: this.#hasUnknown ? "incomplete" : "complete" };
  }

  #upTo({ group, object }: Location): Ask | undefined {
    const start = this.#next;
    const end = object > 0 ? at(group, object - 1) : at(group - 1, GROUP_END);
    return start && compare(start, end) <= 0 ? { start, end } : undefined;
  }
}
