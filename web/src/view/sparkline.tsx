/** The last half minute of a track as a line. */
import { HISTORY_SECONDS, type Second } from "../room/meter";

const WIDTH = 96;
const HEIGHT = 24;

export function Sparkline({ history }: { history: readonly Second[] }) {
  const max = Math.max(1, ...history.map((second) => second.kbits));
  const step = WIDTH / (HISTORY_SECONDS - 1);
  const first = HISTORY_SECONDS - history.length;
  const points = history.map(
    ({ kbits }, i) => `${((first + i) * step).toFixed(1)},${(HEIGHT - 2 - (kbits / max) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      {points.length > 1 && <polyline points={points.join(" ")} vector-effect="non-scaling-stroke" />}
    </svg>
  );
}
