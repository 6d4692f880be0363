/** What we publish: catalog, state, and our sources, across sessions. */
import { encodeCatalog } from "../media/catalog";
import type { Codec } from "../media/format";
import { Rate } from "../media/rate";
import type { Namespace, Running, Session } from "../moqt";
import { AudioSender } from "./audio_sender";
import { now } from "./clock";
import { codecString, pickCodec } from "./codecs";
import { Groups, OutgoingJson } from "./outgoing";
import { Pacer } from "./pacer";
import type { AudioSource, Command, ParticipantState, Report, SentFigures, VideoSource } from "./protocol";
import { writeState } from "./state";
import { type LayerPlan, VideoSender } from "./video_sender";

/** Loss on the way to the relay is looked at this often. */
const LOOK_MS = 500;
const VIDEO_BPS_MIN = 120_000;
const VIDEO_BPS_MAX = 2_500_000;
/** What a picture of so many pixels is worth, at 30 frames a second. */
const BITS_PER_PIXEL = 0.11;
/** A shared screen moves little and shall be sharp. */
const SCREEN_BITS_PER_PIXEL = 0.06;
/** Lines of the layer for small tiles. */
const LOW_LINES = 180;

type VideoCommand = Command & { type: "video" };
type SoundCommand = Command & { type: "sound" };

/** Ended with {@link Publisher.close}. */
export class Publisher {
  readonly #post: (report: Report) => void;
  readonly #groups = new Groups();
  readonly #pacer = new Pacer();
  readonly #rate = new Rate(VIDEO_BPS_MIN, VIDEO_BPS_MAX);
  readonly #catalog = new OutgoingJson("catalog", this.#groups);
  readonly #state = new OutgoingJson("state", this.#groups);
  readonly #videos = new Map<VideoSource, VideoSender>();
  readonly #sounds = new Map<AudioSource, AudioSender>();
  readonly #looking: ReturnType<typeof setInterval>;
  #connection: { readonly session: Session; readonly namespace: Namespace } | undefined;
  #announcement: Running | undefined;
  #isMuted = false;
  #lossOfOthers: number | undefined;

  constructor(post: (report: Report) => void) {
    this.#post = post;
    this.#looking = setInterval(() => this.#look(), LOOK_MS);
    this.#describe();
  }

