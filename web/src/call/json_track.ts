/** A JSON track being received: every message is one group with one object; only the newest is true. */
import { fromWire } from "../media/location";
import { Ended, type FullTrackName, type MoqtObject, Refused, type Session, type Subscription } from "../moqt";

const RENDEZVOUS_MS = 10_000n;
const RETRY_MS = 250;
const RETRY_MAX_MS = 8000;

/** Ended with {@link JsonTrack.close}. */
export class JsonTrack {
  readonly #session: Session;
  readonly #track: FullTrackName;
  readonly #message: (object: MoqtObject, trackProperties: Uint8Array) => void;
  #subscription: Subscription | undefined;
  #trackProperties: Uint8Array = new Uint8Array(0);
  #group = -1;
  #isClosed = false;

  /** `message` gets every snapshot that is newer than the last one. */
  constructor(session: Session, track: FullTrackName, message: (object: MoqtObject, trackProperties: Uint8Array) => void) {
    this.#session = session;
    this.#track = track;
    this.#message = message;
    void this.#run();
  }

  close(): void {
    this.#isClosed = true;
    this.#subscription?.cancel();
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#isClosed; attempt++) {
      try {
        await this.#subscribe();
        attempt = 0;
      } catch (error) {
        if (error instanceof Ended || !(error instanceof Refused)) return;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(RETRY_MS * 2 ** attempt, RETRY_MAX_MS)));
    }
  }

  async #subscribe(): Promise<void> {
    let over: () => void = () => {};
    const ended = new Promise<void>((resolve) => (over = resolve));
    const handlers = { object: (object: MoqtObject) => this.#object(object), ended: () => over() };
    const parameters = { rendezvousTimeoutMs: RENDEZVOUS_MS };
    const subscription = await this.#session.subscribe(this.#track, handlers, parameters);
    if (this.#isClosed) return subscription.cancel();
    this.#subscription = subscription;
    this.#trackProperties = subscription.trackProperties;
    if (subscription.largest) {
      await subscription.join(0n).catch((error: unknown) => {
        // The next snapshot comes by itself.
        if (!(error instanceof Refused)) throw error;
      });
    }
    await ended;
  }

  #object(object: MoqtObject): void {
    const group = fromWire(object.location)?.group;
    if (this.#isClosed || object.status !== "normal" || group === undefined || group <= this.#group) return;
    this.#group = group;
    this.#message(object, this.#trackProperties);
  }
}
