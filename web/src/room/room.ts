/** A room as one who looks in sees it: connects, comes back after a loss, follows who is there. No DOM. */
import { type Signal, signal } from "@preact/signals";
import { connect as connectToRelay, type Destination, namespaceKey, type Session, type SessionEnd, Unsupported } from "../moqt";
import { Participant } from "./participant";
import { askRelay, hashBytes, type Relay } from "./relay";

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
  readonly connect: (destination: Destination) => Promise<Session>;
  /** Milliseconds of a clock that does not jump. */
  readonly now: () => number;
}

/** What may be a room's name: docs/wire.md, "Scopes and names". */
export const ROOM_PATTERN = "[A-Za-z0-9_\\-]{1,64}";

/** True for a name that a room can have. */
export function isRoomName(name: string): boolean {
  return new RegExp(`^${ROOM_PATTERN}$`).test(name) && name !== "me";
}

const TICK_MS = 1000;
const RETRY_SECONDS = [1, 2, 4, 8, 10];

/** The browser's world. */
const BROWSER: RoomWorld = { ask: askRelay, connect: connectToRelay, now: () => performance.now() };

/** Ended with {@link Room.close}. */
export class Room {
  readonly connection: Signal<ConnectionState> = signal({ type: "connecting" });
  /** In the order of their names. */
  readonly participants: Signal<readonly Participant[]> = signal([]);
  /** What the relay said of itself when last asked. */
  readonly relay: Signal<Relay | undefined> = signal(undefined);

  readonly #world: RoomWorld;
  readonly #closing = new AbortController();
  readonly #byNamespace = new Map<string, Participant>();
  #session: Session | undefined;
  #hurry: () => void = () => {};

  constructor(
    readonly name: string,
    world: RoomWorld = BROWSER,
  ) {
    this.#world = world;
    const ticking = setInterval(() => {
      for (const participant of this.#byNamespace.values()) participant.tick();
    }, TICK_MS);
    this.#closing.signal.addEventListener("abort", () => clearInterval(ticking));
    void this.#run();
  }

  /** Tries at once instead of waiting on. */
  retry(): void {
    this.#hurry();
  }

  close(): void {
    this.#closing.abort();
    this.#hurry();
    this.#session?.close();
    this.#forgetAll();
  }

  async #run(): Promise<void> {
    for (let attempt = 0; !this.#closing.signal.aborted; attempt++) {
      this.connection.value = { type: "connecting" };
      let reason: string;
      try {
        const end = await this.#stay(() => (attempt = 0));
        reason = endText(end);
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        reason = error instanceof Error ? error.message : String(error);
        if (error instanceof Unsupported) {
          this.connection.value = { type: "failed", reason };
          return;
        }
      }
      this.#forgetAll();
      if (this.#closing.signal.aborted) return;
      await this.#wait(reason, RETRY_SECONDS[Math.min(attempt, RETRY_SECONDS.length - 1)] ?? 1);
    }
  }

  /** One session from its beginning to its end. */
  async #stay(connected: () => void): Promise<SessionEnd> {
    const relay = await this.#world.ask(this.#closing.signal);
    this.relay.value = relay;
    const session = await this.#world.connect({
      url: `${relay.calls}/${this.name}`,
      certificateHashes: relay.certificateHashes.map(hashBytes),
    });
    if (this.#closing.signal.aborted) session.close();
    this.#session = session;
    session.onGoAway = () => session.close();
    try {
      await this.#follow(session);
    } catch (error) {
      session.close();
      throw error;
    }
    this.connection.value = { type: "connected" };
    connected();
    return session.closed;
  }

  async #follow(session: Session): Promise<void> {
    await session.subscribeNamespace([], {
      appeared: (namespace) => {
        const key = namespaceKey(namespace);
        this.#byNamespace.get(key)?.close();
        this.#byNamespace.set(key, new Participant(session, namespace, this.#world.now));
        this.#publish();
      },
      disappeared: (namespace) => {
        const key = namespaceKey(namespace);
        this.#byNamespace.get(key)?.close();
        this.#byNamespace.delete(key);
        this.#publish();
      },
    });
  }

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

  #forgetAll(): void {
    for (const participant of this.#byNamespace.values()) participant.close();
    this.#byNamespace.clear();
    this.#publish();
  }

  #publish(): void {
    this.participants.value = [...this.#byNamespace.values()].sort((a, b) => a.name.localeCompare(b.name));
  }
}

function endText(end: SessionEnd): string {
  if (end.code === undefined) return "The connection to the relay was lost.";
  if (end.code === 0n && end.reason === "") return "The relay ended the session.";
  return `The relay ended the session: ${end.reason === "" ? `code 0x${end.code.toString(16)}` : end.reason}.`;
}
