/** Asks for a room. */
import { useSignal } from "@preact/signals";
import { isRoomName, ROOM_PATTERN } from "../room/room";

export function Welcome({ open }: { open: (room: string) => void }) {
  const name = useSignal("");
  const isWrong = name.value !== "" && !isRoomName(name.value);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    open(isRoomName(name.value) ? name.value : randomName());
  };
  return (
    <main class="welcome">
      <h1>Who is at the table?</h1>
      <p class="lead">Open a room to see who is in it and what arrives from them, live.</p>
      <form class="card" onSubmit={submit}>
        <label for="room">Room</label>
        <div class="field">
          <input
            id="room"
            name="room"
            value={name.value}
            onInput={(event) => (name.value = event.currentTarget.value.trim())}
            pattern={ROOM_PATTERN}
            placeholder="my-room"
            autocomplete="off"
            autocapitalize="none"
            spellcheck={false}
            maxLength={64}
            aria-describedby="room-hint"
            aria-invalid={isWrong}
          />
          <button type="submit" disabled={isWrong}>
            {name.value === "" ? "Open a new room" : "Open"}
          </button>
        </div>
        <p id="room-hint" class={isWrong ? "hint problem" : "hint"} aria-live="polite">
          {isWrong
            ? "A room's name has letters, digits, - and _ only, 64 at most, and is not “me”."
            : "Letters, digits, - and _. Leave it empty for a name that nobody can guess."}
        </p>
      </form>
    </main>
  );
}

function randomName(): string {
  const letters = "abcdefghijkmnpqrstuvwxyz23456789";
  const bytes = crypto.getRandomValues(new Uint8Array(20));
  return [...bytes].map((byte) => letters[byte % letters.length]).join("");
}
