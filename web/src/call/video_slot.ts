/** One picture of a participant: takes the layer that its place on the page is worth, and changes it without a gap. */
import type { CatalogTrack } from "../media/catalog";
import { isSameFormat } from "../media/format";
import { fullTrackName, type Namespace, namespaceText } from "../moqt";
import { now } from "./clock";
import type { TrackFigures, VideoSource } from "./protocol";
import { Receiver } from "./receiver";
import type { Screen } from "./screen";
import type { Shared } from "./shared";
import { VideoPlayer } from "./video_player";

/** A frame waits no longer than this for one before it. */
const VIDEO_WAIT_MIN_MS = 120;
const VIDEO_WAIT_MAX_MS = 400;
/** A layer is enough when it has this part of the lines of its place. */
const ENOUGH = 0.75;
/** The upper layer is left when more of its frames than this are lost, and tried again after a while. */
const LOSS_MAX = 0.1;
const LOSS_LOOKED_AT_MS = 2000;
const UPPER_AGAIN_MS = 15_000;
/** So far back it is another time line: a film that began again. */
const OTHER_TIME_MS = 5000;
const SUBSCRIBER_PRIORITY: Record<VideoSource, number> = { screen: 96, camera: 128 };

interface Pipeline {
  readonly track: CatalogTrack;
  readonly receiver: Receiver;
  readonly player: VideoPlayer;
  readonly began: number;
}

/** Ended with {@link VideoSlot.close}. */
export class VideoSlot {
  readonly #shared: Shared;
  readonly #namespace: Namespace;
  readonly #source: VideoSource;
  readonly #heardAt: (captureMs: number) => number | undefined;
  #offered: readonly CatalogTrack[] = [];
  #screen: Screen | undefined;
  /** What is drawn, and what takes its place with its first picture. */
  #current: Pipeline | undefined;
  #next: Pipeline | undefined;
  #drawnMs = -Infinity;
  #size: { readonly width: number; readonly height: number } | undefined;
  /** No upper layer until then: the network does not bear it. */
  #lowUntil = -Infinity;
  #checked: { readonly at: number; readonly frames: number; readonly lost: number } | undefined;

  constructor(
    shared: Shared,
    namespace: Namespace,
    source: VideoSource,
    heardAt: (captureMs: number) => number | undefined,
  ) {
    this.#shared = shared;
    this.#namespace = namespace;
    this.#source = source;
    this.#heardAt = heardAt;
  }

  /** The layers that there are now; none when the picture is off. */
  offer(tracks: readonly CatalogTrack[]): void {
    this.#offered = [...tracks].sort((a, b) => heightOf(a) - heightOf(b));
    this.select();
  }

