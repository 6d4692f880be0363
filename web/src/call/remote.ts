/** One participant as a receiver has it: follows its catalog and state, plays and shows its tracks. */
import { FrameLength } from "../media/audio";
import { type Catalog, CatalogError, type CatalogTrack, readCatalog } from "../media/catalog";
import { isSameFormat, isVideo } from "../media/format";
import type { AudioLevel } from "../media/loc";
import { fullTrackName, type MoqtObject, type Namespace, namespaceText } from "../moqt";
import { AudioPlayer } from "./audio_player";
import { now } from "./clock";
import { JsonTrack } from "./json_track";
import type { AudioSource, TrackFigures, VideoSource } from "./protocol";
import { Receiver } from "./receiver";
import type { Screen } from "./screen";
import type { Shared } from "./shared";
import { readState } from "./state";
import { VideoSlot } from "./video_slot";

/** A frame of sound waits at most so long to begin with; then for as long as the loudspeaker has enough. */
const AUDIO_WAIT_MS = 60;
/** Who speaks is known for so long after the last frame. */
const LEVEL_MS = 300;

interface Sound {
  readonly track: CatalogTrack;
  readonly receiver: Receiver;
  readonly player: AudioPlayer;
}

/** The names that a participant's tracks may have here; of others, the first picture is a camera, the first sound a voice. */
const SOURCES: Record<string, VideoSource | AudioSource> = {
  camera: "camera",
  "camera-low": "camera",
  screen: "screen",
  audio: "audio",
  "screen-audio": "screen-audio",
};

/** Ended with {@link Remote.close}. */
export class Remote {
  readonly name: string;
  readonly #namespace: Namespace;
  readonly #shared: Shared;
  readonly #catalog: JsonTrack;
  readonly #state: JsonTrack;
  readonly #slots: Record<VideoSource, VideoSlot>;
  readonly #sounds = new Map<AudioSource, Sound>();
  #level: { readonly value: number; readonly at: number } = { value: 0, at: -Infinity };
  #catalogsCome = 0;
  /** Its sound, heard or not. */
  #offered = new Map<AudioSource, CatalogTrack>();
  #isListening = false;
  #isClosed = false;

  constructor(shared: Shared, namespace: Namespace) {
    this.name = namespaceText(namespace);
    this.#namespace = namespace;
    this.#shared = shared;
    const slot = (source: VideoSource, sound: AudioSource) =>
      new VideoSlot(shared, namespace, source, (captureMs) => this.#sounds.get(sound)?.player.heardAt(captureMs));
    this.#slots = { camera: slot("camera", "audio"), screen: slot("screen", "screen-audio") };
    this.#catalog = new JsonTrack(shared.session, fullTrackName(namespace, "catalog"), (object, properties) => {
      void this.#catalogCame(object, properties);
    });
    this.#state = new JsonTrack(shared.session, fullTrackName(namespace, "state"), (object) => {
      const state = readState(object.payload);
      if (state) shared.post({ type: "state", participant: this.name, state });
    });
  }

  /** Where a picture is shown from now on; `undefined`: nowhere. */
  show(source: VideoSource, screen: Screen | undefined): void {
    this.#slots[source].show(screen);
  }

  /** The place of a picture has another size. */
  resized(source: VideoSource): void {
    this.#slots[source].select();
  }

  /** Its sound is heard from now on. */
  listen(): void {
    this.#isListening = true;
    for (const source of ["audio", "screen-audio"] as const) this.#hear(source, this.#offered.get(source));
  }

  /** How loud it is now, 0 to 1. */
  get level(): number {
    return now() - this.#level.at < LEVEL_MS ? this.#level.value : 0;
  }

  figures(): TrackFigures[] {
    const sounds = [...this.#sounds.values()].map(({ track, receiver, player }) => ({
      participant: this.name,
      track: track.name,
      codec: track.format.codecString,
      figures: receiver.figures(),
      ...player.figures(),
    }));
    return [...sounds, ...this.#slots.camera.figures(), ...this.#slots.screen.figures()];
  }

  close(): void {
    this.#isClosed = true;
    this.#catalog.close();
    this.#state.close();
    this.#slots.camera.close();
    this.#slots.screen.close();
    for (const source of [...this.#sounds.keys()]) this.#endSound(source);
  }

  async #catalogCame(object: MoqtObject, trackProperties: Uint8Array): Promise<void> {
    const number = ++this.#catalogsCome;
    try {
      const catalog = await readCatalog(object.payload, trackProperties, object.properties);
      if (!this.#isClosed && number === this.#catalogsCome) this.#follow(catalog);
    } catch (error) {
      if (!(error instanceof CatalogError)) throw error;
      this.#shared.post({ type: "sources", participant: this.name, sources: [], problem: error.message });
    }
  }

  #follow(catalog: Catalog): void {
    const bySource = new Map<VideoSource | AudioSource, CatalogTrack[]>();
    const foreign = catalog.tracks.filter(({ name }) => SOURCES[name] === undefined);
    for (const track of catalog.tracks) {
      const source = SOURCES[track.name];
      if (source) bySource.set(source, [...(bySource.get(source) ?? []), track]);
    }
    for (const track of foreign) {
      const source = isVideo(track.format.codec) ? "camera" : "audio";
      if (!bySource.has(source)) bySource.set(source, [track]);
    }
    this.#slots.camera.offer(bySource.get("camera") ?? []);
    this.#slots.screen.offer(bySource.get("screen") ?? []);
    this.#offered.clear();
    for (const source of ["audio", "screen-audio"] as const) {
      const [track] = bySource.get(source) ?? [];
      if (track) this.#offered.set(source, track);
      if (this.#isListening) this.#hear(source, track);
    }
    const [ignored] = catalog.ignored;
    const problem = bySource.size === 0 && ignored ? `${ignored.name}: ${ignored.reason}` : undefined;
    this.#shared.post({ type: "sources", participant: this.name, sources: [...bySource.keys()], problem });
  }

  #hear(source: AudioSource, track: CatalogTrack | undefined): void {
    const known = this.#sounds.get(source);
    if (known && track && known.track.name === track.name && isSameFormat(known.track.format, track.format)) return;
    if (known) this.#endSound(source);
    if (!track) return;
    const player = new AudioPlayer(track, `${this.name}/${source}`, this.#shared.speaker);
    const config = {
      waitMs: AUDIO_WAIT_MS,
      frameLength: FrameLength.of(track.format),
      joins: false,
      subscriberPriority: 64,
    };
    const receiver: Receiver = new Receiver(
      this.#shared.session,
      fullTrackName(this.#namespace, track.name),
      config,
      this.#shared.roundTrip,
      {
        frame: (frame) => {
          if (source === "audio") this.#heard(frame.audioLevel);
          receiver.setWait(player.waitMs);
          player.frame(frame);
        },
        gap: () => {},
        late: (timestamp) => player.late(timestamp),
      },
    );
    this.#sounds.set(source, { track, receiver, player });
  }

  #heard(level: AudioLevel | undefined): void {
    if (!level?.isVoice) return;
    // From a whisper at -60 dB to a loud voice at -15.
    this.#level = { value: Math.min(Math.max((60 - level.belowOverloadDb) / 45, 0), 1), at: now() };
  }

  #endSound(source: AudioSource): void {
    const sound = this.#sounds.get(source);
    sound?.receiver.close();
    sound?.player.close();
    this.#sounds.delete(source);
  }
}
