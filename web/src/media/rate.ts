/**
 * How much may be sent, and how it is protected (docs/wire.md, "Tracks", feedback). Pure; times are milliseconds.
 *
 * A browser's own congestion control throttles an uplink that loses, and drops what does not fit without a word. So loss
 * that comes and goes with the rate is taken for congestion, and loss that stays whatever the rate is for the link's own,
 * which is answered by protection.
 */

/** What one look at the uplink says. */
export interface Look {
  readonly now: number;
  /** Part of what was sent since the last look that did not arrive, 0 to 1. */
  readonly loss: number;
  /** Bits a second that were sent. */
  readonly sentBps: number;
}

/** How to send from now on. */
export interface Sending {
  /** For all video together, bits a second, protection included. */
  readonly videoBps: number;
  /** Percent of a block's fragments. */
  readonly parity: { readonly base: number; readonly upper: number };
  /** Earlier frames in every frame of sound. */
  readonly redundancyDepth: number;
}

/** The loss of the link itself is the smallest one of so long. */
const OWN_LOSS_WINDOW_MS = 8000;
/** More loss than the link's own by this is congestion. */
const EXCESS = 0.04;
const RISE_PER_S = 0.12;
/** Loss is smoothed over about three looks. */
const SMOOTHING = 0.35;

/** Follows one uplink. */
export class Rate {
  readonly #minBps: number;
  readonly #maxBps: number;
  #videoBps: number;
  #loss = 0;
  #looks: { readonly at: number; readonly loss: number }[] = [];
  #at: number | undefined;

  constructor(minBps: number, maxBps: number) {
    this.#minBps = minBps;
    this.#maxBps = maxBps;
    this.#videoBps = maxBps;
  }

  /** Smoothed, 0 to 1. */
  get loss(): number {
    return this.#loss;
  }

  look({ now, loss, sentBps }: Look): void {
    const seconds = Math.min((now - (this.#at ?? now)) / 1000, 2);
    this.#at = now;
    this.#loss += (loss - this.#loss) * SMOOTHING;
    this.#looks = [...this.#looks.filter(({ at }) => now - at <= OWN_LOSS_WINDOW_MS), { at: now, loss }];
    const own = Math.min(...this.#looks.map(({ loss }) => loss));
    if (loss > own + EXCESS && loss > EXCESS) {
      // What arrived is what fits.
      const fits = Math.min(sentBps, this.#videoBps) * (1 - (loss - own)) * 0.9;
      this.#videoBps = Math.max(Math.min(this.#videoBps, fits), this.#minBps);
    } else {
      this.#videoBps = Math.min(this.#videoBps * (1 + RISE_PER_S * seconds), this.#maxBps);
    }
  }

  /** How to send now. */
  sending(): Sending {
    const loss = this.#loss;
    if (loss < 0.005) return { videoBps: this.#videoBps, parity: { base: 0, upper: 0 }, redundancyDepth: 0 };
    // About three times the loss, so that blocks of a few fragments survive as well; repair does the rest.
    const base = Math.min(Math.ceil(loss * 300), 60);
    const upper = Math.min(Math.ceil(loss * 150), 30);
    const redundancyDepth = loss < 0.02 ? 1 : loss < 0.08 ? 2 : loss < 0.15 ? 3 : 4;
    return { videoBps: this.#videoBps, parity: { base, upper }, redundancyDepth };
  }
}
