/**
 * One MoQT session of a client over WebTransport, draft-18: subscribes to namespaces and tracks, fetches their past, and
 * publishes. Objects are handed over synchronously as they come; nothing is queued here but what waits for its alias.
 */
import { Aliases, WAITING_MS_MAX } from "./aliases";
import { ByteStream } from "./byte_stream";
import { Ended, Refused, RequestErrorCode, SessionErrorCode, StreamResetCode, Violation } from "./error";
import { readKeyValuePairs } from "./key_value";
import { decodeMessage, encodeMessage, type Message, SETUP_TYPE, type Setup } from "./message";
import { type FullTrackName, type Namespace, namespaceKey, trackKey } from "./name";
import {
  decodeDatagram,
  type FetchItem,
  isSubgroupType,
  type MoqtObject,
  readFetchItems,
  readSubgroupHeader,
  readSubgroupObjects,
  writeFetchItems,
} from "./object";
import type { Location, Parameters } from "./parameters";
import { type FetchAnswer, Publication, type PublicationHandlers } from "./publication";
import { readMessage, RequestStream } from "./request";
import { utf8, Writer } from "./vi64";

/** The version spoken, as WebTransport's sub-protocol. */
export const PROTOCOL = "moqt-18";

/** What a session needs of a `WebTransport`; tests have one of their own. */
export interface Carrier {
  readonly closed: Promise<{ closeCode?: number; reason?: string }>;
  readonly datagrams: {
    readonly readable: ReadableStream<Uint8Array>;
    readonly writable?: WritableStream<Uint8Array>;
    /** Newer browsers, instead of `writable`. */
    readonly createWritable?: () => WritableStream<Uint8Array>;
  };
  readonly incomingUnidirectionalStreams: ReadableStream<ReadableStream<Uint8Array>>;
  readonly incomingBidirectionalStreams: ReadableStream<BidirectionalStream>;
  createUnidirectionalStream(): Promise<WritableStream<Uint8Array>>;
  createBidirectionalStream(): Promise<BidirectionalStream>;
  close(info: { closeCode: number; reason: string }): void;
}

/** Both directions of a stream. */
export interface BidirectionalStream {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/** How a session ended. */
export interface SessionEnd {
  /** The draft's code; `undefined` when the connection was lost. */
  readonly code: bigint | undefined;
  /** For people, may be empty. */
  readonly reason: string;
  /** True when we ended it. */
  readonly byUs: boolean;
}

/** Settings of a session. Times are milliseconds. */
export interface SessionConfig {
  readonly setup?: Setup;
  /** The peer's SETUP must have come by then. */
  readonly setupTimeoutMs?: number;
  /** Largest object taken from a stream, bytes. */
  readonly objectBytesMax?: number;
  /** A clock that does not jump. */
  readonly now?: () => number;
}

/** What happens to namespaces under a prefix. */
export interface NamespaceHandlers {
  readonly appeared: (namespace: Namespace) => void;
  readonly disappeared: (namespace: Namespace) => void;
  /** The peer ended the request; every namespace has disappeared before. */
  readonly ended?: () => void;
}

/** What happens on a track. */
export interface SubscriptionHandlers {
  /** An object, from a datagram, a stream, or (with `join`) a FETCH; may come twice. */
  readonly object: (object: MoqtObject) => void;
  /** No more will come. */
  readonly ended?: (why: Ended) => void;
}

/** A request that runs until it is cancelled or the peer ends it. */
export interface Running {
  cancel(): void;
}

/** How a FETCH ended. */
export interface FetchEnd {
  /** How far the answer reaches, in the wire's form: object plus one, or 0 for the whole group. */
  readonly end: Location;
  /** False when the stream broke before its end. */
  readonly isWhole: boolean;
}

/** A track being received. */
export interface Subscription extends Running {
  readonly track: FullTrackName;
  /** Largest location at the moment of subscribing, if the track had objects. */
  readonly largest: Location | undefined;
  /** Of the track, Key-Value-Pairs. */
  readonly trackProperties: Uint8Array;
  /** True when the publisher begins a new group on request (DYNAMIC_GROUPS); else none may be asked for. */
  readonly hasDynamicGroups: boolean;
  /**
   * Fetches from `groupsBack` groups before the largest up to where the subscription begins (draft 10.12.2). Without
   * `item`, objects come through the subscription's own handler.
   */
  join(groupsBack: bigint, item?: (item: FetchItem) => void): Promise<FetchEnd>;
  /** Changes what is wanted (REQUEST_UPDATE); parameters left out stay as they are. */
  update(parameters: Parameters): void;
}

interface Offer {
  readonly track: FullTrackName;
  readonly alias: bigint;
  readonly handlers: PublicationHandlers;
  readonly trackProperties: Uint8Array;
  publication?: Publication;
}

interface Track {
  readonly requestId: bigint;
  readonly handlers: SubscriptionHandlers;
}

/** Milliseconds a subgroup stream waits for its alias. */
const STREAM_ALIAS_WAIT_MS = 2000;
/** A SUBSCRIBE that made the relay refuse our PUBLISH is here by then. */
const ASKED_FOR_WAIT_MS = 500;

/** A session, from its SETUP to its end. */
export class Session {
  readonly #carrier: Carrier;
  readonly #config: Required<SessionConfig>;
  readonly #aliases = new Aliases<Track>();
  readonly #fetches = new Map<bigint, (item: FetchItem) => void>();
  readonly #fetchEnds = new Map<bigint, (isWhole: boolean) => void>();
  readonly #running = new Set<RequestStream>();
  /** What we publish, or are about to. */
  readonly #offers = new Map<string, Offer>();
  #datagrams: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #nextRequestId = 0n;
  #nextAlias = 1n;
  #isGoingAway = false;
  #end: SessionEnd | undefined;
  #setupArrived: () => void = () => {};
  #closed: (end: SessionEnd) => void = () => {};

