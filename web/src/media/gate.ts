/** Which frames of video can be decoded after some were lost (docs/wire.md, frame marking). Pure. */
import type { FrameMarking } from "./loc";

/** What to do with a frame: decode it, leave it out, or leave it out and ask for a key frame. */
export type Verdict = "decode" | "skip" | "skipAndAsk";

/** Follows the frames of one track in decode order. */
export class Gate {
  /** True while nothing but a key frame can be decoded. */
  #needsKey = true;
  /** True when something has been lost since the last frame that was decoded. */
  #hasGap = false;
  /** TL0PICIDX of the last frame of the base layer. */
  #baseIndex = 0;
  /** True while frames of upper layers may miss what they depend on. */
  #upperIsBroken = false;

  constructor(readonly temporalLayers: number) {}

  /** Frames are missing before the next one. */
  gap(): void {
    this.#hasGap = true;
  }

  /** The decoder has forgotten everything. */
  reset(): void {
    this.#needsKey = true;
  }

  get needsKey(): boolean {
    return this.#needsKey;
  }

  /** May the next frame be decoded? */
  check(isKey: boolean, marking: FrameMarking | undefined): Verdict {
    const hadGap = this.#hasGap;
    this.#hasGap = false;
    const base = marking?.baseLayerIndex ?? 0;
    if (isKey) {
      this.#needsKey = false;
      this.#upperIsBroken = false;
      this.#baseIndex = base;
      return "decode";
    }
    if (this.#needsKey) return "skipAndAsk";
    // Without layers every frame depends on the one before.
    if (this.temporalLayers < 2 || !marking) return hadGap ? this.#broken() : "decode";
    if (marking.temporalLayer === 0) {
      if (base !== ((this.#baseIndex + 1) & 0xff)) return this.#broken();
      this.#baseIndex = base;
      if (hadGap) this.#upperIsBroken = true;
      return "decode";
    }
    if (base !== this.#baseIndex) return this.#broken();
    this.#upperIsBroken ||= hadGap;
    if (marking.isBaseLayerSync) this.#upperIsBroken = false;
    return this.#upperIsBroken ? "skip" : "decode";
  }

  #broken(): Verdict {
    this.#needsKey = true;
    return "skipAndAsk";
  }
}
