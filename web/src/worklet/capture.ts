/** Hands a microphone's samples to the worker, ten milliseconds at a time. Runs on the audio thread. */
import type { CapturedSound } from "../call/protocol";
import { SAMPLE_RATE } from "../media/jitter";

const CHUNK = SAMPLE_RATE / 100;

class Capture extends AudioWorkletProcessor {
  readonly #channels: number;
  #chunk: Float32Array<ArrayBuffer>[];
  #filled = 0;
  #port: MessagePort | undefined;
  #isOver = false;

  constructor(options: AudioWorkletNodeOptions) {
    super();
    this.#channels = (options.processorOptions as { channels: number }).channels;
    this.#chunk = this.#empty();
    this.port.onmessage = (event: MessageEvent<MessagePort | undefined>) => {
      this.#port?.close();
      this.#port = event.data;
      this.#isOver = event.data === undefined;
    };
  }

  #empty(): Float32Array<ArrayBuffer>[] {
    return Array.from({ length: this.#channels }, () => new Float32Array(CHUNK));
  }

  override process(inputs: Float32Array[][]): boolean {
    const input = inputs[0] ?? [];
    const length = input[0]?.length ?? 0;
    for (let from = 0; from < length; ) {
      const count = Math.min(length - from, CHUNK - this.#filled);
      this.#chunk.forEach((channel, c) => {
        const samples = input[Math.min(c, input.length - 1)];
        if (samples) channel.set(samples.subarray(from, from + count), this.#filled);
      });
      this.#filled += count;
      from += count;
      if (this.#filled < CHUNK) continue;
      const sound: CapturedSound = { frame: currentFrame + from - CHUNK, channels: this.#chunk };
      this.#port?.postMessage(sound, this.#chunk.map((channel) => channel.buffer));
      this.#chunk = this.#empty();
      this.#filled = 0;
    }
    return !this.#isOver;
  }
}

registerProcessor("capture", Capture);