  /** Resolves when the peer's SETUP has come; requests may be made before. */
  readonly ready: Promise<void>;
  /** Resolves when the session is over, for whatever reason. */
  readonly closed: Promise<SessionEnd>;
  /** Called when the peer says that it is leaving. */
  onGoAway: ((uri: string) => void) | undefined;

  constructor(carrier: Carrier, config: SessionConfig = {}) {
    this.#carrier = carrier;
    this.#config = {
      setup: { implementation: utf8("roundtable-web") },
      setupTimeoutMs: 5000,
      objectBytesMax: 16 * 1024 * 1024,
      now: () => performance.now(),
      ...config,
    };
    this.closed = new Promise((resolve) => (this.#closed = resolve));
    this.ready = new Promise((resolve, reject) => {
      this.#setupArrived = resolve;
      void this.closed.then((end) => reject(new Ended(end.reason)));
    });
    // Whoever does not wait for it need not handle its failure.
    this.ready.catch(() => {});
    this.#start();
  }

  /** Datagrams dropped because nobody established their alias in time. */
  get datagramsDropped(): number {
    return this.#aliases.dropped;
  }

  /** Asks for the namespaces under a prefix, now and later. Resolves when the peer has agreed. */
  async subscribeNamespace(prefix: Namespace, handlers: NamespaceHandlers): Promise<Running> {
    const requestId = this.#requestId();
    const stream = await this.#request({ type: "subscribeNamespace", requestId, namespace: prefix, parameters: {} });
    await this.#answer(stream, "requestOk");
    this.#watch(stream, () => this.#readNamespaces(stream, prefix, handlers));
    return this.#runningRequest(stream);
  }

  /** Asks for a track. Resolves when the peer has agreed; objects may come before. */
  async subscribe(
    track: FullTrackName,
    handlers: SubscriptionHandlers,
    parameters: Parameters = {},
  ): Promise<Subscription> {
    const requestId = this.#requestId();
    const stream = await this.#request({ type: "subscribe", requestId, track, parameters });
    const answer = await this.#answer(stream, "subscribeOk");
    const { alias } = answer;
    const wanted: Track = { requestId, handlers };
    const waited = await this.#obey(() => this.#aliases.establish(alias, wanted, this.#config.now()));
    for (const object of waited) handlers.object(object);
    this.#watch(stream, async () => {
      const why = await this.#readSubscription(stream);
      // Objects may still be on their way: the last ones are not to be lost.
      setTimeout(() => {
        this.#aliases.end(alias);
        handlers.ended?.(why);
      }, WAITING_MS_MAX);
    });
    return {
      track,
      largest: answer.parameters.largestObject,
      trackProperties: answer.trackProperties,
      hasDynamicGroups: readKeyValuePairs(answer.trackProperties).some(({ type, value }) => type === 0x30n && value === 1n),
      join: (groupsBack, item) => {
        const own = (item: FetchItem) => {
          if (item.type === "object") handlers.object(item.object);
        };
        return this.#fetch({ type: "relativeJoining", subscription: requestId, groupsBack }, item ?? own, {});
      },
      update: (parameters) => {
        // Its failure is that of the stream, which whoever reads it learns as well.
        stream.send({ type: "requestUpdate", requestId: this.#requestId(), parameters }).catch(() => {});
      },
      cancel: () => {
        this.#aliases.end(alias);
        this.#runningRequest(stream).cancel();
      },
    };
  }

  /** Fetches a range of the past. Resolves when all of it has been handed over. */
  fetch(
    track: FullTrackName,
    start: Location,
    end: Location,
    item: (item: FetchItem) => void,
    parameters: Parameters = {},
  ): Promise<FetchEnd> {
    return this.#fetch({ type: "standalone", track, start, end }, item, parameters);
  }

  /** Announces a namespace of ours. Resolves when the relay has agreed. */
  async publishNamespace(namespace: Namespace): Promise<Running> {
    const requestId = this.#requestId();
    const stream = await this.#request({ type: "publishNamespace", requestId, namespace, parameters: {} });
    await this.#answer(stream, "requestOk");
    this.#watch(stream, async () => {
      while (await stream.receive());
    });
    return this.#runningRequest(stream);
  }

