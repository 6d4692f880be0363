/** The page: which room the address names, and its view. */
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { isRoomName, Room } from "./room/room";
import { Settings } from "./room/settings";
import { Before } from "./view/before";
import { CallView } from "./view/call";
import { Left } from "./view/left";
import { language } from "./view/text";
import { Welcome } from "./view/welcome";

const settings = new Settings(storage());
const room = signal<Room | undefined>(undefined);

/** Where choices are kept, where the browser keeps anything. */
function storage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

/** `/room/<id>`, or `/#<id>`. */
function roomOfAddress(): string | undefined {
  const name = /^\/room\/([^/]+)$/.exec(location.pathname)?.[1] ?? location.hash.slice(1);
  return isRoomName(name) ? name : undefined;
}

function follow(): void {
  const name = roomOfAddress();
  if (room.peek()?.name === name) return;
  room.peek()?.close();
  room.value = name === undefined ? undefined : new Room(name, settings);
}

function open(name: string): void {
  history.pushState(null, "", `/room/${name}`);
  follow();
}

/** Back into the room that was left. */
function rejoin(): void {
  const name = room.peek()?.name;
  if (name !== undefined) room.value = new Room(name, settings);
}

function home(): void {
  history.pushState(null, "", "/");
  follow();
}

function RoomPage({ room }: { room: Room }) {
  switch (room.stage.value) {
    case "before":
      return <Before room={room} settings={settings} />;
    case "in":
      return <CallView room={room} settings={settings} />;
    case "left":
      return <Left rejoin={rejoin} home={home} />;
  }
}

function Page() {
  const current = room.value;
  if (current?.stage.value === "in") return <RoomPage room={current} />;
  return (
    <>
      <header class="bar">
        <a href="/" class="brand">
          <img src="/favicon.svg" width="28" height="28" alt="" />
          Roundtable
        </a>
      </header>
      {current ? <RoomPage room={current} /> : <Welcome open={open} />}
    </>
  );
}

addEventListener("popstate", follow);
addEventListener("hashchange", follow);
addEventListener("online", () => room.peek()?.retry());
addEventListener("pagehide", (event) => {
  if (!event.persisted) room.peek()?.close();
});
effect(() => {
  document.title = room.value ? `${room.value.name} · Roundtable` : "Roundtable";
});
document.documentElement.lang = language;
follow();
const root = document.getElementById("page");
if (root) render(<Page />, root);
