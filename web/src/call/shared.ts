/** What everybody in a call shares. */
import type { Session } from "../moqt";
import type { RoundTrip } from "./clock";
import type { Report } from "./protocol";
import type { Speaker } from "./speaker";

export interface Shared {
  readonly session: Session;
  readonly roundTrip: RoundTrip;
  readonly speaker: Speaker;
  readonly post: (report: Report) => void;
}
