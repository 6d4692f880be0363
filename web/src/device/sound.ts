/** The audio thread: what is heard, and what is picked up. */
import type { AudioSource, Command } from "../call/protocol";
import { SAMPLE_RATE } from "../media/jitter";

declare const WORKLET_ADDRESS: string;

/** The two clocks are compared this often. */
const CLOCK_MS = 500;

type Post = (command: Command, transfer?: Transferable[]) => void;

/** Ended with {@link Sound.close}. */
export class Sound {
  readonly #post: Post;
  readonly #context: AudioContext;
  readonly #ready: Promise<void>;
  readonly #ticking: ReturnType<typeof setInterval>;
  readonly #captures = new Map<AudioSource, { readonly node: AudioWorkletNode; readonly source: AudioNode }>();

  /** Begins to play as soon as the browser lets it. */
  constructor(post: Post) {
    this.#post = post;
    this.#context = new AudioContext({ sampleRate: SAMPLE_RATE, latencyHint: "interactive" });
    this.#ready = this.#start();
    this.#ticking = setInterval(() => this.#compareClocks(), CLOCK_MS);
  }

  /** False while the browser waits for a click before anything may be heard. */
  get isAllowed(): boolean {
    return this.#context.state === "running";
  }

  /** Called when {@link isAllowed} changes. */
  set onChange(listener: () => void) {
    this.#context.onstatechange = listener;
  }

  /** To be called from a click. */
  async allow(): Promise<void> {
    await this.#context.resume();
    this.#compareClocks();
  }

  /** Where it is heard; "" is the system's own choice. Not every browser lets one choose. */
  async setOutput(deviceId: string): Promise<void> {
    const context = this.#context as AudioContext & { setSinkId?: (id: string) => Promise<void> };
    await context.setSinkId?.(deviceId);
  }

  /** Sends what a track picks up to the worker. */
  async capture(source: AudioSource, track: MediaStreamTrack): Promise<void> {
    await this.#ready;
    this.endCapture(source);
    const channels = source === "audio" ? 1 : 2;
    const node = new AudioWorkletNode(this.#context, "capture", {
      numberOfOutputs: 0,
      channelCount: channels,
      channelCountMode: "explicit",
      processorOptions: { channels },
    });
    const input = this.#context.createMediaStreamSource(new MediaStream([track]));
    input.connect(node);
    this.#captures.set(source, { node, source: input });
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    this.#post({ type: "sound", source, port: port2, channels }, [port2]);
  }

  endCapture(source: AudioSource): void {
    const capture = this.#captures.get(source);
    if (!capture) return;
    capture.source.disconnect();
    capture.node.port.postMessage(undefined);
    this.#captures.delete(source);
    this.#post({ type: "soundEnd", source });
  }

  close(): void {
    clearInterval(this.#ticking);
    for (const source of [...this.#captures.keys()]) this.endCapture(source);
    // Fails only when it is closed already.
    this.#context.close().catch(() => {});
  }

  async #start(): Promise<void> {
    await this.#context.audioWorklet.addModule(WORKLET_ADDRESS);
    const node = new AudioWorkletNode(this.#context, "playback", { numberOfInputs: 0, outputChannelCount: [2] });
    node.connect(this.#context.destination);
    const { port1, port2 } = new MessageChannel();
    node.port.postMessage(port1, [port1]);
    this.#post({ type: "listen", port: port2 }, [port2]);
    this.#compareClocks();
  }

  /** When what is rendered now will be heard. */
  #compareClocks(): void {
    if (this.#context.state !== "running") return;
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp();
    const hasTimestamp = contextTime !== undefined && contextTime > 0 && performanceTime !== undefined;
    const latency = this.#context.outputLatency || this.#context.baseLatency || 0;
    const contextMs = (hasTimestamp ? contextTime : this.#context.currentTime) * 1000;
    const heardMs = hasTimestamp ? performanceTime : performance.now() + latency * 1000;
    this.#post({ type: "audioClock", contextMs, unixMs: performance.timeOrigin + heardMs });
  }
}
