/** One participant as the page shows it. */
import { computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import type { AudioSource, ParticipantState, TrackFigures, VideoSource } from "../call/protocol";

/** Speaks when it has been loud within this time, ms: words have pauses. */
const SPEAKING_MS = 600;

/** How the network carries it. */
export type Quality = "good" | "fair" | "bad";

export class Participant {
  readonly state: Signal<ParticipantState | undefined> = signal(undefined);
  readonly sources: Signal<readonly (VideoSource | AudioSource)[]> = signal([]);
  readonly problem: Signal<string | undefined> = signal(undefined);
  readonly isSpeaking: Signal<boolean> = signal(false);
  readonly volume: Signal<number> = signal(1);
  readonly figures: Signal<readonly TrackFigures[]> = signal([]);
  /** Pixels of what is drawn, once it is. */
  readonly shown: Signal<Partial<Record<VideoSource, { readonly width: number; readonly height: number }>>> = signal({});
  /** For people: what it calls itself, else what its namespace is. */
  readonly name: ReadonlySignal<string>;
  readonly quality: ReadonlySignal<Quality>;
  /** In the call, or missing since the connection was lost. */
  isMissing = false;
  #loudAt = -Infinity;
  #before: ReadonlyMap<string, { readonly frames: number; readonly lost: number }> = new Map();
  readonly #loss: Signal<number> = signal(0);

  constructor(readonly id: string) {
    this.name = computed(() => this.state.value?.name || plainName(id));
    this.quality = computed(() => {
      const late = Math.max(0, ...this.figures.value.map(({ figures }) => figures.latenessMaxMs));
      if (this.#loss.value > 0.08 || late > 400) return "bad";
      return this.#loss.value > 0.02 || late > 150 ? "fair" : "good";
    });
  }

  has(source: VideoSource | AudioSource): boolean {
    return this.sources.value.includes(source);
  }

  /** True when nothing of its microphone can be heard. */
  get isMuted(): boolean {
    return !this.has("audio") || (this.state.value?.isMuted ?? false);
  }

  /** How loud it is now, 0 when it is silent. */
  heard(level: number, now: number): void {
    if (level > 0) this.#loudAt = now;
    const isSpeaking = now - this.#loudAt < SPEAKING_MS;
    if (isSpeaking !== this.isSpeaking.value) this.isSpeaking.value = isSpeaking;
  }

  measured(figures: readonly TrackFigures[]): void {
    let frames = 0;
    let lost = 0;
    const counts = new Map<string, { frames: number; lost: number }>();
    for (const { track, figures: { counters } } of figures) {
      const before = this.#before.get(track);
      counts.set(track, { frames: counters.frames, lost: counters.framesLost });
      if (!before) continue;
      frames += counters.frames - before.frames;
      lost += counters.framesLost - before.lost;
    }
    this.#before = counts;
    const loss = frames + lost > 0 ? Math.max(lost / (frames + lost), 0) : 0;
    this.#loss.value += (loss - this.#loss.value) * 0.3;
    this.figures.value = figures;
  }
}

/** A namespace as a name: `ada-x7k2m9` is Ada, when the end is what we put there. */
function plainName(id: string): string {
  return id.replace(/-[a-z0-9]{6}$/, "") || id;
}