  /** Where it is shown. */
  show(screen: Screen | undefined): void {
    if (this.#screen === screen) return;
    this.#screen = screen;
    this.#end();
    this.select();
  }

  /** Takes the layer that is right now. */
  select(): void {
    const wanted = this.#wanted();
    const screen = this.#screen;
    const running = this.#next ?? this.#current;
    if (!wanted || !screen) {
      this.#end();
      return;
    }
    if (running && isSame(running.track, wanted)) return;
    if (this.#next) this.#endPipeline(this.#next);
    this.#next = undefined;
    if (this.#current && isSame(this.#current.track, wanted)) return;
    const pipeline = this.#begin(wanted, screen);
    if (this.#current) this.#next = pipeline;
    else this.#current = pipeline;
  }

  figures(): TrackFigures[] {
    this.#checkLoss();
    return [this.#current, this.#next]
      .filter((pipeline) => pipeline !== undefined)
      .map(({ track, receiver, player }) => ({
        participant: namespaceText(this.#namespace),
        track: track.name,
        codec: track.format.codecString,
        figures: receiver.figures(),
        ...player.figures(),
        ...this.#size,
      }));
  }

  close(): void {
    this.#screen = undefined;
    this.#end();
  }

  #wanted(): CatalogTrack | undefined {
    const height = this.#screen?.height ?? 0;
    if (height === 0) return undefined;
    if (now() < this.#lowUntil) return this.#offered[0];
    return this.#offered.find((track) => heightOf(track) >= height * ENOUGH) ?? this.#offered.at(-1);
  }

  #begin(track: CatalogTrack, screen: Screen): Pipeline {
    const waitMs = Math.min(Math.max(this.#shared.roundTrip.ms * 2 + 60, VIDEO_WAIT_MIN_MS), VIDEO_WAIT_MAX_MS);
    const config = { waitMs, frameLength: undefined, joins: true, subscriberPriority: SUBSCRIBER_PRIORITY[this.#source] };
    const player = new VideoPlayer(track, screen, {
      needsKey: () => receiver.askForNewGroup(),
      heardAt: this.#heardAt,
      mayDraw: (captureMs) => this.#mayDraw(pipeline, captureMs),
      drawn: (width, height) => this.#drawn(pipeline, width, height),
    });
    const receiver: Receiver = new Receiver(
      this.#shared.session,
      fullTrackName(this.#namespace, track.name),
      config,
      this.#shared.roundTrip,
      { frame: (frame, latenessMs) => player.frame(frame, latenessMs), gap: () => player.gap() },
    );
    const pipeline: Pipeline = { track, receiver, player, began: now() };
    return pipeline;
  }

  /** Nothing older than what is there; and what is there ends with the first picture of what comes next. */
  #mayDraw(pipeline: Pipeline, captureMs: number): boolean {
    if (captureMs < this.#drawnMs && captureMs > this.#drawnMs - OTHER_TIME_MS) return false;
    if (pipeline === this.#next) {
      if (this.#current) this.#endPipeline(this.#current);
      this.#current = pipeline;
      this.#next = undefined;
    }
    this.#drawnMs = captureMs;
    return true;
  }

  #drawn(pipeline: Pipeline, width: number, height: number): void {
    if (this.#size?.width === width && this.#size.height === height) return;
    this.#size = { width, height };
    const afterMs = now() - pipeline.began;
    const participant = namespaceText(this.#namespace);
    this.#shared.post({ type: "shown", participant, source: this.#source, afterMs, width, height });
  }

  /** Too much of an upper layer that is lost takes the network from everything else. */
  #checkLoss(): void {
    const lowest = this.#offered[0];
    if (this.#lowUntil > -Infinity && now() >= this.#lowUntil) {
      this.#lowUntil = -Infinity;
      this.select();
    }
    if (!this.#current || !lowest || isSame(this.#current.track, lowest)) {
      this.#checked = undefined;
      return;
    }
    const { frames, framesLost: lost } = this.#current.receiver.figures().counters;
    const before = this.#checked ?? { at: now(), frames, lost };
    this.#checked = before;
    if (now() - before.at < LOSS_LOOKED_AT_MS) return;
    this.#checked = { at: now(), frames, lost };
    const all = frames - before.frames + lost - before.lost;
    if (all < 20 || (lost - before.lost) / all < LOSS_MAX) return;
    this.#lowUntil = now() + UPPER_AGAIN_MS;
    this.select();
  }

  #end(): void {
    for (const pipeline of [this.#current, this.#next]) if (pipeline) this.#endPipeline(pipeline);
    this.#current = undefined;
    this.#next = undefined;
    this.#size = undefined;
    this.#drawnMs = -Infinity;
  }

  #endPipeline({ receiver, player }: Pipeline): void {
    receiver.close();
    player.close();
  }
}

function heightOf({ format: { shape } }: CatalogTrack): number {
  return shape.type === "video" ? shape.height : 0;
}

function isSame(a: CatalogTrack, b: CatalogTrack): boolean {
  return a.name === b.name && a.temporalLayers === b.temporalLayers && isSameFormat(a.format, b.format);
}
