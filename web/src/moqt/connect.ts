/** Opens a session to a relay from a browser. */
import { Ended } from "./error";
import { type Carrier, PROTOCOL, Session, type SessionConfig } from "./session";

/** Where and how to connect. */
export interface Destination {
  /** `https://host:port/<scope>`. */
  readonly url: string;
  /** SHA-256 of the certificates to trust; empty: those that the system trusts. */
  readonly certificateHashes: readonly Uint8Array<ArrayBuffer>[];
}

/** This browser cannot make calls here; `message` says what would help. */
export class Unsupported extends Error {
  override readonly name = "Unsupported";
}

/** A network that blocks UDP says nothing at all: told after so long, instead of after the browser's own half minute. */
const SILENCE_MS = 3000;
/** Datagrams that wait for our thread, and how long one is of any use. */
const WAITING_DATAGRAMS = 1024;
const INCOMING_AGE_MS = 1000;
const OUTGOING_AGE_MS = 500;

class Silent extends Error {}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Silent()), SILENCE_MS);
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
  }
}

/** Not every browser has all of these. */
function setQueues(datagrams: object): void {
  const wanted = {
    incomingHighWaterMark: WAITING_DATAGRAMS,
    outgoingHighWaterMark: WAITING_DATAGRAMS,
    incomingMaxAge: INCOMING_AGE_MS,
    outgoingMaxAge: OUTGOING_AGE_MS,
  };
  for (const [name, value] of Object.entries(wanted)) if (name in datagrams) Object.assign(datagrams, { [name]: value });
}

/** Connects; resolves when the relay has answered with its SETUP. */
export async function connect(destination: Destination, config: SessionConfig = {}): Promise<Session> {
  if (!globalThis.isSecureContext) {
    throw new Unsupported("Calls need a secure page. Open it as https:// or at localhost.");
  }
  if (typeof WebTransport === "undefined") {
    throw new Unsupported("This browser has no WebTransport. Chrome, Edge, Firefox and Safari have it when up to date.");
  }
  const transport = new WebTransport(destination.url, {
    // The two do not go together: a connection to a pinned server cannot be shared.
    ...(destination.certificateHashes.length > 0 && {
      serverCertificateHashes: destination.certificateHashes.map((value) => ({ algorithm: "sha-256", value })),
    }),
    congestionControl: "low-latency",
    // Not yet in every DOM library, ignored by browsers that do not know it.
    protocols: [PROTOCOL],
  } as WebTransportOptions);
  // Both are told through `ready`; unhandled they would be logged as if something had been forgotten.
  transport.closed.catch(() => {});
  const { host } = new URL(destination.url);
  try {
    await inTime(transport.ready);
  } catch (error) {
    if (!(error instanceof Silent)) throw new Ended(`The relay cannot be reached at ${host}. (${String(error)})`);
    transport.close();
    throw new Ended(
      `Nothing comes back from ${host} over UDP. A firewall on the way may block it: try another network, ` +
        "or ask whoever runs this one to allow UDP to that port.",
    );
  }
  setQueues(transport.datagrams);
  const session = new Session(transport as unknown as Carrier, config);
  await session.ready;
  return session;
}
