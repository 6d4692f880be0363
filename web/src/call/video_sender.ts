/** Encodes one picture of ours in its layers and sends them: camera or screen. */
import type { CatalogTrack } from "../media/catalog";
import type { Codec } from "../media/format";
import { PRIORITIES, type VideoName } from "../media/names";
import { type Layer, VideoPacketizer } from "../media/packetize";
import type { Sending } from "../media/rate";
import type { Namespace, Session } from "../moqt";
import { now, unixUs } from "./clock";
import { type Groups, Outgoing } from "./outgoing";
import type { Pacer } from "./pacer";
import type { SentFigures, VideoSource } from "./protocol";

/** A group lasts no longer (docs/wire.md). */
const GROUP_MS_MAX = 4000;
/** And no shorter, whoever asks. */
const GROUP_MS_MIN = 500;
/** An encoder with more than this before it is too slow: frames are left out. */
const ENCODING_MAX = 2;
/** The capture clock is set by the fastest frame of so many. */
const CLOCK_FRAMES = 150;
/** Rates change in steps, since some encoders begin a group with every change. */
const BITRATE_STEP = 0.1;

/** What is sent: the picture as it comes, or smaller beside it. */
export interface LayerPlan {
  readonly name: VideoName;
  readonly width: number;
  readonly height: number;
  /** Part of the bits for the source that this layer gets while both are wanted. */
  readonly share: number;
  readonly bpsMax: number;
}

export interface VideoSenderConfig {
  readonly source: VideoSource;
  readonly frames: ReadableStream<VideoFrame>;
  readonly framerate: number;
  readonly layers: readonly LayerPlan[];
  readonly codec: Codec;
  readonly codecString: string;
  /** Two temporal layers. */
  readonly hasLayers: boolean;
  readonly groups: Groups;
  readonly pacer: Pacer;
  /** What the catalog says of it has changed. */
  readonly changed: () => void;
  /** For people. */
  readonly failed: (message: string) => void;
}

class EncodedLayer {
  readonly plan: LayerPlan;
  readonly outgoing: Outgoing;
  readonly packetizer: VideoPacketizer;
  readonly #config: VideoSenderConfig;
  #encoder: VideoEncoder | undefined;
  #bps: number;
  /** avcC and the like, once the encoder has said. */
  description = new Uint8Array(0);
  #frames: number[] = [];

  constructor(config: VideoSenderConfig, plan: LayerPlan, newGroup: () => void) {
    this.plan = plan;
    this.#config = config;
    this.#bps = plan.bpsMax;
    this.outgoing = new Outgoing(plan.name, config.groups, {
      // Whoever comes begins with a key frame.
      wanted: (isWanted) => isWanted && newGroup(),
      newGroup,
      refused: config.failed,
    });
    this.packetizer = new VideoPacketizer(
      {
        priorities: PRIORITIES[plan.name],
        timescale: undefined,
        hasLayers: config.hasLayers,
        parity: { base: 0, upper: 0 },
      },
      config.groups.next(plan.name),
    );
  }

  /** Nobody can ask for it before the catalog has what only its encoder can say. */
  get isUndescribed(): boolean {
    return this.#config.codec === "h264" && this.description.length === 0;
  }

