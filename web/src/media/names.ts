/** The tracks a participant publishes, and the publisher priority of what they carry (docs/wire.md, "Tracks"). Pure. */

/** Namespace field of the relay's own tracks. No participant has this name. */
export const RELAY_NAMESPACE = "relay";

/** Publisher priorities within a track; lower is sent first. */
export interface Priorities {
  /** Key frames and temporal layer 0; everything, in a track without layers. */
  readonly base: number;
  readonly firstUpper: number;
  /** Temporal layer 2 and above. */
  readonly secondUpper: number;
  /** Parity of any layer. */
  readonly parity: number;
}

function all(priority: number): Priorities {
  return { base: priority, firstUpper: priority, secondUpper: priority, parity: priority };
}

/** Everything a participant publishes under its own namespace, most important first. */
export const PRIORITIES = {
  catalog: all(8),
  state: all(12),
  report: all(12),
  audio: all(16),
  "screen-audio": all(20),
  screen: { base: 48, firstUpper: 56, secondUpper: 60, parity: 120 },
  "camera-low": { base: 62, firstUpper: 78, secondUpper: 94, parity: 122 },
  camera: { base: 64, firstUpper: 80, secondUpper: 96, parity: 124 },
} as const satisfies Record<string, Priorities>;

/** A track of ours, by its name on the wire. */
export type TrackName = keyof typeof PRIORITIES;
/** Tracks of pictures. */
export type VideoName = "screen" | "camera" | "camera-low";
/** Tracks of sound. */
export type AudioName = "audio" | "screen-audio";

/** Priority of the data of a frame in this temporal layer. */
export function priorityOfLayer(priorities: Priorities, temporalLayer: number): number {
  if (temporalLayer === 0) return priorities.base;
  return temporalLayer === 1 ? priorities.firstUpper : priorities.secondUpper;
}
