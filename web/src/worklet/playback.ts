/** Plays what the worker decodes: one jitter buffer for each source of sound, mixed. Runs on the audio thread. */
import type { PlaybackCommand, PlaybackReport } from "../call/protocol";
import { JitterBuffer, SAMPLE_RATE } from "../media/jitter";

/** Channels of a source, mono or stereo. */
const CHANNELS = 2;
const REPORT_EVERY = SAMPLE_RATE / 20;
/** A volume is reached over this many samples, so that nothing clicks. */
const VOLUME_RAMP = SAMPLE_RATE / 50;

interface Source {
  readonly buffer: JitterBuffer;
  volume: number;
  wanted: number;
}

class Playback extends AudioWorkletProcessor {
  readonly #sources = new Map<string, Source>();
  readonly #block = [new Float32Array(128), new Float32Array(128)];
  #port: MessagePort | undefined;
  #reportLeft = REPORT_EVERY;

  constructor() {
    super();
    this.port.onmessage = (event: MessageEvent<MessagePort>) => {
      this.#port?.close();
      this.#port = event.data;
      this.#port.onmessage = ({ data }: MessageEvent<PlaybackCommand>) => this.#obey(data);
    };
  }

  #obey(command: PlaybackCommand): void {
    if (command.type === "end") {
      this.#sources.delete(command.source);
      return;
    }
    const source = this.#source(command.source);
    switch (command.type) {
      case "sound":
        source.buffer.push(command.at, command.channels, command.latenessMs);
        return;
      case "target":
        source.buffer.setTarget(command.delayMs);
        return;
      case "volume":
        source.wanted = command.volume;
    }
  }

  #source(name: string): Source {
    const known = this.#sources.get(name);
    if (known) return known;
    const source = { buffer: new JitterBuffer(CHANNELS), volume: 1, wanted: 1 };
    this.#sources.set(name, source);
    return source;
  }

  override process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const out = outputs[0] ?? [];
    const length = out[0]?.length ?? 128;
    for (const source of this.#sources.values()) {
      const block = length === 128 ? this.#block : [new Float32Array(length), new Float32Array(length)];
      if (!source.buffer.pull(block)) continue;
      const step = (source.wanted - source.volume) / VOLUME_RAMP;
      out.forEach((channel, c) => {
        const samples = block[Math.min(c, CHANNELS - 1)];
        for (let i = 0; i < length; i++) channel[i] = (channel[i] ?? 0) + (samples?.[i] ?? 0) * (source.volume + step * i);
      });
      source.volume += step * length;
      if (Math.abs(source.wanted - source.volume) < 0.001) source.volume = source.wanted;
    }
    this.#reportLeft -= length;
    if (this.#reportLeft <= 0) this.#report();
    return true;
  }

  #report(): void {
    this.#reportLeft = REPORT_EVERY;
    const sources = [...this.#sources].map(([source, { buffer }]) => ({ source, ...buffer.figures() }));
    const report: PlaybackReport = { contextMs: currentTime * 1000, sources };
    this.#port?.postMessage(report);
  }
}

registerProcessor("playback", Playback);
