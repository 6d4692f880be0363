/** Shows one track of video: decodes, waits for the right moment, draws. */
import type { CatalogTrack } from "../media/catalog";
import { Gate } from "../media/gate";
import { Playout } from "../media/playout";
import type { ReceivedFrame } from "../media/reassemble";
import { now, unixUs } from "./clock";
import type { Screen } from "./screen";

/** Frames that may be in the decoder; with more it is too slow for them, and begins anew. */
const DECODING_MAX = 60;
/** Decoded frames that may wait; the decoder has only so many. */
const WAITING_MAX = 6;
/** Video leads sound by no more than this. */
const LEAD_MAX_MS = 40;
/** Nothing waits longer. */
const WAIT_MAX_MS = 1000;
/** A picture that stands longer than this is frozen. */
const FREEZE_MS = 200;
/** Frames whose way from camera to canvas is remembered. */
const DELAYS = 300;

/** VP8 knows no other colours (RFC 6386, 9.2); Chromium (156) takes them for those of HD. */
const VP8_COLORS: VideoColorSpaceInit = { primaries: "smpte170m", transfer: "smpte170m", matrix: "smpte170m", fullRange: false };

/** What it needs of others. */
export interface VideoHooks {
  /** Nothing can be decoded before a key frame. */
  readonly needsKey: () => void;
  /** When sound of this capture time (Unix ms of the publisher) is heard, by our clock; `undefined` when none is. */
  readonly heardAt: (captureMs: number) => number | undefined;
  /** A frame of this capture time is drawn; true when it may be. */
  readonly mayDraw: (captureMs: number) => boolean;
  readonly drawn: (width: number, height: number) => void;
}

interface Waiting {
  readonly frame: VideoFrame;
  readonly due: number;
}

/** Ended with {@link VideoPlayer.close}. */
export class VideoPlayer {
  readonly #track: CatalogTrack;
  readonly #hooks: VideoHooks;
  readonly #gate: Gate;
  readonly #playout = new Playout();
  readonly #screen: Screen;
  #decoder: VideoDecoder | undefined;
  /** When frames in the decoder are due, by their time stamps. */
  readonly #due = new Map<number, number>();
  #waiting: Waiting[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #delays: number[] = [];
  #drawnAt: number | undefined;
  #frozenMs = 0;
  /** How much later than its picture sound is heard, smoothed. */
  #soundAfterMs: number | undefined;
  #shown: number[] = [];
  #isClosed = false;

  constructor(track: CatalogTrack, screen: Screen, hooks: VideoHooks) {
    this.#track = track;
    this.#screen = screen;
    this.#hooks = hooks;
    this.#gate = new Gate(track.temporalLayers);
  }

