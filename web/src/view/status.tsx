/** How it stands with the connection, in plain words, announced when it changes. */
import type { ConnectionState, Room } from "../room/room";

export function Status({ room }: { room: Room }) {
  const state = room.connection.value;
  return (
    <>
      <p class={`status ${state.type}`} role="status">
        {word(state)}
      </p>
      {(state.type === "waiting" || state.type === "failed") && (
        <div class="notice" role="alert">
          <p>{state.reason}</p>
          {state.type === "waiting" && (
            <p>
              Trying again in {state.seconds} s.{" "}
              <button type="button" class="quiet" onClick={() => room.retry()}>
                Try now
              </button>
            </p>
          )}
        </div>
      )}
    </>
  );
}

function word(state: ConnectionState): string {
  switch (state.type) {
    case "connecting":
      return "Connecting";
    case "connected":
      return "Connected";
    case "waiting":
      return "Not connected";
    case "failed":
      return "Cannot connect";
  }
}
