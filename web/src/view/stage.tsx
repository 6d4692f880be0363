/** Where everybody is seen: a grid that fits, or one thing large with the others beside it. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { JSX } from "preact";
import type { Room } from "../room/room";
import { BackIcon, NextIcon } from "./icons";
import { columnsFor, TILE_GAP } from "./layout";
import { text } from "./text";
import { OwnTile, Tile } from "./tile";

interface Shown {
  readonly key: string;
  readonly element: JSX.Element;
}

export function Stage({ room }: { room: Room }) {
  const pinned = useSignal<string | undefined>(undefined);
  const pinning = { pinned: pinned.value, pin: (key: string | undefined) => (pinned.value = key) };
  const participants = room.participants.value;
  const tiles: Shown[] = participants.map((participant) => ({
    key: `${participant.id}/camera`,
    element: <Tile room={room} participant={participant} source="camera" pinning={pinning} />,
  }));
  const screens: Shown[] = participants
    .filter((participant) => participant.has("screen"))
    .map((participant) => ({
      key: `${participant.id}/screen`,
      element: <Tile room={room} participant={participant} source="screen" pinning={pinning} />,
    }));
  if (room.own.screenStream.value) screens.push({ key: "own/screen", element: <OwnTile room={room} source="screen" /> });
  const own: Shown = { key: "own/camera", element: <OwnTile room={room} source="camera" /> };
  const all = [...screens, ...tiles];
  const large = all.filter(({ key }) => key === pinned.value);
  const spotlight = large.length > 0 ? large : screens;
  if (spotlight.length > 0) {
    const others = [...all.filter((shown) => !spotlight.includes(shown)), own];
    return (
      <div class="stage spotlight">
        <Grid shown={spotlight} />
        <div class="strip">{others.map(keyed)}</div>
      </div>
    );
  }
  // Made for two: the other one large, ourselves in the corner.
  if (tiles.length === 1) {
    return (
      <div class="stage pair">
        {tiles.map(keyed)}
        <div class="corner">{keyed(own)}</div>
      </div>
    );
  }
  return (
    <div class="stage">
      <Grid shown={[...tiles, own]} />
    </div>
  );
}

function keyed({ key, element }: Shown): JSX.Element {
  return (
    <div class="cell" key={key}>
      {element}
    </div>
  );
}

/** As many columns as make the tiles largest; pages past what fits. */
function Grid({ shown }: { shown: readonly Shown[] }) {
  const place = useRef<HTMLDivElement>(null);
  const size = useSignal({ width: 1280, height: 640 });
  const page = useSignal(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const observer = new ResizeObserver(() => (size.value = { width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, [size]);
  const { columns, rows, tileWidth } = columnsFor(shown.length, size.value.width, size.value.height);
  const perPage = columns * rows;
  const pages = Math.ceil(shown.length / perPage);
  const current = Math.min(page.value, pages - 1);
  const visible = shown.slice(current * perPage, (current + 1) * perPage);
  const turn = (by: number) => (page.value = Math.min(Math.max(current + by, 0), pages - 1));
  return (
    <div class="grid" ref={place} style={{ "--columns": String(columns), "--tile": `${Math.floor(tileWidth)}px`, "--gap": `${TILE_GAP}px` }}>
      <div class="tiles">{visible.map(keyed)}</div>
      {pages > 1 && (
        <nav class="pages" aria-label={text.page(current + 1, pages)}>
          <button type="button" class="small" aria-label={text.previousPage} disabled={current === 0} onClick={() => turn(-1)}>
            <BackIcon />
          </button>
          <span aria-live="polite">
            {current + 1} / {pages}
          </span>
          <button type="button" class="small" aria-label={text.nextPage} disabled={current === pages - 1} onClick={() => turn(1)}>
            <NextIcon />
          </button>
        </nav>
      )}
    </div>
  );
}
