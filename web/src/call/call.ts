/** One call, as the worker has it: the session, the others, and what we publish. */
import type { Codec } from "../media/format";
import { RELAY_NAMESPACE } from "../media/names";
import { connect, namespace, type Namespace, namespaceText, Refused, type Session, Unsupported } from "../moqt";
import { RoundTrip } from "./clock";
import type { Command, Report, VideoSource } from "./protocol";
import { Publisher } from "./publisher";
import { Remote } from "./remote";
import { Screen } from "./screen";
import type { Shared } from "./shared";
import { Speaker } from "./speaker";

const LEVELS_MS = 100;
const FIGURES_MS = 1000;
/** Silence is told this often before nothing more is said. */
const SILENT_REPORTS = 10;

interface Place {
  readonly participant: string;
  readonly source: VideoSource;
  readonly screen: Screen;
}

/** Lives as long as its worker. */
export class Call {
  readonly #post: (report: Report) => void;
  readonly #speaker = new Speaker();
  readonly #publisher: Publisher;
  /** Where pictures are shown, in the order in which that was asked for. They outlive sessions: the picture stays. */
  readonly #places = new Map<number, Place>();
  readonly #remotes = new Map<string, Remote>();
  readonly #decodes = new Map<string, readonly Codec[]>();
  #roundTrip = new RoundTrip();
  #session: Session | undefined;
  #own: string | undefined;
  #connection = 0;
  #silentReports = SILENT_REPORTS;

