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
  try {
    await transport.ready;
  } catch (error) {
    throw new Ended(`The relay cannot be reached at ${new URL(destination.url).host}. (${String(error)})`);
  }
  const session = new Session(transport as unknown as Carrier, config);
  await session.ready;
  return session;
}