  /**
   * Publishes a track. Resolves when the relay has agreed; or when it has asked for the track by itself, which it does when
   * somebody waits for it already. `trackProperties` are Key-Value-Pairs.
   */
  async publish(
    track: FullTrackName,
    handlers: PublicationHandlers,
    trackProperties: Uint8Array = new Uint8Array(0),
    parameters: Parameters = {},
  ): Promise<Publication> {
    const requestId = this.#requestId();
    const alias = this.#nextAlias;
    this.#nextAlias += 1n;
    const key = trackKey(track);
    const offer: Offer = { track, alias, handlers, trackProperties };
    this.#offers.set(key, offer);
    try {
      const stream = await this.#request({ type: "publish", requestId, track, alias, parameters, trackProperties });
      const answer = await this.#answer(stream, "requestOk");
      return this.#established(offer, stream, answer.parameters);
    } catch (error) {
      const isAskedFor = error instanceof Refused && error.code === RequestErrorCode.duplicateSubscription;
      if (isAskedFor && (await this.#askedFor(offer)) && offer.publication) return offer.publication;
      if (this.#offers.get(key) === offer) this.#offers.delete(key);
      throw error;
    }
  }

  /** Ends the session. */
  close(code: bigint = SessionErrorCode.noError, reason = ""): void {
    if (this.#end) return;
    try {
      this.#carrier.close({ closeCode: Number(code), reason: reason.slice(0, 1024) });
    } catch {
      // Closed already, or never opened.
    }
    this.#finish({ code, reason, byUs: true });
  }

  // ---- the session's own tasks

  #start(): void {
    const timer = setTimeout(
      () => this.close(SessionErrorCode.controlMessageTimeout, "the relay did not answer in time"),
      this.#config.setupTimeoutMs,
    );
    void this.closed.then(() => clearTimeout(timer));
    void this.ready.then(() => clearTimeout(timer)).catch(() => {});
    this.#carrier.closed.then(
      ({ closeCode, reason }) => this.#finish({ code: BigInt(closeCode ?? 0), reason: reason ?? "", byUs: false }),
      (error: unknown) => this.#finish({ code: undefined, reason: String(error), byUs: false }),
    );
    this.#task(this.#openControl());
    this.#task(this.#readDatagrams());
    this.#task(this.#acceptStreams(this.#carrier.incomingUnidirectionalStreams, (s) => this.#readUniStream(s)));
    this.#task(this.#acceptStreams(this.#carrier.incomingBidirectionalStreams, (s) => this.#serveRequest(s)));
  }

  /** A violation ends the session; what fails because a stream or the session is gone ends only the task. */
  #task(task: Promise<void>): void {
    task.catch((error: unknown) => {
      if (error instanceof Violation) this.close(error.code, error.message);
    });
  }

  #finish(end: SessionEnd): void {
    if (this.#end) return;
    this.#end = end;
    for (const stream of this.#running) stream.cancel();
    this.#running.clear();
    this.#closed(end);
  }

  async #openControl(): Promise<void> {
    const writer = (await this.#carrier.createUnidirectionalStream()).getWriter();
    // Never closed while the session lasts: that would be a violation.
    await writer.write(encodeMessage({ type: "setup", setup: this.#config.setup }));
  }

  async #readDatagrams(): Promise<void> {
    const reader = this.#carrier.datagrams.readable.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const datagram = decodeDatagram(value);
      if (!datagram) continue;
      const track = this.#aliases.get(datagram.alias);
      if (track) track.handlers.object(datagram.object);
      else this.#aliases.wait(datagram.alias, datagram.object, this.#config.now());
    }
  }

  async #acceptStreams<S>(streams: ReadableStream<S>, handle: (stream: S) => Promise<void>): Promise<void> {
    const reader = streams.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      this.#task(handle(value));
    }
  }

  async #readUniStream(readable: ReadableStream<Uint8Array>): Promise<void> {
    const stream = new ByteStream(readable);
    if (await stream.isAtEnd()) return;
    const type = await stream.vi64();
    if (type === SETUP_TYPE) return this.#readControl(stream);
    if (type === 0x05n) return this.#readFetch(stream);
    if (type === 0x132b3e28n) return stream.cancel(StreamResetCode.cancelled);
    if (!isSubgroupType(type)) throw new Violation("a stream of unknown type");
    const header = await readSubgroupHeader(type, stream);
    const track = await this.#trackOf(header.alias);
    if (!track) return stream.cancel(StreamResetCode.cancelled);
    for await (const object of readSubgroupObjects(header, stream, this.#config.objectBytesMax)) {
      if (this.#aliases.get(header.alias) !== track) return stream.cancel(StreamResetCode.cancelled);
      track.handlers.object(object);
    }
  }

  async #readControl(stream: ByteStream): Promise<void> {
    // The stream's type was the first message's type as well.
    const length = ((await stream.byte()) << 8) | (await stream.byte());
    decodeMessage(SETUP_TYPE, await stream.bytes(length), "control");
    this.#setupArrived();
    for (;;) {
      const message = await readMessage(stream, "control");
      if (!message) throw new Violation("the relay closed its control stream");
      if (message.type !== "goAway") throw new Violation(`${message.type} does not belong on a control stream`);
      if (this.#isGoingAway) throw new Violation("a second GOAWAY");
      this.#isGoingAway = true;
      this.onGoAway?.(new TextDecoder().decode(message.uri));
    }
  }

  async #readFetch(stream: ByteStream): Promise<void> {
    const requestId = await stream.vi64();
    const handler = this.#fetches.get(requestId);
    if (!handler) return stream.cancel(StreamResetCode.cancelled);
    let isWhole = false;
    try {
      for await (const item of readFetchItems("ascending", stream, this.#config.objectBytesMax)) handler(item);
      isWhole = true;
    } finally {
      this.#fetchEnded(requestId, isWhole);
    }
  }

  /** Streams overtake SUBSCRIBE_OK as well. Not reading on is all the waiting costs: QUIC holds the rest back. */
  async #trackOf(alias: bigint): Promise<Track | undefined> {
    const deadline = this.#config.now() + STREAM_ALIAS_WAIT_MS;
    for (;;) {
      const track = this.#aliases.get(alias);
      if (track || this.#aliases.hasEnded(alias) || this.#end || this.#config.now() >= deadline) return track;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  // ---- requests of the relay

  async #serveRequest(stream: BidirectionalStream): Promise<void> {
    const request = new RequestStream(stream, "first");
    const message = await request.receive();
    if (!message) return request.finish();
    switch (message.type) {
      case "fetch":
        return this.#serveFetch(request, message);
      case "subscribe":
        return this.#serveSubscribe(request, message);
      default:
        await request.send({ type: "requestError", code: RequestErrorCode.notSupported, reason: "" });
        return request.finish();
    }
  }

  async #serveFetch(request: RequestStream, message: Message & { type: "fetch" }): Promise<void> {
    const answer = this.#fetchAnswer(message);
    if (typeof answer === "bigint") {
      await request.send({ type: "requestError", code: answer, reason: "" });
      return request.finish();
    }
    const { end, items } = answer;
    const nothing = new Uint8Array(0);
    await request.send({ type: "fetchOk", endOfTrack: false, end, parameters: {}, trackProperties: nothing });
    request.finish();
    const writer = new Writer().vi64(5).vi64(message.requestId);
    writeFetchItems(writer, items);
    await this.#sendStream(writer.finish());
  }

  /** The relay asks for a track before our PUBLISH of it has got there. */
  async #serveSubscribe(request: RequestStream, { track, parameters }: Message & { track: FullTrackName; parameters: Parameters }): Promise<void> {
    const offer = this.#offers.get(trackKey(track));
    if (!offer || offer.publication) {
      const code = offer ? RequestErrorCode.duplicateSubscription : RequestErrorCode.doesNotExist;
      await request.send({ type: "requestError", code, reason: "" });
      return request.finish();
    }
    const { alias, trackProperties } = offer;
    this.#running.add(request);
    await request.send({ type: "subscribeOk", alias, parameters: {}, trackProperties });
    this.#established(offer, request, parameters);
  }

  #fetchAnswer({ range }: Message & { type: "fetch" }): FetchAnswer | bigint {
    if (range.type !== "standalone") return RequestErrorCode.notSupported;
    const publication = this.#offers.get(trackKey(range.track))?.publication;
    if (!publication) return RequestErrorCode.doesNotExist;
    return publication.handlers.fetch?.(range.start, range.end) ?? RequestErrorCode.notSupported;
  }

  /** Both sides have agreed on a track of ours. */
  #established(offer: Offer, stream: RequestStream, parameters: Parameters): Publication {
    const key = trackKey(offer.track);
    const isCurrent = () => this.#offers.get(key) === offer;
    const end = (reason = "") => {
      if (!isCurrent()) return;
      this.#offers.delete(key);
      // TRACK_ENDED; fails only when the stream is gone.
      stream.send({ type: "publishDone", code: 0x2n, streamCount: publication.streamCount, reason }).catch(() => {});
      stream.finish();
      this.#running.delete(stream);
    };
    const outlet = {
      datagram: (bytes: Uint8Array<ArrayBuffer>) => this.#sendDatagram(bytes),
      stream: (bytes: Uint8Array<ArrayBuffer>) => this.#sendStream(bytes),
    };
    const publication = new Publication(offer.track, offer.alias, offer.handlers, outlet, end);
    offer.publication = publication;
    this.#watch(stream, async () => {
      const reason = await this.#readPublication(stream, publication);
      if (!isCurrent()) return;
      this.#offers.delete(key);
      offer.handlers.ended?.(reason);
    });
    publication.update(parameters.forward ?? true, parameters.newGroupRequest);
    return publication;
  }

  async #askedFor(offer: Offer): Promise<boolean> {
    const deadline = this.#config.now() + ASKED_FOR_WAIT_MS;
    while (!offer.publication && !this.#end && this.#config.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return offer.publication !== undefined;
  }

  /** Follows what the relay says about a track of ours; returns why it ended. */
  async #readPublication(stream: RequestStream, publication: Publication): Promise<string> {
    for (let message = await stream.receive(); message; message = await stream.receive()) {
      if (message.type === "requestUpdate") {
        const { forward, newGroupRequest } = message.parameters;
        await stream.send({ type: "requestOk", parameters: {}, trackProperties: new Uint8Array(0) });
        publication.update(forward, newGroupRequest);
      } else if (message.type === "requestError") {
        return message.reason;
      } else if (message.type !== "requestOk" && message.type !== "goAway") {
        throw new Violation(`${message.type} does not belong to a publication`);
      }
    }
    return "the relay ended the track";
  }

  // ---- what leaves

  /** Not awaited: what the browser cannot send it drops by itself, and says nothing. */
  #sendDatagram(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#end) return;
    const { datagrams } = this.#carrier;
    this.#datagrams ??= (datagrams.createWritable?.() ?? datagrams.writable)?.getWriter();
    this.#datagrams?.write(bytes).catch(() => {});
  }

  async #sendStream(bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    if (this.#end) throw new Ended(this.#end.reason);
    const writer = (await this.#carrier.createUnidirectionalStream()).getWriter();
    await writer.write(bytes);
    await writer.close();
  }

  // ---- requests of ours

  #requestId(): bigint {
    const requestId = this.#nextRequestId;
    this.#nextRequestId += 2n;
    return requestId;
  }

  async #request(message: Message): Promise<RequestStream> {
    if (this.#end) throw new Ended(this.#end.reason);
    if (this.#isGoingAway) throw new Ended("the relay is going away");
    const stream = new RequestStream(await this.#carrier.createBidirectionalStream());
    this.#running.add(stream);
    await stream.send(message);
    return stream;
  }

  /** The first message in answer to a request. */
  async #answer<T extends Message["type"]>(stream: RequestStream, type: T): Promise<Message & { type: T }> {
    const message = await this.#obey(() => stream.receive());
    if (message?.type === type) return message as Message & { type: T };
    this.#running.delete(stream);
    stream.finish();
    if (!message) throw new Ended("the relay ended the request without an answer");
    if (message.type === "requestError") throw new Refused(message.code, message.reason, message.retryAfterMs);
    return this.#obey(() => {
      throw new Violation(`${message.type} where ${type} was due`);
    });
  }

  /** A violation met on behalf of a caller ends the session as well. */
  async #obey<T>(call: () => T | Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (error instanceof Violation) this.close(error.code, error.message);
      throw error;
    }
  }

  #runningRequest(stream: RequestStream): Running {
    return {
      cancel: () => {
        if (this.#running.delete(stream)) stream.cancel();
      },
    };
  }

  #watch(stream: RequestStream, read: () => Promise<void>): void {
    this.#task(read().finally(() => this.#running.delete(stream)));
  }

  async #readNamespaces(stream: RequestStream, prefix: Namespace, handlers: NamespaceHandlers): Promise<void> {
    const known = new Map<string, Namespace>();
    for (let message = await stream.receive(); message; message = await stream.receive()) {
      if (message.type !== "namespace" && message.type !== "namespaceDone") {
        throw new Violation(`${message.type} does not answer SUBSCRIBE_NAMESPACE`);
      }
      const namespace = [...prefix, ...message.suffix];
      const key = namespaceKey(namespace);
      if (message.type === "namespace") {
        known.set(key, namespace);
        handlers.appeared(namespace);
      } else if (known.delete(key)) {
        handlers.disappeared(namespace);
      } else {
        throw new Violation("NAMESPACE_DONE before NAMESPACE");
      }
    }
    for (const namespace of known.values()) handlers.disappeared(namespace);
    handlers.ended?.();
  }

  async #readSubscription(stream: RequestStream): Promise<Ended> {
    for (;;) {
      const message = await stream.receive();
      if (!message) return new Ended("the relay ended the subscription");
      if (message.type === "publishDone") {
        stream.finish();
        return new Ended(message.reason === "" ? "the track has ended" : message.reason);
      }
      if (message.type !== "requestOk" && message.type !== "requestError" && message.type !== "goAway") {
        throw new Violation(`${message.type} does not belong to a subscription`);
      }
    }
  }

  async #fetch(
    range: (Message & { type: "fetch" })["range"],
    item: (item: FetchItem) => void,
    parameters: Parameters,
  ): Promise<FetchEnd> {
    const requestId = this.#requestId();
    const ended = new Promise<boolean>((resolve) => this.#fetchEnds.set(requestId, resolve));
    this.#fetches.set(requestId, item);
    try {
      const stream = await this.#request({ type: "fetch", requestId, range, parameters });
      const { end } = await this.#answer(stream, "fetchOk");
      const isWhole = await Promise.race([ended, this.closed.then(() => false)]);
      this.#running.delete(stream);
      stream.finish();
      return { end, isWhole };
    } finally {
      this.#fetchEnded(requestId, false);
    }
  }

  #fetchEnded(requestId: bigint, isWhole: boolean): void {
    this.#fetches.delete(requestId);
    this.#fetchEnds.get(requestId)?.(isWhole);
    this.#fetchEnds.delete(requestId);
  }
}
