/** One subscription to a track of media: from objects to frames, with repair. */
import type { FrameLength } from "../media/audio";
import { type Answer, type Ask, Fetching, livePlanner, Planner, wireEnd } from "../media/gaps";
import { decodeProperties } from "../media/loc";
import { at, earlier, fromWire, type Location, toWire } from "../media/location";
import { type Gap, liveConfig, type ReceivedFrame, Reassembler } from "../media/reassemble";
import { type Figures, Stats } from "../media/stats";
import { Ended, type FetchItem, type FullTrackName, type MoqtObject, Refused, type Session, type Subscription } from "../moqt";
import { now, type RoundTrip } from "./clock";

/** The relay waits so long for a track that is announced and not there yet. */
const RENDEZVOUS_MS = 10_000n;
/** Objects older than this are of no use to anybody here. */
const DELIVERY_TIMEOUT_MS = 1500n;
/** Live objects wait so long for the joining FETCH to say where the track begins. */
const JOIN_WAIT_MS = 2000;
const JOIN_OBJECTS_MAX = 8192;
/** Time until a refused SUBSCRIBE is tried again, doubled every time. */
const RETRY_MS = 250;
const RETRY_MAX_MS = 8000;
/** Gaps looked at together. */
const GAPS_MAX = 64;
/** A new group is asked for no more often than this: a publisher makes no more. */
const NEW_GROUP_EVERY_MS = 500;

/** What a track is received for. */
export interface ReceiverConfig {
  /** How long a frame waits for one before it. */
  readonly waitMs: number;
  /** Of sound. */
  readonly frameLength: FrameLength | undefined;
  /** True to begin with the group that runs, out of the relay's cache. */
  readonly joins: boolean;
  readonly subscriberPriority: number;
}

/** What comes of it, in decode order. */
export interface ReceiverHandlers {
  /** `latenessMs`: how much later than the fastest. */
  readonly frame: (frame: ReceivedFrame, latenessMs: number) => void;
  readonly gap: (gap: Gap) => void;
  /** An object came after its frame had been given up. */
  readonly late?: (timestamp: number) => void;
}

/** Ended with {@link Receiver.close}. */
export class Receiver {
  readonly #session: Session;
  readonly #track: FullTrackName;
  readonly #config: ReceiverConfig;
  readonly #handlers: ReceiverHandlers;
  readonly #roundTrip: RoundTrip;
  readonly #reassembler: Reassembler;
  readonly #planner: Planner;
  readonly #stats = new Stats();
  #subscription: Subscription | undefined;
  /** Live objects until the joining FETCH has shown where the track begins; `undefined` once it has. */
  #held: MoqtObject[] | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #newGroupAt = -Infinity;
  #wantsNewGroup = false;
  #isClosed = false;

  constructor(
    session: Session,
    track: FullTrackName,
    config: ReceiverConfig,
    roundTrip: RoundTrip,
    handlers: ReceiverHandlers,
  ) {
    this.#session = session;
    this.#track = track;
    this.#config = config;
    this.#roundTrip = roundTrip;
    this.#handlers = handlers;
    this.#reassembler = new Reassembler(liveConfig(config.waitMs, config.frameLength));
    this.#planner = new Planner(livePlanner(config.waitMs));
    void this.#run();
  }

  figures(): Figures {
    return this.#stats.figures(now(), this.#reassembler.counters());
  }

  /** Changes how long a frame waits for one before it. */
  setWait(waitMs: number): void {
    this.#reassembler.setWait(waitMs);
  }

