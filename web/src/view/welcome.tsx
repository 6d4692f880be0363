/** Asks for a room. */
import { useSignal } from "@preact/signals";
import { isRoomName, ROOM_PATTERN } from "../room/room";
import { text } from "./text";

export function Welcome({ open }: { open: (room: string) => void }) {
  const name = useSignal("");
  const isWrong = name.value !== "" && !isRoomName(name.value);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    open(isRoomName(name.value) ? name.value : randomName());
  };
  return (
    <main class="welcome">
      <h1>{text.who}</h1>
      <p class="lead">{text.welcomeLead}</p>
      <form class="card" onSubmit={submit}>
        <label for="room">{text.room}</label>
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
            {name.value === "" ? text.openNew : text.open}
          </button>
        </div>
        <p id="room-hint" class={isWrong ? "hint problem" : "hint"} aria-live="polite">
          {isWrong ? text.roomWrong : text.roomHint}
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