  setBitrate(bps: number): void {
    const wanted = Math.round(Math.min(bps, this.plan.bpsMax));
    if (Math.abs(wanted - this.#bps) < this.#bps * BITRATE_STEP) return;
    this.#bps = wanted;
    if (this.#encoder?.state === "configured") this.#encoder.configure(this.#encoderConfig());
  }

  encode(frame: VideoFrame, keyFrame: boolean): void {
    if (this.#encoder?.state !== "configured") {
      if (!keyFrame) return;
      this.#encoder = new VideoEncoder({
        output: (chunk, metadata) => this.#encoded(chunk, metadata),
        error: (error) => this.#config.failed(`The picture cannot be encoded. (${error.message})`),
      });
      this.#encoder.configure(this.#encoderConfig());
    }
    if (this.#encoder.encodeQueueSize > ENCODING_MAX && !keyFrame) return;
    this.#encoder.encode(frame, { keyFrame });
  }

  /** Nobody takes it: the encoder rests, and the group is over. */
  rest(): void {
    if (!this.#encoder) return;
    if (this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = undefined;
    this.outgoing.send(this.packetizer.finish());
  }

  figures(): SentFigures {
    const time = now();
    this.#frames = this.#frames.filter((at) => time - at <= 2000);
    const { name, width, height } = this.plan;
    const { isWanted } = this.outgoing;
    const kbitPerS = Math.round(this.outgoing.kbitPerS());
    return { track: name, codec: this.#config.codecString, isWanted, kbitPerS, framesPerS: this.#frames.length / 2, width, height };
  }

  close(): void {
    this.rest();
    this.outgoing.close();
  }

  #encoderConfig(): VideoEncoderConfig {
    const { codec, codecString, framerate, hasLayers, source } = this.#config;
    const { width, height } = this.plan;
    return {
      codec: codecString,
      width,
      height,
      bitrate: this.#bps,
      framerate,
      latencyMode: "realtime",
      ...(hasLayers && { scalabilityMode: "L1T2" }),
      ...(codec === "h264" && { avc: { format: "avc" as const } }),
      ...(source === "screen" && { contentHint: "detail" }),
    };
  }

  #encoded(chunk: EncodedVideoChunk, metadata: EncodedVideoChunkMetadata | undefined): void {
    const description = metadata?.decoderConfig?.description;
    if (description && this.#config.codec === "h264") this.#describe(description);
    const data = new Uint8Array(chunk.byteLength);
    chunk.copyTo(data);
    const temporal = metadata?.svc?.temporalLayerId ?? 0;
    // In L1T2 as browsers make it nothing depends on the upper layer.
    const layer: Layer = { temporal, isBaseLayerSync: temporal > 0, isDiscardable: temporal > 0 };
    const frame = { pts: chunk.timestamp, isKey: chunk.type === "key", data };
    this.#frames.push(now());
    this.outgoing.send(this.packetizer.packetize(frame, layer), this.#config.pacer);
  }

  #describe(description: AllowSharedBufferSource): void {
    const bytes = ArrayBuffer.isView(description)
      ? new Uint8Array(description.buffer, description.byteOffset, description.byteLength)
      : new Uint8Array(description);
    const isSame = bytes.length === this.description.length && bytes.every((byte, i) => byte === this.description[i]);
    if (isSame) return;
    this.description = bytes.slice();
    this.#config.changed();
  }
}

/** Ended with {@link VideoSender.close}. */
export class VideoSender {
  readonly #config: VideoSenderConfig;
  readonly #layers: readonly EncodedLayer[];
  readonly #reader: ReadableStreamDefaultReader<VideoFrame>;
  #keyAt = -Infinity;
  #wantsKey = true;
  /** The smallest difference between our clock and the camera's of late. */
  #offsets: number[] = [];
  #isClosed = false;

  constructor(config: VideoSenderConfig) {
    this.#config = config;
    this.#layers = config.layers.map((plan) => new EncodedLayer(config, plan, () => (this.#wantsKey = true)));
    this.#reader = config.frames.getReader();
    void this.#run();
  }

  async connect(session: Session, namespace: Namespace): Promise<void> {
    this.#wantsKey = true;
    await Promise.all(this.#layers.map(({ outgoing }) => outgoing.connect(session, namespace)));
  }

  disconnect(): void {
    for (const { outgoing } of this.#layers) outgoing.disconnect();
  }

  /** The catalog's entries; those without their configuration are not there yet. */
  catalog(): CatalogTrack[] {
    const { codec, codecString, framerate, hasLayers, source } = this.#config;
    return this.#layers
      .filter((layer) => !layer.isUndescribed)
      .map(({ plan, description }) => ({
        name: plan.name,
        packaging: "loc-fragments",
        isLive: true,
        format: {
          codec,
          codecString,
          shape: { type: "video", width: plan.width, height: plan.height, framerate },
          config: description,
          timescale: 1_000_000,
        },
        bitrate: plan.bpsMax,
        altGroup: this.#layers.length > 1 ? 1 : undefined,
        renderGroup: source === "camera" ? 1 : 2,
        temporalLayers: hasLayers ? 2 : 1,
        clock: { type: "unix" },
        label: undefined,
      }));
  }

  /** How to send from now on; `videoBps` is what this source may take. */
  adapt(sending: Sending, videoBps: number): void {
    const wanted = this.#layers.filter(({ outgoing }) => outgoing.isWanted);
    const shares = wanted.reduce((sum, { plan }) => sum + plan.share, 0);
    const media = videoBps / (1 + sending.parity.base / 100);
    for (const layer of wanted) {
      layer.packetizer.setParity(sending.parity);
      layer.setBitrate((media * layer.plan.share) / shares);
    }
  }

  takeLoss(): { sent: number; asked: number } {
    const losses = this.#layers.map(({ outgoing }) => outgoing.takeLoss());
    return losses.reduce((sum, { sent, asked }) => ({ sent: sum.sent + sent, asked: sum.asked + asked }), { sent: 0, asked: 0 });
  }

  figures(): SentFigures[] {
    return this.#layers.map((layer) => layer.figures());
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // Fails only when the camera is gone already.
    this.#reader.cancel().catch(() => {});
    for (const layer of this.#layers) layer.close();
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      const { done, value } = await this.#reader.read().catch(() => ({ done: true, value: undefined }));
      if (done || !value) break;
      this.#frame(value);
    }
  }

  #frame(captured: VideoFrame): void {
    const timestamp = this.#captureUs(captured);
    const wanted = this.#layers.filter((layer) => layer.outgoing.isWanted || layer.isUndescribed);
    for (const layer of this.#layers) if (!wanted.includes(layer)) layer.rest();
    if (wanted.length === 0 || this.#isClosed) return captured.close();
    const since = now() - this.#keyAt;
    const isKey = (this.#wantsKey && since >= GROUP_MS_MIN) || since >= GROUP_MS_MAX;
    if (isKey) {
      this.#wantsKey = false;
      this.#keyAt = now();
      // Layers of one picture begin their groups together, with the same number.
      const group = Math.max(...this.#layers.map(({ packetizer }) => packetizer.nextGroup));
      for (const { packetizer } of this.#layers) packetizer.skipToGroup(group);
    }
    const frame = new VideoFrame(captured, { timestamp });
    captured.close();
    for (const layer of wanted) layer.encode(frame, isKey);
    frame.close();
  }

  /** Unix microseconds: the camera's clock, set by the fastest frame of late. */
  #captureUs(frame: VideoFrame): number {
    this.#offsets.push(unixUs() - frame.timestamp);
    if (this.#offsets.length > CLOCK_FRAMES) this.#offsets.shift();
    return Math.round(frame.timestamp + Math.min(...this.#offsets));
  }
}
