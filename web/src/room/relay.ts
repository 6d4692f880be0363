/** What the page asks of the relay that served it. */

/** Where calls go, and whom to trust there. */
export interface Relay {
  /** `https://host:port`; a room's path is appended. */
  readonly calls: string;
  /** Certificates to pin, as hex; empty: those that the system trusts. */
  readonly certificateHashes: readonly string[];
}

/** Asks again at every connect: the certificate changes while the relay runs. */
export async function askRelay(signal: AbortSignal): Promise<Relay> {
  const relay = (await (await answer("/api/relay", signal)).json()) as {
    calls: string;
    is_certificate_pinned: boolean;
  };
  if (!relay.is_certificate_pinned) return { calls: relay.calls, certificateHashes: [] };
  const hashes = await (await answer("/certificate.sha256", signal)).text();
  return { calls: relay.calls, certificateHashes: hashes.split("\n").filter((line) => line !== "") };
}

async function answer(path: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(path, { signal, cache: "no-store" }).catch((error: unknown) => {
    if (signal.aborted) throw error;
    throw new Error("The relay does not answer. Is it running?");
  });
  if (!response.ok) throw new Error(`The relay answered ${path} with ${response.status}.`);
  return response;
}

/** Bytes of a hash in hex. */
export function hashBytes(hex: string): Uint8Array<ArrayBuffer> {
  const pairs = hex.match(/[0-9a-f]{2}/gi) ?? [];
  return Uint8Array.from(pairs, (pair) => Number.parseInt(pair, 16));
}
