/** One participant as a receiver sees it: follows its catalog, receives and measures the tracks it names. */
import { type Signal, signal } from "@preact/signals";
import { type CatalogTrack, readCatalog } from "../media/catalog";
import { fullTrackName, type MoqtObject, type Namespace, namespaceText, type Session, type Subscription } from "../moqt";
import { Meter, type Second } from "./meter";

/** A track as the page shows it. */
export interface TrackState {
  readonly name: string;
  /** What the catalog says; `undefined` for the catalog itself. */
  readonly catalog: CatalogTrack | undefined;
  readonly rates: Second;
  readonly history: readonly Second[];
  readonly objectsTotal: number;
  /** What is wrong with it, for people. */
  readonly problem: string | undefined;
}

/** Milliseconds to wait for a track that is announced and not there yet. */
const RENDEZVOUS_MS = 10_000n;

/** Cancelled with {@link Participant.close}. */
export class Participant {
  readonly name: string;
  /** Catalog first, then its tracks in its order. */
  readonly tracks: Signal<readonly TrackState[]> = signal([]);

  readonly #session: Session;
  readonly #namespace: Namespace;
  readonly #now: () => number;
  readonly #received = new Map<string, ReceivedTrack>();
  #isClosed = false;
  #catalogGroup = -1n;

  constructor(session: Session, namespace: Namespace, now: () => number) {
    this.name = namespaceText(namespace);
    this.#session = session;
    this.#namespace = namespace;
    this.#now = now;
    this.#receive("catalog", undefined, (object) => this.#catalogCame(object));
  }

  /** Measures; to be called about every second. */
  tick(): void {
    const now = this.#now();
    for (const track of this.#received.values()) track.tick(now);
    this.#publish();
  }

  close(): void {
    this.#isClosed = true;
    for (const track of this.#received.values()) track.close();
  }

  #receive(name: string, catalog: CatalogTrack | undefined, object?: (object: MoqtObject) => void): void {
    const track = new ReceivedTrack(name, catalog, this.#now(), object);
    this.#received.set(name, track);
    void track.subscribe(this.#session, this.#namespace);
    this.#publish();
  }

  #catalogCame(object: MoqtObject): void {
    // Objects of past groups come late; only the newest catalog is true.
    if (object.status !== "normal" || object.location.group <= this.#catalogGroup) return;
    this.#catalogGroup = object.location.group;
    const own = this.#received.get("catalog");
    readCatalog(object.payload, own?.trackProperties ?? new Uint8Array(0), object.properties).then(
      ({ tracks }) => {
        if (this.#isClosed || object.location.group !== this.#catalogGroup) return;
        if (own) own.problem = undefined;
        this.#follow(tracks);
      },
      (error: unknown) => {
        if (own) own.problem = error instanceof Error ? error.message : String(error);
        this.#publish();
      },
    );
  }

  #follow(tracks: readonly CatalogTrack[]): void {
    const named = new Set(["catalog", ...tracks.map((track) => track.name)]);
    for (const [name, track] of this.#received) {
      if (named.has(name)) continue;
      track.close();
      this.#received.delete(name);
    }
    for (const track of tracks) {
      const known = this.#received.get(track.name);
      if (known) known.catalog = track;
      else this.#receive(track.name, track);
    }
    this.#publish();
  }

  #publish(): void {
    this.tracks.value = [...this.#received.values()].map((track) => track.state());
  }
}

class ReceivedTrack {
  problem: string | undefined;
  trackProperties: Uint8Array | undefined;
  readonly #meter: Meter;
  readonly #object: ((object: MoqtObject) => void) | undefined;
  #rates: Second = { kbits: 0, objects: 0 };
  #subscription: Subscription | undefined;
  #isClosed = false;

  constructor(
    readonly name: string,
    public catalog: CatalogTrack | undefined,
    now: number,
    object?: (object: MoqtObject) => void,
  ) {
    this.#meter = new Meter(now);
    this.#object = object;
  }

  async subscribe(session: Session, namespace: Namespace): Promise<void> {
    try {
      const handlers = {
        object: (object: MoqtObject) => {
          this.#meter.add(object.payload.length + object.properties.length);
          this.#object?.(object);
        },
        ended: (why: Error) => {
          if (!this.#isClosed) this.problem = why.message;
        },
      };
      const parameters = { rendezvousTimeoutMs: RENDEZVOUS_MS };
      const subscription = await session.subscribe(fullTrackName(namespace, this.name), handlers, parameters);
      if (this.#isClosed) return subscription.cancel();
      this.#subscription = subscription;
      this.trackProperties = subscription.trackProperties;
      // Only the catalog is needed from its start: media is measured, not shown.
      if (this.#object && subscription.largest) await subscription.join(0n);
    } catch (error) {
      if (!this.#isClosed) this.problem = error instanceof Error ? error.message : String(error);
    }
  }

  tick(now: number): void {
    this.#rates = this.#meter.tick(now);
  }

  state(): TrackState {
    return {
      name: this.name,
      catalog: this.catalog,
      rates: this.#rates,
      history: [...this.#meter.history],
      objectsTotal: this.#meter.objectsTotal,
      problem: this.problem,
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#subscription?.cancel();
  }
}
