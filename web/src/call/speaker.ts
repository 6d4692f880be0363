/** The way to the audio thread that plays, and its clock. */
import type { PlaybackCommand, PlaybackReport } from "./protocol";

type Reported = (report: PlaybackReport["sources"][number], contextMs: number) => void;

/** Shared by everything that is heard. Silent until the page has an audio thread. */
export class Speaker {
  readonly #sources = new Map<string, Reported>();
  readonly #volumes = new Map<string, number>();
  #port: MessagePort | undefined;
  /** Our clock less the audio thread's, when a sample leaves the loudspeaker. */
  #clockOffsetMs: number | undefined;

  /** True when somebody listens. */
  get isOn(): boolean {
    return this.#port !== undefined;
  }

  /** The audio thread to use from now on. */
  connect(port: MessagePort): void {
    this.#port?.close();
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<PlaybackReport>) => {
      for (const report of data.sources) this.#sources.get(report.source)?.(report, data.contextMs);
    };
    for (const [source, volume] of this.#volumes) this.post({ type: "volume", source, volume });
  }

  /** A sample at this moment of the audio thread is heard at that Unix time. */
  setClock(contextMs: number, unixMs: number): void {
    this.#clockOffsetMs = unixMs - performance.timeOrigin - contextMs;
  }

  /** When a sample at this moment of the audio thread is heard, by our clock. */
  heardAt(contextMs: number): number | undefined {
    return this.#clockOffsetMs === undefined ? undefined : contextMs + this.#clockOffsetMs;
  }

  add(source: string, reported: Reported): void {
    this.#sources.set(source, reported);
    const volume = this.#volumes.get(source);
    if (volume !== undefined) this.post({ type: "volume", source, volume });
  }

  remove(source: string): void {
    this.#sources.delete(source);
    this.post({ type: "end", source });
  }

  /** 0 is silent, 1 as it came. Kept for when the source comes again. */
  setVolume(source: string, volume: number): void {
    this.#volumes.set(source, volume);
    this.post({ type: "volume", source, volume });
  }

  post(command: PlaybackCommand, transfer: Transferable[] = []): void {
    this.#port?.postMessage(command, transfer);
  }

  close(): void {
    this.#port?.close();
    this.#port = undefined;
  }
}
