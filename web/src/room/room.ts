/** A room as the page shows it: connects, comes back after a loss, knows who is there. No DOM. */
import { type Signal, signal } from "@preact/signals";
import { decodable } from "../call/codecs";
import type { Report, SentFigures } from "../call/protocol";
import { listDevices, type DeviceList, watchDevices } from "../device/devices";
import { Sound } from "../device/sound";
import type { Codec } from "../media/format";
import { type Engine, startEngine } from "./engine";
import { Own } from "./own";
import { Participant } from "./participant";
import { askRelay, hashBytes, type Relay } from "./relay";
import type { Settings } from "./settings";

/** How it stands with the connection. */
export type ConnectionState =
  | { readonly type: "connecting" }
  | { readonly type: "connected" }
  /** Lost or never had; tried again by itself. */
  | { readonly type: "waiting"; readonly reason: string; readonly seconds: number }
  /** Nothing will change by itself. */
  | { readonly type: "failed"; readonly reason: string };

/** What a room needs from outside; tests bring their own. */
export interface RoomWorld {
  readonly ask: (signal: AbortSignal) => Promise<Relay>;
  readonly start: () => Engine;
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number;
}

/** What we send, and how it arrives. */
export interface OwnFigures {
  readonly sent: readonly SentFigures[];
  readonly roundTripMs: number;
  readonly uplinkLoss: number;
}

/** What may be a room's name: docs/wire.md, "Scopes and names". */
export const ROOM_PATTERN = "[A-Za-z0-9_\\-]{1,64}";

/** True for a name that a room can have. */
export function isRoomName(name: string): boolean {
  return new RegExp(`^${ROOM_PATTERN}$`).test(name) && name !== "me";
}

const RETRY_SECONDS = [1, 2, 4, 8, 10];
/** Who was there before a loss and is not after it, for so long, has left. */
const MISSING_MS = 3000;

/** The browser's world. */
const BROWSER: RoomWorld = { ask: askRelay, start: startEngine, now: () => performance.now() };

/** Ended with {@link Room.close}. */
export class Room {
  readonly connection: Signal<ConnectionState> = signal({ type: "connecting" });
  /** In the order in which they came. */
  readonly participants: Signal<readonly Participant[]> = signal([]);
  /** What the relay said of itself when last asked. */
  readonly relay: Signal<Relay | undefined> = signal(undefined);
  /** Before the call, in it, or after it. */
  readonly stage: Signal<"before" | "in" | "left"> = signal("before");
  /** True when the browser wants a click before anything may be heard. */
  readonly isSilenced: Signal<boolean> = signal(false);
  readonly devices: Signal<DeviceList> = signal({ cameras: [], microphones: [], speakers: [] });
  readonly figures: Signal<OwnFigures> = signal({ sent: [], roundTripMs: 0, uplinkLoss: 0 });
  /** From the click on "join" to the first picture of somebody else, ms. */
  readonly joinMs: Signal<number | undefined> = signal(undefined);
  readonly own: Own;

  readonly #world: RoomWorld;
  readonly #settings: Settings;
  readonly #engine: Engine;
  readonly #sound: Sound;
  readonly #decodes: Signal<readonly Codec[]> = signal([]);
  readonly #closing = new AbortController();
  readonly #byId = new Map<string, Participant>();
  readonly #forget: (() => void)[] = [];
  #hurry: () => void = () => {};
  #sessionEnded: (end: { reason: string; isFinal: boolean }) => void = () => {};
  #joinedAt: number | undefined;
  #places = 0;

