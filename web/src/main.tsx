/** The page: which room the address names, and its view. */
import { effect, signal } from "@preact/signals";
import { render } from "preact";
import { isRoomName, Room } from "./room/room";
import { RoomView } from "./view/room";
import { Welcome } from "./view/welcome";

const room = signal<Room | undefined>(undefined);

/** `/room/<id>`, or `/#<id>`. */
function roomOfAddress(): string | undefined {
  const name = /^\/room\/([^/]+)$/.exec(location.pathname)?.[1] ?? location.hash.slice(1);
  return isRoomName(name) ? name : undefined;
}

function follow(): void {
  const name = roomOfAddress();
  if (room.peek()?.name === name) return;
  room.peek()?.close();
  room.value = name === undefined ? undefined : new Room(name);
}

function open(name: string): void {
  history.pushState(null, "", `/room/${name}`);
  follow();
}

function Page() {
  return (
    <>
      <header class="bar">
        <a href="/" class="brand">
          <img src="/favicon.svg" width="28" height="28" alt="" />
          Roundtable
        </a>
      </header>
      {room.value ? <RoomView key={room.value.name} room={room.value} /> : <Welcome open={open} />}
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
follow();
const root = document.getElementById("page");
if (root) render(<Page />, root);
