/** How tiles are laid out. Pure. */

/** Pixels between tiles. */
export const TILE_GAP = 10;
const ASPECT = 16 / 9;
/** Smaller tiles show nobody. */
const TILE_WIDTH_MIN = 150;

/** The columns that make `count` tiles largest, and the rows that fit; with more tiles than fit there are pages. */
export function columnsFor(count: number, width: number, height: number): { columns: number; rows: number; tileWidth: number } {
  let best = { columns: 1, rows: 1, tileWidth: 0 };
  for (let columns = 1; columns <= Math.max(count, 1); columns++) {
    const rows = Math.ceil(Math.max(count, 1) / columns);
    const fits = tileWidthFor(columns, rows, width, height);
    if (fits > best.tileWidth) best = { columns, rows, tileWidth: fits };
  }
  if (best.tileWidth >= TILE_WIDTH_MIN || count <= 1) return best;
  // Not all at once: as many as are still to be seen.
  const columns = Math.max(Math.floor((width + TILE_GAP) / (TILE_WIDTH_MIN + TILE_GAP)), 1);
  const rows = Math.max(Math.floor((height + TILE_GAP) / (TILE_WIDTH_MIN / ASPECT + TILE_GAP)), 1);
  return { columns, rows, tileWidth: tileWidthFor(columns, rows, width, height) };
}

function tileWidthFor(columns: number, rows: number, width: number, height: number): number {
  const wide = (width - TILE_GAP * (columns - 1)) / columns;
  const high = ((height - TILE_GAP * (rows - 1)) / rows) * ASPECT;
  return Math.max(Math.min(wide, high), 0);
}
