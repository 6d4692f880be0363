/** What the page and the worker of a call say to each other. Everything here can be cloned or transferred. */
import type { Codec } from "../media/format";
import type { Figures } from "../media/stats";

/** A picture of a participant. */
export type VideoSource = "camera" | "screen";
/** A sound of a participant. */
export type AudioSource = "audio" | "screen-audio";

/** Of a participant, as it says itself on its track `state`. */
export interface ParticipantState {
  /** For people. */
  readonly name: string;
  readonly isMuted: boolean;
  readonly hasCamera: boolean;
  readonly hasScreen: boolean;
  readonly hasHandUp: boolean;
  /** Codecs of video that this one can decode. */
  readonly decodes: readonly Codec[];
}

/** From the page to the worker. */
export type Command =
  | {
      readonly type: "connect";
      /** `https://host:port/<scope>`. */
      readonly url: string;
      readonly certificateHashes: readonly Uint8Array<ArrayBuffer>[];
    }
  | { readonly type: "disconnect" }
  /** Takes a seat, in this session and those after it: our namespace. Without it we only look on. */
  | { readonly type: "join"; readonly participant: string }
  | { readonly type: "leave" }
  /** Where a picture is drawn from now on; without a place it is not asked for. Every place has its own number. */
  | { readonly type: "show"; readonly place: number; readonly participant: string; readonly source: VideoSource; readonly canvas: OffscreenCanvas }
  /** Device pixels of a place; 0 when it cannot be seen. */
  | { readonly type: "size"; readonly place: number; readonly height: number }
  | { readonly type: "hide"; readonly place: number }
  /** The audio thread that plays, and how its clock stands to ours. */
  | { readonly type: "listen"; readonly port: MessagePort }
  | { readonly type: "audioClock"; readonly contextMs: number; readonly unixMs: number }
  | { readonly type: "volume"; readonly participant: string; readonly volume: number }
  /** What we publish. */
  | { readonly type: "state"; readonly state: ParticipantState }
  | { readonly type: "video"; readonly source: VideoSource; readonly frames: ReadableStream<VideoFrame>; readonly width: number; readonly height: number; readonly framerate: number }
  | { readonly type: "videoEnd"; readonly source: VideoSource }
  | { readonly type: "sound"; readonly source: AudioSource; readonly port: MessagePort; readonly channels: number }
  | { readonly type: "soundEnd"; readonly source: AudioSource };

/** Figures of one track that is received. */
export interface TrackFigures {
  readonly participant: string;
  readonly track: string;
  readonly codec: string;
  readonly figures: Figures;
  /** Of video: shown in the last second, capture to drawing (one clock only), frozen since the start. */
  readonly shownPerS?: number;
  readonly delayMs?: { readonly p50: number; readonly p95: number };
  readonly frozenMs?: number;
  readonly width?: number;
  readonly height?: number;
  /** Of sound: filled in and played since the start, delay of the buffer. */
  readonly concealedMs?: number;
  readonly playedMs?: number;
  readonly bufferMs?: number;
  /** Sound is heard so much later than its picture is seen. */
  readonly soundAfterPictureMs?: number;
}

/** Figures of one track that is sent. */
export interface SentFigures {
  readonly track: string;
  readonly codec: string;
  readonly isWanted: boolean;
  readonly kbitPerS: number;
  readonly framesPerS: number;
  readonly width?: number;
  readonly height?: number;
}

/** From the worker to the page. */
export type Report =
  | { readonly type: "connected" }
  /** Our seat is taken: the relay has agreed. */
  | { readonly type: "seated" }
  /** `isFinal`: nothing will change by itself. */
  | { readonly type: "ended"; readonly reason: string; readonly isFinal: boolean }
  | { readonly type: "joined" | "left"; readonly participant: string }
  /** What a participant publishes now. */
  | { readonly type: "sources"; readonly participant: string; readonly sources: readonly (VideoSource | AudioSource)[]; readonly problem: string | undefined }
  | { readonly type: "state"; readonly participant: string; readonly state: ParticipantState }
  /** The first frame of a picture is on its canvas. */
  | { readonly type: "shown"; readonly participant: string; readonly source: VideoSource; readonly afterMs: number; readonly width: number; readonly height: number }
  /** How loud everybody is who makes a sound, 0 to 1; ours too. */
  | { readonly type: "levels"; readonly levels: Readonly<Record<string, number>>; readonly isSpeakingMuted: boolean }
  | { readonly type: "figures"; readonly received: readonly TrackFigures[]; readonly sent: readonly SentFigures[]; readonly roundTripMs: number; readonly uplinkLoss: number }
  /** Something cannot be sent; for people. */
  | { readonly type: "problem"; readonly source: VideoSource | AudioSource; readonly message: string };

/** What the audio thread and the worker say to each other. */
export type PlaybackCommand =
  | { readonly type: "sound"; readonly source: string; readonly at: number; readonly latenessMs: number; readonly channels: readonly Float32Array<ArrayBuffer>[] }
  | { readonly type: "target"; readonly source: string; readonly delayMs: number }
  | { readonly type: "volume"; readonly source: string; readonly volume: number }
  | { readonly type: "end"; readonly source: string };

/** How every source stands that plays, some times a second. */
export interface PlaybackReport {
  /** The audio thread's clock, milliseconds. */
  readonly contextMs: number;
  readonly sources: readonly {
    readonly source: string;
    /** Media time of the next sample, in samples; `undefined` while nothing plays. */
    readonly position: number | undefined;
    readonly bufferedMs: number;
    readonly delayMs: number;
    readonly concealedMs: number;
    readonly playedMs: number;
  }[];
}

/** Ten milliseconds of a microphone. */
export interface CapturedSound {
  /** The audio thread's clock at the first sample, samples. */
  readonly frame: number;
  readonly channels: readonly Float32Array<ArrayBuffer>[];
}