  /** Nothing can be decoded before the next group: asks for one, where the publisher makes them on request. */
  askForNewGroup(): void {
    if (!this.#subscription) {
      this.#wantsNewGroup = true;
      return;
    }
    if (!this.#subscription.hasDynamicGroups || now() - this.#newGroupAt < NEW_GROUP_EVERY_MS) return;
    this.#newGroupAt = now();
    const group = this.#reassembler.position?.group;
    this.#subscription.update({ newGroupRequest: group === undefined ? 0n : BigInt(group + 1) });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#subscription?.cancel();
  }

  // ---- the subscription

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        await this.#subscribe();
        attempt = 0;
      } catch (error) {
        // Whoever ended the session knows; a refusal may be over soon, as when a camera is switched on.
        if (error instanceof Ended || !(error instanceof Refused)) return;
      }
      const pause = Math.min(RETRY_MS * 2 ** attempt, RETRY_MAX_MS);
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }

  /** Resolves when the subscription is over. */
  async #subscribe(): Promise<void> {
    this.#held = this.#config.joins ? [] : undefined;
    let over: () => void = () => {};
    const ended = new Promise<void>((resolve) => (over = resolve));
    const began = now();
    const handlers = { object: (object: MoqtObject) => this.#live(object), ended: () => over() };
    const subscription = await this.#session.subscribe(this.#track, handlers, {
      rendezvousTimeoutMs: RENDEZVOUS_MS,
      objectDeliveryTimeoutMs: DELIVERY_TIMEOUT_MS,
      subscriberPriority: this.#config.subscriberPriority,
    });
    if (this.#isClosed) return subscription.cancel();
    this.#subscription = subscription;
    if (subscription.largest) this.#roundTrip.observe(now() - began);
    if (this.#wantsNewGroup) {
      this.#wantsNewGroup = false;
      this.askForNewGroup();
    }
    if (this.#config.joins && subscription.largest) await this.#join(subscription);
    else this.#joined(undefined);
    await ended;
    this.#subscription = undefined;
  }

  async #join(subscription: Subscription): Promise<void> {
    const fetching = new Fetching(undefined);
    const timer = setTimeout(() => this.#joined(undefined), JOIN_WAIT_MS);
    try {
      const { end, isWhole } = await subscription.join(0n, (item) => this.#fetched(fetching, item));
      if (isWhole) this.#fetchEnded(fetching, end);
    } catch (error) {
      // Without the group's start there is nothing to see before the next one.
      if (error instanceof Refused) this.askForNewGroup();
    } finally {
      clearTimeout(timer);
      this.#joined(undefined);
    }
  }

  /** The joining FETCH has brought its first object, or will bring none. */
  #joined(first: Location | undefined): void {
    const held = this.#held;
    if (!held) return;
    this.#held = undefined;
    const locations = held.map(({ location }) => fromWire(location)).filter((location) => location !== undefined);
    const start = [...(first ? [first] : []), ...locations].reduce<Location | undefined>(
      (start, location) => (start ? earlier(start, location) : location),
      undefined,
    );
    if (start) this.#reassembler.startAt(at(start.group, 0));
    for (const object of held) this.#insert(object, "live");
    this.#pump();
  }

  // ---- objects

  #live(object: MoqtObject): void {
    this.#stats.object(now(), object.payload.length + object.properties.length);
    if (this.#held && this.#held.length < JOIN_OBJECTS_MAX) {
      this.#held.push(object);
      return;
    }
    this.#joined(undefined);
    this.#insert(object, "live");
    this.#pump();
  }

  #insert(object: MoqtObject, source: "live" | "fetch"): void {
    const inserted = this.#reassembler.insert(now(), object, source);
    if (inserted === "late" && source === "live" && this.#handlers.late) {
      this.#handlers.late(decodeProperties(object.properties).timestamp);
    }
  }

  #fetched(fetching: Fetching, item: FetchItem): void {
    if (this.#isClosed) return;
    const location = fromWire(item.type === "object" ? item.object.location : item.end);
    if (!location) return;
    if (item.type === "object") {
      this.#stats.object(now(), item.object.payload.length + item.object.properties.length);
      this.#noteAbsent(fetching.object(location));
      this.#joined(location);
      this.#insert(item.object, "fetch");
    } else if (item.type === "nonExistent") {
      this.#noteAbsent(fetching.nonExistent(location));
    } else {
      fetching.unknown(location);
    }
    this.#pump();
  }

  #noteAbsent(range: Ask | undefined): void {
    if (range) this.#reassembler.noteAbsent(range.start, range.end);
  }

  #fetchEnded(fetching: Fetching, wireEnd: { group: bigint; object: bigint }): Answer {
    const end = fromWire(wireEnd);
    const last = end && (end.object === 0 ? undefined : at(end.group, end.object - 1));
    const { absent, answer } = fetching.ended(last);
    this.#noteAbsent(absent);
    return answer;
  }

  // ---- frames

  /** Hands out what is ready, and asks for what is missing. */
  #pump(): void {
    if (this.#isClosed || this.#held) return;
    this.#handOut();
    const missing = this.#reassembler.missing(GAPS_MAX);
    const plan = missing.length > 0 ? this.#planner.plan(now(), missing, this.#roundTrip.ms) : undefined;
    for (const { start, end } of plan?.hopeless ?? []) this.#reassembler.abandon(start, end);
    if (plan && plan.hopeless.length > 0) this.#handOut();
    for (const ask of plan?.asks ?? []) void this.#repair(ask);
    const due = Math.min(plan?.againAt ?? Infinity, this.#reassembler.pollTimeout() ?? Infinity);
    clearTimeout(this.#timer);
    if (due < Infinity) this.#timer = setTimeout(() => this.#pump(), Math.max(due - now(), 1));
  }

  #handOut(): void {
    for (let output = this.#reassembler.poll(now()); output; output = this.#reassembler.poll(now())) {
      if (output.type === "gap") {
        this.#handlers.gap(output.gap);
      } else {
        this.#handlers.frame(output.frame, this.#stats.frame(now(), output.frame));
      }
      if (this.#isClosed) return;
    }
  }

  async #repair(ask: Ask): Promise<void> {
    const fetching = new Fetching(ask.start);
    const began = now();
    let answer: Answer = "incomplete";
    try {
      const fill = BigInt(Math.ceil(this.#config.waitMs));
      const { end, isWhole } = await this.#session.fetch(
        this.#track,
        toWire(ask.start),
        toWire(wireEnd(ask)),
        (item) => this.#fetched(fetching, item),
        { fillTimeoutMs: fill },
      );
      if (isWhole) {
        answer = this.#fetchEnded(fetching, end);
        this.#roundTrip.observe(now() - began);
      }
    } catch (error) {
      if (!(error instanceof Refused)) return;
    } finally {
      this.#planner.answered(now(), ask, answer);
    }
    this.#pump();
  }
}
