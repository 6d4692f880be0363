/** A track that we publish: what its subscribers want, and how its objects leave (draft 5.1, 10.8). */
import type { RequestErrorCode } from "./error";
import type { FullTrackName } from "./name";
import { encodeDatagram, type FetchItem, type MoqtObject, type SubgroupHeader, writeSubgroupHeader, writeSubgroupObject } from "./object";
import type { Location } from "./parameters";
import { Writer } from "./vi64";

/** The past of a track as far as we have it: what a FETCH brings, ascending. */
export interface FetchAnswer {
  readonly items: readonly FetchItem[];
  /** How far the answer reaches, in the wire's form: object plus one, or 0 for the whole group. */
  readonly end: Location;
}

/** What subscribers want of a track. */
export interface PublicationHandlers {
  /** Somebody wants its objects, or nobody does any more (FORWARD). */
  readonly forward?: (isWanted: boolean) => void;
  /** Somebody cannot go on without a new group; given is the first that would do, 0 is any. */
  readonly newGroup?: (group: bigint) => void;
  /** Objects from `start` to `end` (in the wire's form) once more; refused with a code of the draft. */
  readonly fetch?: (start: Location, end: Location) => FetchAnswer | (typeof RequestErrorCode)[keyof typeof RequestErrorCode];
  /** Nobody takes it any more: the relay or the session has ended it. */
  readonly ended?: (reason: string) => void;
}

/** Where a publication's bytes go. */
export interface Outlet {
  datagram(bytes: Uint8Array<ArrayBuffer>): void;
  stream(bytes: Uint8Array<ArrayBuffer>): Promise<void>;
}

/** Of a running publication. */
export class Publication {
  #isWanted = false;
  #streams = 0n;

  constructor(
    readonly track: FullTrackName,
    readonly alias: bigint,
    readonly handlers: PublicationHandlers,
    readonly outlet: Outlet,
    /** Tells the relay, once, that no more will come. */
    readonly end: (reason?: string) => void,
  ) {}

  /** True while somebody wants the track's objects. */
  get isWanted(): boolean {
    return this.#isWanted;
  }

  /** Subgroup streams opened so far. */
  get streamCount(): bigint {
    return this.#streams;
  }

  /** What the relay says in PUBLISH_OK and REQUEST_UPDATE. */
  update(forward: boolean | undefined, newGroup: bigint | undefined): void {
    if (forward !== undefined && forward !== this.#isWanted) {
      this.#isWanted = forward;
      this.handlers.forward?.(forward);
    }
    if (newGroup !== undefined) this.handlers.newGroup?.(newGroup);
  }

  /** Sends an object as a datagram; the caller keeps it small enough and paces. Returns its bytes. */
  sendDatagram(object: MoqtObject): number {
    const bytes = encodeDatagram({ alias: this.alias, object });
    this.outlet.datagram(bytes);
    return bytes.length;
  }

  /** Sends a group of one object on a stream of its own. Resolves when the stream has taken it. */
  async sendGroup(object: MoqtObject): Promise<void> {
    this.#streams += 1n;
    const header: SubgroupHeader = {
      alias: this.alias,
      group: object.location.group,
      subgroup: object.subgroup ?? 0n,
      priority: object.priority,
      hasProperties: object.properties.length > 0,
      endsGroup: true,
      firstObject: true,
    };
    const writer = new Writer();
    writeSubgroupHeader(writer, header);
    writeSubgroupObject(writer, header, object, undefined);
    await this.outlet.stream(writer.finish());
  }
}
