/** What was sent last, for those who miss some of it (docs/wire.md, "Repair"). Pure; times are milliseconds. */
import type { FetchAnswer, FetchItem, MoqtObject } from "../moqt";
import { after, at, before, compare, earlier, fromWire, GROUP_END, isBefore, later, type Location, toWire } from "./location";

/** How long objects are kept. */
export const KEPT_MS = 2000;

/** Remembers the objects of one track. */
export class Sent {
  #objects: { readonly location: Location; readonly object: MoqtObject; readonly sentAt: number }[] = [];
  /** Everything from here on is kept. */
  #keptFrom: Location | undefined;
  #asked = 0;

  /** Remembers an object, a status object included. They come in order. */
  push(now: number, object: MoqtObject): void {
    const location = fromWire(object.location);
    if (!location) return;
    this.#keptFrom ??= location;
    this.#objects.push({ location, object, sentAt: now });
    const kept = this.#objects.findIndex(({ sentAt }) => now - sentAt <= KEPT_MS);
    if (kept <= 0) return;
    this.#keptFrom = this.#objects[kept]?.location;
    this.#objects.splice(0, kept);
  }

  /** The largest location sent. */
  get largest(): Location | undefined {
    return this.#objects.at(-1)?.location;
  }

  /** Objects that were asked for since the last time: what the relay misses. */
  takeAsked(): number {
    const asked = this.#asked;
    this.#asked = 0;
    return asked;
  }

  /** The answer to a FETCH; `undefined` when it lies behind everything that was sent. */
  answer(wireStart: MoqtObject["location"], wireEnd: MoqtObject["location"]): FetchAnswer | undefined {
    const start = fromWire(wireStart) ?? at(0, 0);
    const asked = fromWire(wireEnd);
    // Object 0 is the whole group, any other is one beyond the last.
    const last = asked && (asked.object === 0 ? at(asked.group, GROUP_END) : at(asked.group, asked.object - 1));
    const { largest } = this;
    const keptFrom = this.#keptFrom;
    if (!largest || !keptFrom || isBefore(largest, start)) return undefined;
    const end = last ? earlier(last, largest) : largest;
    const items: FetchItem[] = [];
    if (isBefore(start, keptFrom)) {
      items.push({ type: "unknown", end: toWire(earlier(end, before(keptFrom) ?? keptFrom)) });
    }
    const from = later(start, keptFrom);
    for (const { location, object } of this.#objects) {
      if (isBefore(location, from) || compare(location, end) > 0 || object.status !== "normal") continue;
      items.push({ type: "object", object: { ...object, endsGroup: false } });
      this.#asked += 1;
    }
    const beyond = after(end);
    return { items, end: toWire(beyond.group === end.group ? beyond : at(end.group, 0)) };
  }
}
