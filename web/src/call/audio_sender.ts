/** Encodes one sound of ours and sends it: microphone, or the sound of a screen. */
import { FrameLength } from "../media/audio";
import type { CatalogTrack } from "../media/catalog";
import { SAMPLE_RATE } from "../media/jitter";
import { LevelMeter } from "../media/level";
import type { AudioLevel } from "../media/loc";
import { type AudioName, PRIORITIES } from "../media/names";
import { AudioPacketizer } from "../media/packetize";
import type { Namespace, Session } from "../moqt";
import { now, unixUs } from "./clock";
import { type Groups, Outgoing } from "./outgoing";
import type { CapturedSound, SentFigures } from "./protocol";

/** Samples of a frame: 20 ms. */
const FRAME = SAMPLE_RATE / 50;
const FRAME_US = 20_000;
/** The capture clock is compared with ours over so many chunks, and set by small steps. */
const CLOCK_CHUNKS = 500;
const CLOCK_STEP_US = 1000;
/** A clock this wrong is set at once: the device has changed, or the machine was asleep. */
const CLOCK_JUMP_US = 100_000;
const BITRATE: Record<AudioName, number> = { audio: 32_000, "screen-audio": 96_000 };
/** Speaking is noticed when this many of the last frames were loud. */
const VOICE_FRAMES = 10;

export interface AudioSenderConfig {
  readonly source: AudioName;
  readonly port: MessagePort;
  readonly channels: number;
  readonly groups: Groups;
  /** For people. */
  readonly failed: (message: string) => void;
}

/** Ended with {@link AudioSender.close}. */
export class AudioSender {
  readonly #config: AudioSenderConfig;
  readonly #outgoing: Outgoing;
  readonly #packetizer: AudioPacketizer;
  readonly #meter = new LevelMeter();
  #encoder: AudioEncoder | undefined;
  #frame: Float32Array<ArrayBuffer>;
  #filled = 0;
  /** Unix microseconds of sample 0 of the device. */
  #zeroUs: number | undefined;
  #offsets: number[] = [];
  #levels: { readonly timestamp: number; readonly level: AudioLevel }[] = [];
  #voiced = 0;
  #lastLevel = 0;
  #frames: number[] = [];
  isMuted = false;

