/** How loud sound is, and whether it may be speech. Pure. */
import type { AudioLevel } from "./loc";

/** A frame this much above the background is taken for speech. */
const ABOVE_NOISE_DB = 9;
/** Below this nothing is. */
const VOICE_MIN_DB = -55;
/** The background rises by no more than this a frame, and falls at once. */
const NOISE_RISE_DB = 0.05;

/** Decibels relative to full scale, -127 to 0. */
export function decibels(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const power = sum / Math.max(samples.length, 1);
  return power <= 0 ? -127 : Math.min(Math.max(10 * Math.log10(power), -127), 0);
}

/** Measures one source of sound, frame by frame. */
export class LevelMeter {
  #noiseDb = -60;

  measure(samples: Float32Array): AudioLevel {
    const db = decibels(samples);
    this.#noiseDb = Math.min(db, this.#noiseDb + NOISE_RISE_DB);
    const isVoice = db > VOICE_MIN_DB && db > this.#noiseDb + ABOVE_NOISE_DB;
    return { isVoice, belowOverloadDb: Math.round(-db) };
  }
}
