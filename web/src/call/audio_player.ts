/** Plays one track of sound: decodes, and hands samples to the audio thread. */
import type { CatalogTrack } from "../media/catalog";
import { SAMPLE_RATE } from "../media/jitter";
import { Lateness } from "../media/lateness";
import { Playout } from "../media/playout";
import type { ReceivedFrame } from "../media/reassemble";
import { now } from "./clock";
import type { PlaybackReport } from "./protocol";
import type { Speaker } from "./speaker";

/** Kept in reserve beyond what the network needs: a frame is 20 ms long, the audio thread takes 3 ms at a time. */
const RESERVE_MS = 15;
const DELAY_MAX_MS = 400;
/** A missing frame is waited for at least so long. */
const WAIT_MIN_MS = 10;

/** Ended with {@link AudioPlayer.close}. */
export class AudioPlayer {
  readonly #track: CatalogTrack;
  readonly #speaker: Speaker;
  readonly #source: string;
  readonly #lateness = new Lateness();
  readonly #playout = new Playout();
  #decoder: AudioDecoder | undefined;
  #target = 0;
  #report: PlaybackReport["sources"][number] | undefined;
  #reportAt = 0;
  #heardOffsetMs: number | undefined;

  /** `source` names it among all that plays. */
  constructor(track: CatalogTrack, source: string, speaker: Speaker) {
    this.#track = track;
    this.#source = source;
    this.#speaker = speaker;
    speaker.add(source, (report, contextMs) => this.#reported(report, contextMs));
  }

  frame(frame: ReceivedFrame): void {
    const decoder = this.#ready();
    if (!decoder) return;
    const timestamp = this.#captureUs(frame.timestamp, frame.timescale);
    decoder.decode(new EncodedAudioChunk({ type: "key", timestamp, data: frame.data }));
  }

  /** A frame came too late to be played. */
  late(timestamp: number): void {
    this.#observe(this.#captureUs(timestamp, this.#track.format.timescale));
  }

  /** How long a missing frame may be waited for before the loudspeaker runs dry. */
  get waitMs(): number {
    const buffered = this.#report ? this.#report.bufferedMs - (now() - this.#reportAt) : this.#target;
    return Math.min(Math.max(buffered, WAIT_MIN_MS), DELAY_MAX_MS);
  }

  /** When sound of this capture time is heard, by our clock. */
  heardAt(captureMs: number): number | undefined {
    return this.#heardOffsetMs === undefined ? undefined : captureMs + this.#heardOffsetMs;
  }

  figures() {
    if (!this.#report) return {};
    const { concealedMs, playedMs, delayMs } = this.#report;
    return { concealedMs: Math.round(concealedMs), playedMs: Math.round(playedMs), bufferMs: Math.round(delayMs) };
  }

  close(): void {
    this.#speaker.remove(this.#source);
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
  }

  #captureUs(timestamp: number, timescale: number | undefined): number {
    const { clock, format } = this.#track;
    if (clock.type === "unix") return timestamp;
    return (clock.zeroUnixUs ?? 0) + Math.round((timestamp * 1_000_000) / (timescale ?? format.timescale));
  }

  #ready(): AudioDecoder | undefined {
    if (this.#decoder?.state === "configured") return this.#decoder;
    const { codecString, shape, config, codec } = this.#track.format;
    if (shape.type !== "audio" || !this.#speaker.isOn) return undefined;
    const decoder = new AudioDecoder({
      output: (data) => this.#decoded(data),
      // The next frame gets a new one.
      error: () => (this.#decoder = undefined),
    });
    decoder.configure({
      codec: codecString,
      sampleRate: shape.samplerate,
      numberOfChannels: shape.channels,
      // An OpusHead is needed for more than two channels only, and would have the decoder skip samples.
      ...(config.length > 0 && (codec !== "opus" || shape.channels > 2) && { description: config }),
    });
    this.#decoder = decoder;
    return decoder;
  }

  /** How late a frame is when it could be played; the delay follows. */
  #observe(captureUs: number): number {
    const late = this.#lateness.of(now(), now() - captureUs / 1000);
    this.#playout.observe(now(), late);
    const target = Math.min(this.#playout.delayMs + RESERVE_MS, DELAY_MAX_MS);
    if (Math.abs(target - this.#target) >= 1) {
      this.#target = target;
      this.#speaker.post({ type: "target", source: this.#source, delayMs: target });
    }
    return late;
  }

  #decoded(data: AudioData): void {
    const latenessMs = this.#observe(data.timestamp);
    const at = Math.round((data.timestamp * SAMPLE_RATE) / 1_000_000);
    const count = Math.min(data.numberOfChannels, 2);
    const channels = Array.from({ length: count }, (_, planeIndex) => {
      const samples = new Float32Array(data.numberOfFrames);
      data.copyTo(samples, { planeIndex, format: "f32-planar" });
      return data.sampleRate === SAMPLE_RATE ? samples : resampled(samples, data.sampleRate);
    });
    data.close();
    this.#speaker.post(
      { type: "sound", source: this.#source, at, latenessMs, channels },
      channels.map((channel) => channel.buffer),
    );
  }

  #reported(report: PlaybackReport["sources"][number], contextMs: number): void {
    this.#report = report;
    this.#reportAt = now();
    const heard = this.#speaker.heardAt(contextMs);
    const { position } = report;
    this.#heardOffsetMs =
      position === undefined || heard === undefined ? undefined : heard - (position / SAMPLE_RATE) * 1000;
  }
}

/** To 48 kHz by straight lines: films are not all made at it. */
function resampled(samples: Float32Array, rate: number): Float32Array<ArrayBuffer> {
  const out = new Float32Array(Math.round((samples.length * SAMPLE_RATE) / rate));
  const step = samples.length / Math.max(out.length, 1);
  for (let i = 0; i < out.length; i++) {
    const place = i * step;
    const before = Math.floor(place);
    const a = samples[before] ?? 0;
    const b = samples[Math.min(before + 1, samples.length - 1)] ?? 0;
    out[i] = a + (b - a) * (place - before);
  }
  return out;
}
