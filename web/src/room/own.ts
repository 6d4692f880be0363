/** Ourselves: microphone, camera, screen, hand. */
import { computed, effect, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { Command, ParticipantState } from "../call/protocol";
import { DeviceError, openCamera, openMicrophone, openScreen } from "../device/devices";
import { framesOf } from "../device/frames";
import type { Sound } from "../device/sound";
import type { Codec } from "../media/format";
import type { Settings } from "./settings";

/** A device that is being opened, is open, or is off; `problem` is for people. */
export interface DeviceState {
  readonly state: "off" | "opening" | "on";
  readonly problem: string | undefined;
}

const OFF: DeviceState = { state: "off", problem: undefined };

/** Ended with {@link Own.close}. */
export class Own {
  readonly camera: Signal<DeviceState> = signal(OFF);
  readonly microphone: Signal<DeviceState> = signal(OFF);
  readonly screen: Signal<DeviceState> = signal(OFF);
  readonly hasHandUp: Signal<boolean> = signal(false);
  /** The microphone is open but not sent. */
  readonly isMuted: Signal<boolean> = signal(false);
  readonly isSpeaking: Signal<boolean> = signal(false);
  readonly isSpeakingMuted: Signal<boolean> = signal(false);
  /** What our own tile shows. */
  readonly cameraStream: Signal<MediaStream | undefined> = signal(undefined);
  readonly screenStream: Signal<MediaStream | undefined> = signal(undefined);
  /** What others are told. */
  readonly state: ReadonlySignal<ParticipantState>;

  readonly #post: (command: Command, transfer?: Transferable[]) => void;
  readonly #sound: Sound;
  readonly #settings: Settings;
  readonly #decodes: Signal<readonly Codec[]>;
  readonly #forget: () => void;
  #tracks = new Map<"camera" | "microphone" | "screen" | "screen-audio", MediaStreamTrack>();
  #isPublishing = false;
  #isClosed = false;

  constructor(post: (command: Command, transfer?: Transferable[]) => void, sound: Sound, settings: Settings, decodes: Signal<readonly Codec[]>) {
    this.#post = post;
    this.#sound = sound;
    this.#settings = settings;
    this.#decodes = decodes;
    this.state = computed(() => ({
      name: this.#settings.choices.value.name,
      isMuted: this.isMuted.value || this.microphone.value.state !== "on",
      hasCamera: this.camera.value.state === "on",
      hasScreen: this.screen.value.state === "on",
      hasHandUp: this.hasHandUp.value,
      decodes: this.#decodes.value,
    }));
    this.#forget = effect(() => this.#post({ type: "state", state: this.state.value }));
  }

  /** Gives the worker what is open, now and later. */
  publish(): void {
    this.#isPublishing = true;
    const camera = this.#tracks.get("camera");
    if (camera) this.#sendVideo("camera", camera);
    const microphone = this.#tracks.get("microphone");
    if (microphone) void this.#sound.capture("audio", microphone);
  }

  async setCamera(isOn: boolean): Promise<void> {
    if (!isOn) return this.#endCamera();
    await this.#open("camera", this.camera, async () => {
      const track = await openCamera(this.#settings.choices.peek().camera);
      this.#keep("camera", track, () => this.#lost(this.camera, "The camera is gone.", () => this.#endCamera()));
      this.cameraStream.value = new MediaStream([track]);
      if (this.#isPublishing) this.#sendVideo("camera", track);
    });
  }

  /** Opens the microphone; muting leaves it open, so that one can be told when speaking unheard. */
  async setMicrophone(isOn: boolean): Promise<void> {
    if (this.microphone.value.state === "on") {
      this.isMuted.value = !isOn;
      return;
    }
    if (!isOn) return;
    await this.#open("microphone", this.microphone, async () => {
      const { microphone, echoCancellation, noiseSuppression, autoGainControl } = this.#settings.choices.peek();
      const track = await openMicrophone({ deviceId: microphone, echoCancellation, noiseSuppression, autoGainControl });
      this.#keep("microphone", track, () => this.#lost(this.microphone, "The microphone is gone.", () => this.endMicrophone()));
      this.isMuted.value = false;
      if (this.#isPublishing) await this.#sound.capture("audio", track);
    });
  }

  async setScreen(isOn: boolean): Promise<void> {
    if (!isOn) return this.#endScreen();
    await this.#open("screen", this.screen, async () => {
      const tracks = await openScreen();
      if (!tracks) return false;
      this.#keep("screen", tracks.video, () => this.#endScreen());
      this.screenStream.value = new MediaStream([tracks.video]);
      this.#sendVideo("screen", tracks.video);
      if (tracks.audio) {
        this.#keep("screen-audio", tracks.audio, () => this.#sound.endCapture("screen-audio"));
        await this.#sound.capture("screen-audio", tracks.audio);
      }
      return true;
    });
  }

  /** Opens again what has been chosen anew. */
  async changeDevice(kind: "camera" | "microphone"): Promise<void> {
    const isMuted = this.isMuted.peek();
    if (kind === "camera" && this.camera.peek().state === "on") {
      this.#endCamera();
      await this.setCamera(true);
    } else if (kind === "microphone" && this.microphone.peek().state === "on") {
      this.endMicrophone();
      await this.setMicrophone(true);
      this.isMuted.value = isMuted;
    }
  }

  endMicrophone(): void {
    this.#end("microphone");
    this.#sound.endCapture("audio");
    this.microphone.value = OFF;
    this.isSpeaking.value = false;
    this.isSpeakingMuted.value = false;
  }

  /** The worker could not send what it was given. */
  failed(source: "camera" | "screen" | "audio" | "screen-audio", problem: string): void {
    const device = source === "camera" ? this.camera : source === "audio" ? this.microphone : this.screen;
    if (source === "camera") this.#endCamera();
    else if (source === "audio") this.endMicrophone();
    else this.#endScreen();
    device.value = { state: "off", problem };
  }

  close(): void {
    this.#isClosed = true;
    this.#forget();
    this.#endCamera();
    this.endMicrophone();
    this.#endScreen();
  }

  async #open(_what: string, device: Signal<DeviceState>, open: () => Promise<boolean | void>): Promise<void> {
    if (device.value.state !== "off") return;
    device.value = { state: "opening", problem: undefined };
    try {
      const isOpen = (await open()) ?? true;
      device.value = isOpen ? { state: "on", problem: undefined } : OFF;
    } catch (error) {
      if (!(error instanceof DeviceError)) throw error;
      device.value = { state: "off", problem: error.message };
    }
    // Left while the browser was asking.
    if (this.#isClosed) this.close();
  }

  #keep(what: "camera" | "microphone" | "screen" | "screen-audio", track: MediaStreamTrack, ended: () => void): void {
    this.#tracks.set(what, track);
    track.addEventListener("ended", ended, { once: true });
  }

  #sendVideo(source: "camera" | "screen", track: MediaStreamTrack): void {
    const { width = 640, height = 360, frameRate = 30 } = track.getSettings();
    const frames = framesOf(track);
    // Encoders want even sides.
    const size = { width: width & ~1, height: height & ~1, framerate: Math.min(frameRate, 30) };
    this.#post({ type: "video", source, frames, ...size }, [frames]);
  }

  #lost(device: Signal<DeviceState>, problem: string, end: () => void): void {
    end();
    device.value = { state: "off", problem };
  }

  #endCamera(): void {
    this.#end("camera");
    this.cameraStream.value = undefined;
    this.camera.value = OFF;
    this.#post({ type: "videoEnd", source: "camera" });
  }

  #endScreen(): void {
    this.#end("screen");
    this.#end("screen-audio");
    this.#sound.endCapture("screen-audio");
    this.screenStream.value = undefined;
    this.screen.value = OFF;
    this.#post({ type: "videoEnd", source: "screen" });
  }

  #end(what: "camera" | "microphone" | "screen" | "screen-audio"): void {
    this.#tracks.get(what)?.stop();
    this.#tracks.delete(what);
  }
}
