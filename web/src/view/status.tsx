/** What a person must know now: the connection, the devices, the sound. */
import type { ConnectionState, Room } from "../room/room";
import { text } from "./text";

/** How it stands with the connection, announced when it changes. */
export function Status({ room }: { room: Room }) {
  const state = room.connection.value;
  return (
    <p class={`status ${state.type}`} role="status">
      {word(state)}
    </p>
  );
}

/** What is wrong, with what can be done about it. */
export function Notices({ room }: { room: Room }) {
  const state = room.connection.value;
  const { own } = room;
  const problems = [own.microphone.value.problem, own.camera.value.problem, own.screen.value.problem];
  return (
    <div class="notices">
      {(state.type === "waiting" || state.type === "failed") && (
        <div class="notice bad" role="alert">
          <p>
            {state.reason}
            {state.type === "waiting" && ` ${text.tryingAgain(state.seconds)}`}
          </p>
          {state.type === "waiting" && (
            <button type="button" class="quiet" onClick={() => room.retry()}>
              {text.tryNow}
            </button>
          )}
        </div>
      )}
      {room.isSilenced.value && room.stage.value === "in" && (
        <div class="notice" role="alert">
          <p>{text.tapToHear}</p>
          <button type="button" class="quiet" onClick={() => void room.allowSound()}>
            {text.hear}
          </button>
        </div>
      )}
      {own.isSpeakingMuted.value && (
        <div class="notice" role="status">
          <p>{text.speakingMuted}</p>
          <button type="button" class="quiet" onClick={() => void own.setMicrophone(true)}>
            {text.unmute}
          </button>
        </div>
      )}
      {problems
        .filter((problem) => problem !== undefined)
        .map((problem) => (
          <div class="notice bad" role="alert" key={problem}>
            <p>{problem}</p>
          </div>
        ))}
    </div>
  );
}

function word(state: ConnectionState): string {
  switch (state.type) {
    case "connecting":
      return text.connecting;
    case "connected":
      return text.connected;
    case "waiting":
      return text.notConnected;
    case "failed":
      return text.cannotConnect;
  }
}