  /** A frame in decode order, so much later than the fastest. */
  frame(frame: ReceivedFrame, latenessMs: number): void {
    if (this.#isClosed) return;
    this.#playout.observe(now(), latenessMs);
    const verdict = this.#gate.check(frame.isKey, frame.marking);
    if (verdict === "skipAndAsk") this.#hooks.needsKey();
    if (verdict !== "decode") return;
    const decoder = this.#ready(frame.isKey);
    if (!decoder) return;
    const timestamp = this.#captureUs(frame);
    const wait = this.#playout.delayMs - latenessMs;
    const heard = this.#hooks.heardAt(timestamp / 1000);
    const due = Math.max(now() + wait, heard === undefined ? 0 : heard - LEAD_MAX_MS);
    this.#due.set(timestamp, Math.min(due, now() + WAIT_MAX_MS));
    decoder.decode(new EncodedVideoChunk({ type: frame.isKey ? "key" : "delta", timestamp, data: frame.data }));
  }

  /** Frames are missing before the next. */
  gap(): void {
    this.#gate.gap();
  }

  figures() {
    const sorted = [...this.#delays].sort((a, b) => a - b);
    const part = (share: number) => Math.round((sorted[Math.floor(sorted.length * share)] ?? 0) * 10) / 10;
    const time = now();
    this.#shown = this.#shown.filter((at) => time - at <= 1000);
    return {
      shownPerS: this.#shown.length,
      delayMs: { p50: part(0.5), p95: part(0.95) },
      frozenMs: Math.round(this.#frozenMs),
      ...(this.#soundAfterMs !== undefined && { soundAfterPictureMs: Math.round(this.#soundAfterMs) }),
    };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const { frame } of this.#waiting) frame.close();
    this.#waiting = [];
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
  }

  /** Unix microseconds where the catalog tells, else the track's own. */
  #captureUs({ timestamp, timescale }: ReceivedFrame): number {
    const { clock, format } = this.#track;
    if (clock.type === "unix") return timestamp;
    return (clock.zeroUnixUs ?? 0) + Math.round((timestamp * 1_000_000) / (timescale ?? format.timescale));
  }

  /** A decoder that takes the next frame; `undefined` when only a key frame would do. */
  #ready(isKey: boolean): VideoDecoder | undefined {
    if (this.#decoder && this.#decoder.decodeQueueSize > DECODING_MAX) this.#reset();
    if (this.#decoder?.state === "configured") return this.#decoder;
    if (!isKey) {
      this.#gate.reset();
      this.#hooks.needsKey();
      return undefined;
    }
    const { codec, codecString, shape, config } = this.#track.format;
    if (shape.type !== "video") return undefined;
    const decoder = new VideoDecoder({
      output: (frame) => this.#decoded(frame),
      error: () => this.#reset(),
    });
    decoder.configure({
      codec: codecString,
      codedWidth: shape.width,
      codedHeight: shape.height,
      optimizeForLatency: true,
      ...(codec === "vp8" && { colorSpace: VP8_COLORS }),
      ...(config.length > 0 && { description: config }),
    });
    this.#decoder = decoder;
    return decoder;
  }

  /** The decoder has failed or cannot keep up. */
  #reset(): void {
    if (this.#decoder && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = undefined;
    this.#due.clear();
    if (this.#isClosed) return;
    this.#gate.reset();
    this.#hooks.needsKey();
  }

  #decoded(frame: VideoFrame): void {
    const due = this.#due.get(frame.timestamp) ?? now();
    this.#due.delete(frame.timestamp);
    if (this.#isClosed) return frame.close();
    this.#waiting.push({ frame, due });
    // What the decoder has not given out of these is lost in it.
    if (this.#due.size > DECODING_MAX * 2) this.#due.clear();
    this.#draw();
  }

  /** Draws the newest frame that is due; those before it are past. */
  #draw(): void {
    clearTimeout(this.#timer);
    const time = now() + 1;
    let newest: VideoFrame | undefined;
    while (this.#waiting[0] && (this.#waiting[0].due <= time || this.#waiting.length > WAITING_MAX)) {
      newest?.close();
      newest = this.#waiting.shift()?.frame;
    }
    if (newest) this.#paint(newest);
    const next = this.#waiting[0];
    if (next) this.#timer = setTimeout(() => this.#draw(), Math.max(next.due - now(), 0));
  }

  #paint(frame: VideoFrame): void {
    const captureMs = frame.timestamp / 1000;
    if (this.#hooks.mayDraw(captureMs)) {
      this.#screen.draw(frame);
      const time = now();
      const stood = time - (this.#drawnAt ?? time);
      if (stood > FREEZE_MS) this.#frozenMs += stood;
      this.#drawnAt = time;
      const heard = this.#hooks.heardAt(captureMs);
      if (heard !== undefined) this.#soundAfterMs = (this.#soundAfterMs ?? heard - time) * 0.9 + (heard - time) * 0.1;
      this.#shown.push(time);
      this.#delays.push(unixUs(time) / 1000 - captureMs);
      if (this.#delays.length > DELAYS) this.#delays.shift();
      this.#hooks.drawn(frame.displayWidth, frame.displayHeight);
    }
    frame.close();
  }
}
