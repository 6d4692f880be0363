/** What goes wrong, and the draft's codes for it. */

/** Why a session ends (draft 3.5). */
export const SessionErrorCode = {
  noError: 0x0n,
  internalError: 0x1n,
  unauthorized: 0x2n,
  protocolViolation: 0x3n,
  invalidRequestId: 0x4n,
  duplicateTrackAlias: 0x5n,
  keyValueFormattingError: 0x6n,
  invalidPath: 0x8n,
  malformedPath: 0x9n,
  goAwayTimeout: 0x10n,
  controlMessageTimeout: 0x11n,
  malformedAuthority: 0x1an,
} as const;

/** Why a request is refused (draft 10.6). */
export const RequestErrorCode = {
  internalError: 0x0n,
  unauthorized: 0x1n,
  timeout: 0x2n,
  notSupported: 0x3n,
  goingAway: 0x6n,
  excessiveLoad: 0x9n,
  doesNotExist: 0x10n,
  invalidRange: 0x11n,
  malformedTrack: 0x12n,
  duplicateSubscription: 0x19n,
  uninterested: 0x20n,
  prefixOverlap: 0x30n,
  invalidJoiningRequestId: 0x32n,
  redirect: 0x34n,
} as const;

/** Why a stream is reset or stopped (draft 3.3.3). WebTransport carries them as numbers. */
export const StreamResetCode = { internalError: 0x0, cancelled: 0x1, sessionClosed: 0x3 } as const;

/** The peer broke the protocol: the session ends with this code. */
export class Violation extends Error {
  override readonly name = "Violation";

  constructor(
    message: string,
    /** One of {@link SessionErrorCode}. */
    readonly code: bigint = SessionErrorCode.protocolViolation,
  ) {
    super(message);
  }
}

/** The peer refused a request (REQUEST_ERROR); the session goes on. */
export class Refused extends Error {
  override readonly name = "Refused";

  constructor(
    /** One of {@link RequestErrorCode}, or a number this draft does not know. */
    readonly code: bigint,
    /** What the peer says about it. */
    readonly reason: string,
    /** When the same request may be tried again, milliseconds; `undefined` is never. */
    readonly retryAfterMs: bigint | undefined,
  ) {
    super(reason === "" ? `refused with code 0x${code.toString(16)}` : reason);
  }
}

/** The session or the request is over; `message` says why. */
export class Ended extends Error {
  override readonly name = "Ended";
}