  constructor(
    readonly name: string,
    settings: Settings,
    world: RoomWorld = BROWSER,
  ) {
    this.#world = world;
    this.#settings = settings;
    this.#engine = world.start();
    this.#engine.onReport = (report) => this.#reported(report);
    this.#sound = new Sound(this.#engine.post);
    this.#sound.onChange = () => (this.isSilenced.value = !this.#sound.isAllowed);
    this.isSilenced.value = !this.#sound.isAllowed;
    this.own = new Own(this.#engine.post, this.#sound, settings, this.#decodes);
    void decodable().then((codecs) => (this.#decodes.value = codecs));
    this.#forget.push(watchDevices(() => void this.refreshDevices()));
    void this.refreshDevices();
    void this.#run();
  }

  /** Takes a seat, with whatever devices are open. */
  join(): void {
    if (this.stage.value === "in") return;
    this.#joinedAt = this.#world.now();
    this.stage.value = "in";
    void this.allowSound();
    this.#engine.post({ type: "join", participant: seat(this.#settings.choices.peek().name) });
    this.own.publish();
  }

  /** Gives the seat up for good. */
  leave(): void {
    this.close();
    this.stage.value = "left";
  }

  /** Tries at once instead of waiting on. */
  retry(): void {
    this.#hurry();
  }

  /** To be called from a click. */
  async allowSound(): Promise<void> {
    await this.#sound.allow();
  }

  async setSpeaker(id: string): Promise<void> {
    this.#settings.set({ speaker: id });
    await this.#sound.setOutput(id);
  }

  setVolume(participant: Participant, volume: number): void {
    participant.volume.value = volume;
    this.#engine.post({ type: "volume", participant: participant.id, volume });
  }

  async refreshDevices(): Promise<void> {
    this.devices.value = await listDevices();
  }

  /** Has a picture drawn on a canvas of the page; returns what ends that, and what tells its size in device pixels. */
  show(participant: Participant, source: "camera" | "screen", canvas: OffscreenCanvas) {
    const place = ++this.#places;
    this.#engine.post({ type: "show", place, participant: participant.id, source, canvas }, [canvas]);
    return {
      resize: (height: number) => this.#engine.post({ type: "size", place, height }),
      close: () => this.#engine.post({ type: "hide", place }),
    };
  }

  close(): void {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#hurry();
    this.own.close();
    this.#sound.close();
    for (const forget of this.#forget) forget();
    this.#engine.post({ type: "leave" });
    this.#engine.post({ type: "disconnect" });
    this.#engine.close();
  }

  // ---- the connection

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      this.connection.value = { type: "connecting" };
      let reason: string;
      try {
        const end = await this.#stay(() => (attempt = 0));
        if (this.#closing.signal.aborted) return;
        ({ reason } = end);
        if (end.isFinal) {
          this.connection.value = { type: "failed", reason };
          return;
        }
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        reason = error instanceof Error ? error.message : String(error);
      }
      for (const participant of this.#byId.values()) participant.isMissing = true;
      await this.#wait(reason, RETRY_SECONDS[Math.min(attempt, RETRY_SECONDS.length - 1)] ?? 1);
    }
  }

  /** One session from its beginning to its end. */
  async #stay(connected: () => void): Promise<{ reason: string; isFinal: boolean }> {
    const relay = await this.#world.ask(this.#closing.signal);
    this.relay.value = relay;
    const ended = new Promise<{ reason: string; isFinal: boolean }>((resolve) => (this.#sessionEnded = resolve));
    this.#connected = connected;
    const certificateHashes = relay.certificateHashes.map(hashBytes);
    this.#engine.post({ type: "connect", url: `${relay.calls}/${this.name}`, certificateHashes });
    return ended;
  }

  #connected: () => void = () => {};

  async #wait(reason: string, seconds: number): Promise<void> {
    this.connection.value = { type: "waiting", reason, seconds };
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = () => {};
  }

  // ---- what the worker says

  #reported(report: Report): void {
    switch (report.type) {
      case "connected":
        this.connection.value = { type: "connected" };
        this.#connected();
        setTimeout(() => this.#forgetMissing(), MISSING_MS);
        return;
      case "seated":
        return;
      case "ended":
        this.#sessionEnded(report);
        return;
      case "joined":
        this.#participant(report.participant).isMissing = false;
        return;
      case "left":
        this.#byId.delete(report.participant);
        this.#publish();
        return;
      case "sources": {
        const participant = this.#participant(report.participant);
        participant.sources.value = report.sources;
        participant.problem.value = report.problem;
        return;
      }
      case "state":
        this.#participant(report.participant).state.value = report.state;
        return;
      case "shown": {
        const { width, height, source } = report;
        const participant = this.#participant(report.participant);
        participant.shown.value = { ...participant.shown.value, [source]: { width, height } };
        if (this.#joinedAt !== undefined) this.joinMs.value ??= Math.round(this.#world.now() - this.#joinedAt);
        return;
      }
      case "levels": {
        const now = this.#world.now();
        for (const participant of this.#byId.values()) participant.heard(report.levels[participant.id] ?? 0, now);
        const others = new Set(this.#byId.keys());
        this.own.isSpeaking.value = Object.keys(report.levels).some((id) => !others.has(id));
        this.own.isSpeakingMuted.value = report.isSpeakingMuted;
        return;
      }
      case "figures": {
        const { sent, roundTripMs, uplinkLoss } = report;
        this.figures.value = { sent, roundTripMs, uplinkLoss };
        for (const participant of this.#byId.values()) {
          participant.measured(report.received.filter((figures) => figures.participant === participant.id));
        }
        return;
      }
      case "problem":
        this.own.failed(report.source, report.message);
    }
  }

  #participant(id: string): Participant {
    const known = this.#byId.get(id);
    if (known) return known;
    const participant = new Participant(id);
    this.#byId.set(id, participant);
    this.#publish();
    return participant;
  }

  /** After a loss: who has not come back has left. */
  #forgetMissing(): void {
    if (this.connection.value.type !== "connected") return;
    for (const [id, { isMissing }] of this.#byId) if (isMissing) this.#byId.delete(id);
    this.#publish();
  }

  #publish(): void {
    this.participants.value = [...this.#byId.values()];
  }
}

/** A namespace of our own: the name as far as it can stand there, and what makes it ours alone. */
function seat(name: string): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789";
  const plain = name.normalize("NFKD").replaceAll(/[^A-Za-z0-9_]+/g, "-").replaceAll(/^-+|-+$/g, "").slice(0, 40).toLowerCase();
  const random = [...crypto.getRandomValues(new Uint8Array(6))].map((byte) => letters[byte % letters.length]).join("");
  return `${plain || "guest"}-${random}`;
}
