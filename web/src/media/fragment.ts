/**
 * How a frame is cut into datagrams, and the parity that replaces lost ones (docs/wire.md, "Media datagrams").
 *
 * A frame of L bytes becomes n = ceil(L / s) data fragments of s bytes, the frame's last one shorter; up to 100 of them
 * make a block, more are spread over ceil(n / 100) blocks as evenly as they go, longer blocks first. After each block's
 * data come its m parity fragments. So every fragment but a frame's last tells where all the others are. Pure.
 */
import { Erasure } from "./erasure";
import { BLOCK_FRAGMENTS_MAX, BLOCK_PARITY_MAX, type FragmentHeader, isParity } from "./loc";

/** Largest object datagram from its type byte on: what every browser takes. */
export const DATAGRAM_BYTES_MAX = 1024;
/** Bytes kept free for the alias, since the relay's may be longer than the publisher's. */
export const ALIAS_BYTES_RESERVED = 9;
/** Largest frame that is sent or accepted. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024;
/** Most data fragments of a frame that are accepted: enough for the largest frame in pieces of 512 bytes. */
export const FRAGMENTS_MAX = FRAME_BYTES_MAX / 512;

/** A fragment whose own numbers contradict each other. */
export class Contradiction extends Error {
  override readonly name = "Contradiction";
}

/** Where the fragments of one frame are. Equal for all fragments of the frame. */
export class Layout {
  private constructor(
    readonly frameBytes: number,
    readonly fragmentBytes: number,
    readonly parityCount: number,
  ) {}

  /** The layout of a frame in fragments of `fragmentBytes`; `undefined` beyond the limits above. */
  static make(frameBytes: number, fragmentBytes: number, parityCount: number): Layout | undefined {
    const layout = new Layout(frameBytes, fragmentBytes, parityCount);
    const isPossible =
      frameBytes > 0 &&
      frameBytes <= FRAME_BYTES_MAX &&
      fragmentBytes > 0 &&
      parityCount <= BLOCK_PARITY_MAX &&
      layout.dataFragments <= FRAGMENTS_MAX;
    return isPossible ? layout : undefined;
  }

  /** The layout a publisher uses: as few fragments as possible, about equally long, so that parity is short. */
  static balanced(frameBytes: number, fragmentBytesMax: number, parityCount: number): Layout | undefined {
    if (fragmentBytesMax <= 0) return undefined;
    const fragments = Math.max(Math.ceil(frameBytes / fragmentBytesMax), 1);
    return Layout.make(frameBytes, Math.ceil(frameBytes / fragments), parityCount);
  }

  /**
   * What a received fragment says about its frame. `undefined`: it is the last of a frame of several blocks, from which
   * the length of the others does not follow. Throws a {@link Contradiction}.
   */
  static ofFragment(header: FragmentHeader, marksEnd: boolean, payloadBytes: number): Layout | undefined {
    const { dataCount, frameBytes, block, index } = header;
    const endsFrame = marksEnd && !isParity(header);
    if (payloadBytes === 0 || payloadBytes > frameBytes || (endsFrame && index + 1 !== dataCount)) {
      throw new Contradiction();
    }
    if (endsFrame && block > 0) return undefined;
    const fragmentBytes =
      endsFrame && dataCount > 1 ? Math.floor((frameBytes - payloadBytes) / (dataCount - 1)) : payloadBytes;
    const layout = Layout.make(frameBytes, fragmentBytes, header.parityCount);
    if (!layout?.holds(header, payloadBytes)) throw new Contradiction();
    return layout;
  }

  /** True when a fragment with this header and length has its place in the layout. */
  holds(header: FragmentHeader, payloadBytes: number): boolean {
    if (
      header.frameBytes !== this.frameBytes ||
      header.parityCount !== this.parityCount ||
      this.dataCount(header.block) !== header.dataCount
    ) {
      return false;
    }
    if (isParity(header)) return payloadBytes === this.fragmentBytes;
    const rest = this.frameBytes - this.#dataStart(header.block, header.index);
    return rest >= 0 && payloadBytes === Math.min(rest, this.fragmentBytes);
  }