  constructor(post: (report: Report) => void) {
    this.#post = (report) => {
      if (report.type === "state") this.#decodes.set(report.participant, report.state.decodes);
      post(report);
    };
    this.#publisher = new Publisher(this.#post);
    setInterval(() => this.#reportLevels(), LEVELS_MS);
    setInterval(() => this.#reportFigures(), FIGURES_MS);
  }

  obey(command: Command): void {
    switch (command.type) {
      case "connect":
        void this.#connect(command);
        return;
      case "disconnect":
        this.#disconnect();
        return;
      case "join":
        this.#own = command.participant;
        this.#remotes.get(command.participant)?.close();
        if (this.#remotes.delete(command.participant)) this.#post({ type: "left", participant: command.participant });
        for (const remote of this.#remotes.values()) remote.listen();
        if (this.#session) void this.#takeSeat(this.#session, command.participant);
        return;
      case "leave":
        this.#own = undefined;
        this.#publisher.leave();
        return;
      case "show":
        this.#show(command);
        return;
      case "size": {
        const place = this.#places.get(command.place);
        if (!place || place.screen.height === command.height) return;
        place.screen.height = command.height;
        this.#remotes.get(place.participant)?.resized(place.source);
        return;
      }
      case "hide":
        this.#hide(command.place);
        return;
      case "listen":
        this.#speaker.connect(command.port);
        return;
      case "audioClock":
        this.#speaker.setClock(command.contextMs, command.unixMs);
        return;
      case "volume":
        for (const source of ["audio", "screen-audio"]) {
          this.#speaker.setVolume(`${command.participant}/${source}`, command.volume);
        }
        return;
      case "state":
        this.#publisher.setState(command.state);
        return;
      case "video":
        void this.#publisher.addVideo(command, [...this.#decodes.values()]);
        return;
      case "videoEnd":
        this.#publisher.endVideo(command.source);
        return;
      case "sound":
        void this.#publisher.addSound(command);
        return;
      case "soundEnd":
        this.#publisher.endSound(command.source);
    }
  }

  // ---- the session

  async #connect({ url, certificateHashes }: Command & { type: "connect" }): Promise<void> {
    this.#disconnect();
    const connection = ++this.#connection;
    const isCurrent = () => connection === this.#connection;
    try {
      const began = performance.now();
      const session = await connect({ url, certificateHashes });
      if (!isCurrent()) return session.close();
      this.#session = session;
      this.#roundTrip = new RoundTrip();
      this.#roundTrip.observe(performance.now() - began);
      session.onGoAway = () => session.close();
      const shared: Shared = { session, roundTrip: this.#roundTrip, speaker: this.#speaker, post: this.#post };
      const seat = this.#own === undefined ? undefined : this.#takeSeat(session, this.#own);
      await this.#follow(shared);
      if (!isCurrent()) return;
      this.#post({ type: "connected" });
      await seat;
      const end = await session.closed;
      if (isCurrent()) this.#ended(endText(end.code, end.reason), false);
    } catch (error) {
      if (!isCurrent()) return;
      this.#ended(error instanceof Error ? error.message : String(error), error instanceof Unsupported);
    }
  }

  /** Publishes under our own namespace. */
  async #takeSeat(session: Session, participant: string): Promise<void> {
    try {
      await this.#publisher.connect(session, namespace(participant));
      if (this.#session === session) this.#post({ type: "seated" });
    } catch (error) {
      if (this.#session !== session) return;
      const why = error instanceof Error ? error.message : String(error);
      this.#ended(`The relay does not let you in: ${why}`, error instanceof Refused);
    }
  }

  /** The participants stay on the page until the page knows better. */
  #ended(reason: string, isFinal: boolean): void {
    this.#disconnect();
    this.#post({ type: "ended", reason, isFinal });
  }

  #disconnect(): void {
    this.#connection += 1;
    this.#publisher.disconnect();
    for (const remote of this.#remotes.values()) remote.close();
    this.#remotes.clear();
    this.#session?.close();
    this.#session = undefined;
  }

  async #follow(shared: Shared): Promise<void> {
    await shared.session.subscribeNamespace([], {
      appeared: (space) => this.#appeared(shared, space),
      disappeared: (space) => this.#disappeared(space),
    });
  }

  #appeared(shared: Shared, space: Namespace): void {
    const name = namespaceText(space);
    if (name === this.#own || name === RELAY_NAMESPACE || this.#session !== shared.session) return;
    this.#remotes.get(name)?.close();
    this.#post({ type: "joined", participant: name });
    const remote = new Remote(shared, space);
    this.#remotes.set(name, remote);
    if (this.#own !== undefined) remote.listen();
    for (const source of ["camera", "screen"] as const) remote.show(source, this.#screenOf(name, source));
  }

  #disappeared(space: Namespace): void {
    const name = namespaceText(space);
    const remote = this.#remotes.get(name);
    // The end of a session is not the end of everybody in it.
    if (!remote || !this.#session) return;
    remote.close();
    this.#remotes.delete(name);
    this.#decodes.delete(name);
    this.#post({ type: "left", participant: name });
  }

  #show({ place, participant, source, canvas }: Command & { type: "show" }): void {
    const screen = new Screen(canvas);
    this.#places.set(place, { participant, source, screen });
    this.#remotes.get(participant)?.show(source, screen);
  }

  /** A picture may have another place already: the last one to be shown holds. */
  #hide(number: number): void {
    const place = this.#places.get(number);
    if (!place) return;
    this.#places.delete(number);
    this.#remotes.get(place.participant)?.show(place.source, this.#screenOf(place.participant, place.source));
  }

  #screenOf(participant: string, source: VideoSource): Screen | undefined {
    return [...this.#places.values()].findLast((place) => place.participant === participant && place.source === source)?.screen;
  }

  // ---- what is told from time to time

  #reportLevels(): void {
    const levels: Record<string, number> = {};
    for (const { name, level } of this.#remotes.values()) if (level > 0) levels[name] = level;
    if (this.#own !== undefined && this.#publisher.level > 0) levels[this.#own] = this.#publisher.level;
    const { isSpeakingMuted } = this.#publisher;
    const hasLevels = isSpeakingMuted || Object.keys(levels).length > 0;
    this.#silentReports = hasLevels ? 0 : this.#silentReports + 1;
    if (this.#silentReports <= SILENT_REPORTS) this.#post({ type: "levels", levels, isSpeakingMuted });
  }

  #reportFigures(): void {
    if (!this.#session) return;
    this.#post({
      type: "figures",
      received: [...this.#remotes.values()].flatMap((remote) => remote.figures()),
      sent: this.#publisher.figures(),
      roundTripMs: this.#roundTrip.ms,
      uplinkLoss: this.#publisher.loss,
    });
  }
}

function endText(code: bigint | undefined, reason: string): string {
  if (code === undefined) return "The connection to the relay was lost.";
  if (code === 0n && reason === "") return "The relay ended the session.";
  return `The relay ended the session: ${reason === "" ? `code 0x${code.toString(16)}` : reason}.`;
}