  /** Publishes everything in this session. */
  async connect(session: Session, namespace: Namespace): Promise<void> {
    this.#connection = { session, namespace };
    // Once every track is known to the relay, everybody may hear of us.
    const parts = [this.#catalog, this.#state, ...this.#sounds.values(), ...this.#videos.values()];
    await Promise.all(parts.map((part) => part.connect(session, namespace)));
    if (this.#connection?.session === session) this.#announcement = await session.publishNamespace(namespace);
  }

  /** The session is over; everything is published again in the next. */
  disconnect(): void {
    this.#connection = undefined;
    this.#announcement = undefined;
    for (const part of [this.#catalog, this.#state, ...this.#sounds.values(), ...this.#videos.values()]) part.disconnect();
  }

  /** Gives the seat up; the session goes on. */
  leave(): void {
    for (const source of [...this.#videos.keys()]) this.endVideo(source);
    for (const source of [...this.#sounds.keys()]) this.endSound(source);
    this.#catalog.close();
    this.#state.close();
    this.#announcement?.cancel();
    this.disconnect();
  }

  setState(state: ParticipantState): void {
    this.#isMuted = state.isMuted;
    const microphone = this.#sounds.get("audio");
    if (microphone) microphone.isMuted = state.isMuted;
    this.#state.set(writeState(state));
  }

  async addVideo(command: VideoCommand, roomDecodes: readonly (readonly Codec[])[]): Promise<void> {
    const { source, frames, width, height, framerate } = command;
    this.endVideo(source);
    const codec = await pickCodec(width, height, framerate, roomDecodes);
    if (!codec) {
      this.#post({ type: "problem", source, message: "This browser can encode no video that others can show." });
      await frames.cancel();
      return;
    }
    const sender = new VideoSender({
      source,
      frames,
      framerate,
      layers: source === "camera" ? cameraLayers(width, height) : [screenLayer(width, height)],
      codec,
      codecString: codecString(codec, width, height),
      hasLayers: source === "camera",
      groups: this.#groups,
      pacer: this.#pacer,
      changed: () => this.#describe(),
      failed: (message) => this.#post({ type: "problem", source, message }),
    });
    this.#videos.set(source, sender);
    if (this.#connection) await sender.connect(this.#connection.session, this.#connection.namespace);
    this.#describe();
  }

  endVideo(source: VideoSource): void {
    this.#videos.get(source)?.close();
    if (this.#videos.delete(source)) this.#describe();
  }

  async addSound({ source, port, channels }: SoundCommand): Promise<void> {
    this.endSound(source);
    const failed = (message: string) => this.#post({ type: "problem", source, message });
    const sender = new AudioSender({ source, port, channels, groups: this.#groups, failed });
    sender.isMuted = source === "audio" && this.#isMuted;
    this.#sounds.set(source, sender);
    if (this.#connection) await sender.connect(this.#connection.session, this.#connection.namespace);
    this.#describe();
  }

  endSound(source: AudioSource): void {
    this.#sounds.get(source)?.close();
    if (this.#sounds.delete(source)) this.#describe();
  }

  /** The relay says which part of what we sent did not arrive. */
  uplinkLoss(loss: number): void {
    this.#lossOfOthers = loss;
  }

  /** How loud our microphone is, 0 to 1. */
  get level(): number {
    return this.#isMuted ? 0 : (this.#sounds.get("audio")?.level ?? 0);
  }

  get isSpeakingMuted(): boolean {
    return this.#sounds.get("audio")?.isSpeakingMuted ?? false;
  }

  get loss(): number {
    return this.#rate.loss;
  }

  figures(): SentFigures[] {
    const sounds = [...this.#sounds.values()].map((sender) => sender.figures());
    return [...sounds, ...[...this.#videos.values()].flatMap((sender) => sender.figures())];
  }

  close(): void {
    clearInterval(this.#looking);
    this.#pacer.close();
    for (const part of [...this.#sounds.values(), ...this.#videos.values(), this.#catalog, this.#state]) part.close();
  }

  /** The catalog as it is now. */
  #describe(): void {
    const tracks = [...this.#sounds.values(), ...this.#videos.values()].flatMap((sender) => sender.catalog());
    this.#catalog.set(encodeCatalog({ generatedAtMs: Date.now(), isComplete: false, tracks }));
  }

  /** Follows what arrives: the relay asks once more for what it misses, and reports where it can. */
  #look(): void {
    const losses = [...this.#sounds.values(), ...this.#videos.values()].map((sender) => sender.takeLoss());
    const sent = losses.reduce((sum, loss) => sum + loss.sent, 0);
    const asked = losses.reduce((sum, loss) => sum + loss.asked, 0);
    if (sent < 10) return;
    const loss = this.#lossOfOthers ?? Math.min(asked / sent, 1);
    this.#lossOfOthers = undefined;
    const sentBps = this.figures().reduce((sum, { kbitPerS }) => sum + kbitPerS * 1000, 0);
    this.#rate.look({ now: now(), loss, sentBps });
    const sending = this.#rate.sending();
    const sources = [...this.#videos.values()];
    for (const sender of sources) sender.adapt(sending, sending.videoBps / sources.length);
    for (const sender of this.#sounds.values()) sender.setRedundancy(sending.redundancyDepth);
  }
}

function cameraLayers(width: number, height: number): LayerPlan[] {
  const bpsMax = Math.round(width * height * 30 * BITS_PER_PIXEL);
  const camera: LayerPlan = { name: "camera", width, height, share: 4, bpsMax };
  if (height <= LOW_LINES * 1.5) return [camera];
  // Even sides: the picture has half as many colours each way.
  const low = { width: Math.round((width * LOW_LINES) / height / 2) * 2, height: LOW_LINES };
  return [camera, { name: "camera-low", ...low, share: 1, bpsMax: Math.round(low.width * low.height * 30 * BITS_PER_PIXEL) }];
}

function screenLayer(width: number, height: number): LayerPlan {
  return { name: "screen", width, height, share: 1, bpsMax: Math.round(width * height * 30 * SCREEN_BITS_PER_PIXEL) };
}