  constructor(config: AudioSenderConfig) {
    this.#config = config;
    this.#frame = new Float32Array(FRAME * config.channels);
    this.#outgoing = new Outgoing(config.source, config.groups, { refused: config.failed });
    this.#packetizer = new AudioPacketizer(
      {
        priorities: PRIORITIES[config.source],
        timescale: undefined,
        frameLength: new FrameLength("opus", SAMPLE_RATE, 1_000_000),
        redundancyDepth: 0,
      },
      config.groups.next(config.source),
    );
    config.port.onmessage = ({ data }: MessageEvent<CapturedSound>) => this.#captured(data);
  }

  connect(session: Session, namespace: Namespace): Promise<void> {
    return this.#outgoing.connect(session, namespace);
  }

  disconnect(): void {
    this.#outgoing.disconnect();
  }

  catalog(): CatalogTrack[] {
    const { source, channels } = this.#config;
    return [
      {
        name: source,
        packaging: "loc",
        isLive: true,
        format: {
          codec: "opus",
          codecString: "opus",
          shape: { type: "audio", samplerate: SAMPLE_RATE, channels },
          config: new Uint8Array(0),
          timescale: 1_000_000,
        },
        bitrate: BITRATE[source],
        altGroup: undefined,
        renderGroup: source === "audio" ? 1 : 2,
        temporalLayers: 1,
        clock: { type: "unix" },
        label: undefined,
      },
    ];
  }

  setRedundancy(depth: number): void {
    this.#packetizer.setRedundancy(depth);
  }

  /** How loud it is now, 0 to 1, sent or not. */
  get level(): number {
    return this.#lastLevel;
  }

  /** True when somebody speaks and nothing of it is sent. */
  get isSpeakingMuted(): boolean {
    return this.isMuted && this.#voiced >= VOICE_FRAMES;
  }

  takeLoss(): { readonly sent: number; readonly asked: number } {
    return this.#outgoing.takeLoss();
  }

  figures(): SentFigures {
    const time = now();
    this.#frames = this.#frames.filter((at) => time - at <= 2000);
    const kbitPerS = Math.round(this.#outgoing.kbitPerS());
    const { isWanted } = this.#outgoing;
    return { track: this.#config.source, codec: "opus", isWanted, kbitPerS, framesPerS: this.#frames.length / 2 };
  }

  close(): void {
    this.#config.port.close();
    if (this.#encoder && this.#encoder.state !== "closed") this.#encoder.close();
    this.#outgoing.close();
  }

  #captured({ frame, channels }: CapturedSound): void {
    const count = channels[0]?.length ?? 0;
    this.#follow(unixUs() - ((frame + count) * 1_000_000) / SAMPLE_RATE);
    // One plane after the other.
    channels.forEach((samples, c) => this.#frame.set(samples, c * FRAME + this.#filled));
    this.#filled += count;
    if (this.#filled < FRAME) return;
    this.#filled = 0;
    const timestamp = Math.round((this.#zeroUs ?? 0) + ((frame + count - FRAME) * 1_000_000) / SAMPLE_RATE);
    this.#frameReady(timestamp);
  }

  /** Follows the device's clock: no chunk can come before it was heard. */
  #follow(offsetUs: number): void {
    if (this.#zeroUs === undefined || Math.abs(offsetUs - this.#zeroUs) > CLOCK_JUMP_US) {
      this.#zeroUs = offsetUs;
      this.#offsets = [];
    }
    // The first chunks may all be late.
    if (this.#offsets.length < 50) this.#zeroUs = Math.min(this.#zeroUs, offsetUs);
    this.#offsets.push(offsetUs);
    if (this.#offsets.length < CLOCK_CHUNKS) return;
    const error = Math.min(...this.#offsets) - this.#zeroUs;
    this.#zeroUs += Math.min(Math.max(error, -CLOCK_STEP_US), CLOCK_STEP_US);
    this.#offsets = this.#offsets.slice(50, 51);
  }

  #frameReady(timestamp: number): void {
    const level = this.#meter.measure(this.#frame.subarray(0, FRAME));
    this.#voiced = level.isVoice ? Math.min(this.#voiced + 1, VOICE_FRAMES * 3) : Math.max(this.#voiced - 1, 0);
    this.#lastLevel = level.isVoice ? Math.min(Math.max((60 - level.belowOverloadDb) / 45, 0), 1) : 0;
    if (this.isMuted || !this.#outgoing.isWanted) return;
    const data = new AudioData({
      format: "f32-planar",
      sampleRate: SAMPLE_RATE,
      numberOfFrames: FRAME,
      numberOfChannels: this.#config.channels,
      timestamp,
      data: this.#frame,
    });
    this.#levels.push({ timestamp, level });
    this.#ready().encode(data);
    data.close();
  }

  #ready(): AudioEncoder {
    if (this.#encoder?.state === "configured") return this.#encoder;
    const encoder = new AudioEncoder({
      output: (chunk) => this.#encoded(chunk),
      error: (error) => this.#config.failed(`The sound cannot be encoded. (${error.message})`),
    });
    const isVoice = this.#config.source === "audio";
    encoder.configure({
      codec: "opus",
      sampleRate: SAMPLE_RATE,
      numberOfChannels: this.#config.channels,
      bitrate: BITRATE[this.#config.source],
      opus: { frameDuration: FRAME_US, application: isVoice ? "voip" : "audio" },
    } as AudioEncoderConfig);
    this.#encoder = encoder;
    return encoder;
  }

  #encoded(chunk: EncodedAudioChunk): void {
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    while (this.#levels[0] && this.#levels[0].timestamp < chunk.timestamp - FRAME_US / 2) this.#levels.shift();
    const level = this.#levels[0]?.level;
    this.#frames.push(now());
    // Sound goes first: it does not wait for the pacer.
    this.#outgoing.send([this.#packetizer.packetize({ pts: chunk.timestamp, isKey: true, data }, level)]);
  }
}
