/** The other end of a session, in memory: a test plays the relay by hand. */
import { ByteStream } from "../../src/moqt/byte_stream";
import { encodeMessage, type Message } from "../../src/moqt/message";
import { readMessage } from "../../src/moqt/request";
import type { BidirectionalStream, Carrier } from "../../src/moqt/session";

type Bytes = Uint8Array<ArrayBufferLike>;

class Inbox<T> {
  readonly #waiting: ((value: T) => void)[] = [];
  readonly #values: T[] = [];

  put(value: T): void {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(value);
    else this.#values.push(value);
  }

  take(): Promise<T> {
    const value = this.#values.shift();
    return value === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(value);
  }
}

/** A request's stream as the relay sees it. */
export class RelayRequest {
  readonly #incoming: ByteStream;
  readonly #writer: WritableStreamDefaultWriter<Bytes>;
  #isFirst = true;

  constructor(stream: BidirectionalStream) {
    this.#incoming = new ByteStream(stream.readable);
    this.#writer = stream.writable.getWriter();
  }

  receive(): Promise<Message | undefined> {
    const context = this.#isFirst ? "first" : "request";
    this.#isFirst = false;
    return readMessage(this.#incoming, context);
  }

  async answer(message: Message): Promise<void> {
    await this.#writer.write(encodeMessage(message));
  }

  async finish(): Promise<void> {
    await this.#writer.close();
  }
}

/** A carrier for a session, and the handles to play the relay with. */
export class FakeRelay {
  readonly requests = new Inbox<RelayRequest>();
  readonly streams = new Inbox<ReadableStream<Bytes>>();
  /** Datagrams of the session. */
  readonly datagramsOut: Bytes[] = [];
  readonly carrier: Carrier;
  closedWith: { closeCode: number; reason: string } | undefined;
  #datagrams!: ReadableStreamDefaultController<Bytes>;
  #unis!: ReadableStreamDefaultController<ReadableStream<Bytes>>;
  #bidis!: ReadableStreamDefaultController<BidirectionalStream>;
  #end!: (info: { closeCode?: number; reason?: string }) => void;

  constructor() {
    const datagrams = new ReadableStream<Bytes>({ start: (controller) => void (this.#datagrams = controller) });
    this.carrier = {
      closed: new Promise((resolve) => (this.#end = resolve)),
      datagrams: {
        readable: datagrams,
        writable: new WritableStream<Bytes>({ write: (bytes) => void this.datagramsOut.push(bytes) }),
      },
      incomingUnidirectionalStreams: new ReadableStream({ start: (controller) => void (this.#unis = controller) }),
      incomingBidirectionalStreams: new ReadableStream({ start: (controller) => void (this.#bidis = controller) }),
      createUnidirectionalStream: async () => {
        const { readable, writable } = new TransformStream<Bytes, Bytes>();
        this.streams.put(readable);
        return writable;
      },
      createBidirectionalStream: async () => {
        const there = new TransformStream<Bytes, Bytes>();
        const back = new TransformStream<Bytes, Bytes>();
        this.requests.put(new RelayRequest({ readable: there.readable, writable: back.writable }));
        return { readable: back.readable, writable: there.writable };
      },
      close: (info) => {
        this.closedWith = info;
        this.#end(info);
      },
    };
  }

  datagram(bytes: Bytes): void {
    this.#datagrams.enqueue(bytes);
  }

  /** Opens a stream with these bytes; it ends after them unless `isOpen`. */
  stream(bytes: Bytes, isOpen = false): void {
    this.#unis.enqueue(
      new ReadableStream({
        start: (controller) => {
          controller.enqueue(bytes);
          if (!isOpen) controller.close();
        },
      }),
    );
  }

  /** A request of the relay; resolves with the session's first answer. */
  async ask(message: Message): Promise<Message | undefined> {
    const there = new TransformStream<Bytes, Bytes>();
    const back = new TransformStream<Bytes, Bytes>();
    this.#bidis.enqueue({ readable: there.readable, writable: back.writable });
    await there.writable.getWriter().write(encodeMessage(message));
    return readMessage(new ByteStream(back.readable), "request");
  }

  /** The relay's SETUP on its control stream. */
  setup(): void {
    this.stream(encodeMessage({ type: "setup", setup: {} }), true);
  }

  close(closeCode: number, reason: string): void {
    this.#end({ closeCode, reason });
  }
}

/** Bytes of hex, blanks ignored. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text.replaceAll(/\s/g, "").match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Hex of bytes. */
export function toHex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
