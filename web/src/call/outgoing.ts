/** One track that we publish, across sessions: its groups count on, what was sent last can be had again. */
import { toWire } from "../media/location";
import { PRIORITIES, type TrackName } from "../media/names";
import { Sent } from "../media/sent";
import { fullTrackName, type MoqtObject, type Namespace, type Publication, Refused, RequestErrorCode, type Session } from "../moqt";
import { utf8 } from "../moqt/vi64";
import { now } from "./clock";
import type { Pacer } from "./pacer";

/** DYNAMIC_GROUPS is 1: a new group may be asked for. */
const DYNAMIC_GROUPS = Uint8Array.of(0x30, 1);
/** A refused PUBLISH is tried again: the seat's last session may not be over yet. */
const RETRY_MS = 500;
const ATTEMPTS_MAX = 10;
/** Rates are those of so long. */
const RATE_MS = 2000;

/** What the track's source must know. */
export interface OutgoingHooks {
  /** Somebody takes the track, or nobody any more. */
  readonly wanted?: (isWanted: boolean) => void;
  /** Somebody cannot go on without a new group. */
  readonly newGroup?: () => void;
  readonly refused?: (reason: string) => void;
}

/** The first group of a (re)publish, for every track name. */
export class Groups {
  readonly #last = new Map<TrackName, number>();

  /** At least the Unix milliseconds of now, and larger than any group before. */
  next(name: TrackName): number {
    return Math.max(Date.now(), (this.#last.get(name) ?? 0) + 1);
  }

  note(name: TrackName, group: number): void {
    this.#last.set(name, Math.max(this.#last.get(name) ?? 0, group));
  }
}

/** Ended with {@link Outgoing.close}. */
export class Outgoing {
  readonly name: TrackName;
  readonly #groups: Groups;
  readonly #hooks: OutgoingHooks;
  readonly #sent = new Sent();
  #publication: Publication | undefined;
  #connection = 0;
  #rates: { readonly at: number; readonly bytes: number }[] = [];
  /** Objects sent as datagrams since the last look. */
  #datagrams = 0;

  constructor(name: TrackName, groups: Groups, hooks: OutgoingHooks = {}) {
    this.name = name;
    this.#groups = groups;
    this.#hooks = hooks;
  }

  /** True while somebody takes it. */
  get isWanted(): boolean {
    return this.#publication?.isWanted ?? false;
  }

  /** Publishes it in this session, and again after a refusal. */
  async connect(session: Session, namespace: Namespace): Promise<void> {
    const connection = ++this.#connection;
    const handlers = {
      forward: (isWanted: boolean) => {
        // The first one comes before `publish` has returned.
        queueMicrotask(() => this.#hooks.wanted?.(isWanted));
      },
      newGroup: () => this.#hooks.newGroup?.(),
      fetch: (start: MoqtObject["location"], end: MoqtObject["location"]) =>
        this.#sent.answer(start, end) ?? RequestErrorCode.invalidRange,
      ended: () => {
        this.#publication = undefined;
        this.#hooks.wanted?.(false);
      },
    };
    for (let attempt = 0; attempt < ATTEMPTS_MAX && connection === this.#connection; attempt++) {
      try {
        const { largest } = this.#sent;
        const parameters = largest ? { largestObject: toWire(largest) } : {};
        const track = fullTrackName(namespace, this.name);
        const publication = await session.publish(track, handlers, DYNAMIC_GROUPS, parameters);
        if (connection !== this.#connection) return publication.end();
        this.#publication = publication;
        return;
      } catch (error) {
        if (!(error instanceof Refused)) return;
        if (attempt + 1 === ATTEMPTS_MAX) this.#hooks.refused?.(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** The session is over. */
  disconnect(): void {
    this.#connection += 1;
    this.#publication = undefined;
  }

  /** Sends objects as datagrams, through the pacer where there is one. */
  send(objects: readonly MoqtObject[], pacer?: Pacer): void {
    const publication = this.#publication;
    if (!publication?.isWanted) return;
    for (const object of objects) {
      this.#note(object);
      this.#datagrams += 1;
      if (pacer) pacer.send(() => publication.sendDatagram(object));
      else publication.sendDatagram(object);
    }
  }

  /** Sends an object on a stream of its own. */
  sendGroup(object: MoqtObject): void {
    if (!this.#publication?.isWanted) return;
    this.#note(object);
    // It fails with the session only, which says so itself.
    this.#publication.sendGroup(object).catch(() => {});
  }

  /** Since the last look: objects sent as datagrams, and those of them that the relay asked for once more. */
  takeLoss(): { readonly sent: number; readonly asked: number } {
    const loss = { sent: this.#datagrams, asked: this.#sent.takeAsked() };
    this.#datagrams = 0;
    return loss;
  }

  kbitPerS(): number {
    const time = now();
    this.#rates = this.#rates.filter(({ at }) => time - at <= RATE_MS);
    const bytes = this.#rates.reduce((sum, { bytes }) => sum + bytes, 0);
    return (bytes * 8) / RATE_MS;
  }

  /** Tells the relay that no more comes. */
  close(): void {
    this.#connection += 1;
    this.#publication?.end();
    this.#publication = undefined;
  }

  #note(object: MoqtObject): void {
    this.#groups.note(this.name, Number(object.location.group));
    this.#sent.push(now(), object);
    this.#rates.push({ at: now(), bytes: object.payload.length + object.properties.length });
  }
}

/** A JSON track of ours: one snapshot, sent whenever it changes and whenever somebody begins to listen. */
export class OutgoingJson {
  readonly #outgoing: Outgoing;
  readonly #groups: Groups;
  #json: string | undefined;

  constructor(name: TrackName, groups: Groups) {
    this.#groups = groups;
    this.#outgoing = new Outgoing(name, groups, { wanted: (isWanted) => isWanted && this.#send() });
  }

  connect(session: Session, namespace: Namespace): Promise<void> {
    return this.#outgoing.connect(session, namespace);
  }

  disconnect(): void {
    this.#outgoing.disconnect();
  }

  /** The snapshot from now on. */
  set(json: string): void {
    if (json === this.#json) return;
    this.#json = json;
    if (this.#outgoing.isWanted) this.#send();
  }

  close(): void {
    this.#outgoing.close();
  }

  #send(): void {
    if (this.#json === undefined) return;
    const { name } = this.#outgoing;
    this.#outgoing.sendGroup({
      location: toWire({ group: this.#groups.next(name), object: 0 }),
      priority: PRIORITIES[name].base,
      subgroup: 0n,
      status: "normal",
      endsGroup: true,
      properties: new Uint8Array(0),
      payload: utf8(this.#json),
    });
  }
}