  /** Data fragments of the frame. */
  get dataFragments(): number {
    return Math.ceil(this.frameBytes / this.fragmentBytes);
  }

  get blocks(): number {
    return Math.ceil(this.dataFragments / BLOCK_FRAGMENTS_MAX);
  }

  /** Data fragments of a block; `undefined` for one that is not there. */
  dataCount(block: number): number | undefined {
    const { dataFragments, blocks } = this;
    if (block >= blocks) return undefined;
    return Math.floor(dataFragments / blocks) + (block < dataFragments % blocks ? 1 : 0);
  }

  /** Objects of the frame, data and parity. */
  get objectCount(): number {
    return this.dataFragments + this.blocks * this.parityCount;
  }

  /** How many objects of the frame stand before this fragment. */
  objectOffset(block: number, index: number): number {
    return this.#fragmentsBefore(block) + block * this.parityCount + index;
  }

  /** Where a block's bytes begin and end in the frame. */
  blockRange(block: number): readonly [start: number, end: number] {
    const start = this.#dataStart(block, 0);
    const end = this.#dataStart(block, this.dataCount(block) ?? 0);
    return [start, Math.min(end, this.frameBytes)];
  }

  #fragmentsBefore(block: number): number {
    const { dataFragments, blocks } = this;
    return block * Math.floor(dataFragments / blocks) + Math.min(block, dataFragments % blocks);
  }

  #dataStart(block: number, index: number): number {
    return (this.#fragmentsBefore(block) + index) * this.fragmentBytes;
  }
}

/** One fragment as a publisher sends it. */
export interface Fragment {
  readonly block: number;
  readonly index: number;
  readonly dataCount: number;
  /** True for the last data fragment of the frame. */
  readonly endsFrame: boolean;
  /** A view of the frame, or parity. */
  readonly payload: Uint8Array;
}

/** Cuts a frame into its fragments, in the order in which they are sent. */
export function split(erasure: Erasure, frame: Uint8Array, layout: Layout): Fragment[] {
  const { fragmentBytes, parityCount, blocks } = layout;
  const fragments: Fragment[] = [];
  for (let block = 0; block < blocks; block++) {
    const [start, end] = layout.blockRange(block);
    const dataCount = layout.dataCount(block) ?? 0;
    const data: Uint8Array[] = [];
    for (let at = start; at < end; at += fragmentBytes) data.push(frame.subarray(at, Math.min(at + fragmentBytes, end)));
    const endsFrame = (index: number) => block + 1 === blocks && index + 1 === dataCount;
    data.forEach((payload, index) => fragments.push({ block, index, dataCount, endsFrame: endsFrame(index), payload }));
    if (parityCount === 0) continue;
    erasure.parity(data, parityCount, fragmentBytes).forEach((payload, i) => {
      fragments.push({ block, index: dataCount + i, dataCount, endsFrame: false, payload });
    });
  }
  return fragments;
}

/** A block put together. */
export interface JoinedBlock {
  /** Its part of the frame. */
  readonly bytes: Uint8Array;
  /** Data fragments that came out of parity. */
  readonly fragmentsRebuilt: number;
}

/**
 * Puts the bytes of a block together from what has arrived, by index: data first, then parity, all of which the layout
 * holds. `undefined` while fewer than k are there.
 */
export function join(
  erasure: Erasure,
  layout: Layout,
  block: number,
  arrived: readonly (Uint8Array | undefined)[],
): JoinedBlock | undefined {
  const dataCount = layout.dataCount(block) ?? 0;
  const data = erasure.rebuild(arrived, dataCount, layout.fragmentBytes);
  if (!data) return undefined;
  const [start, end] = layout.blockRange(block);
  const bytes = new Uint8Array(end - start);
  data.forEach((payload, index) => {
    const from = index * layout.fragmentBytes;
    // A rebuilt last fragment is as long as the others; the frame is not.
    bytes.set(payload.subarray(0, bytes.length - from), from);
  });
  const missing = arrived.slice(0, dataCount).filter((payload) => payload === undefined).length;
  return { bytes, fragmentsRebuilt: missing };
}
