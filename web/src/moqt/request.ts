/** A request's stream: one message out, answers in; cancelling is resetting it (draft 3.3.2). */
import { ByteStream, resetReason } from "./byte_stream";
import { StreamResetCode, Violation } from "./error";
import { type Context, decodeMessage, encodeMessage, type Message } from "./message";

/** Reads the next message of a control or request stream; `undefined` at its end. */
export async function readMessage(stream: ByteStream, context: Context): Promise<Message | undefined> {
  if (await stream.isAtEnd()) return undefined;
  const type = await stream.vi64();
  const length = ((await stream.byte()) << 8) | (await stream.byte());
  return decodeMessage(type, await stream.bytes(length), context);
}

/** Both directions of a request. */
export class RequestStream {
  readonly #incoming: ByteStream;
  readonly #outgoing: WritableStreamDefaultWriter<Uint8Array>;
  #expected: Context;

  /** `first`: the peer has opened it. */
  constructor(stream: { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> }, expected: Context = "request") {
    this.#expected = expected;
    this.#incoming = new ByteStream(stream.readable);
    this.#outgoing = stream.writable.getWriter();
  }

  async send(message: Message): Promise<void> {
    await this.#outgoing.write(encodeMessage(message));
  }

  /** The next message, `undefined` when the peer has finished or reset the stream. */
  async receive(): Promise<Message | undefined> {
    try {
      const message = await readMessage(this.#incoming, this.#expected);
      this.#expected = "request";
      return message;
    } catch (error) {
      if (error instanceof Violation) throw error;
      return undefined;
    }
  }

  /** No more from us. */
  finish(): void {
    this.#outgoing.close().catch(() => {});
  }

  /** Ends both directions; the peer is told if it still listens. */
  cancel(): void {
    this.#outgoing.abort(resetReason(StreamResetCode.cancelled)).catch(() => {});
    this.#incoming.cancel(StreamResetCode.cancelled);
  }
}
