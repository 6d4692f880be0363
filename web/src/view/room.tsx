/** A room: who is there, what they send. */
import type { Room } from "../room/room";
import { CopyButton } from "./copy";
import { ParticipantCard } from "./participant";
import { Status } from "./status";

export function RoomView({ room }: { room: Room }) {
  const participants = room.participants.value;
  const count = participants.length;
  return (
    <main>
      <div class="room-head">
        <div>
          <p class="eyebrow">Room</p>
          <h1>{room.name}</h1>
        </div>
        <CopyButton text={`${location.origin}/room/${room.name}`} label="Copy link" />
      </div>
      <Status room={room} />
      <p class="visually-hidden" aria-live="polite">
        {count === 1 ? "One participant is here." : `${count} participants are here.`}
      </p>
      {count === 0 && room.connection.value.type === "connected" && <Empty room={room} />}
      <div class="cards">
        {participants.map((participant) => (
          <ParticipantCard key={participant.name} participant={participant} />
        ))}
      </div>
    </main>
  );
}

function Empty({ room }: { room: Room }) {
  const relay = room.relay.value;
  const pin = relay?.certificateHashes[0];
  const command = `roundtable-publisher --url ${relay?.calls}/${room.name}${pin ? ` --tls-sha256 ${pin}` : ""}`;
  return (
    <section class="card empty">
      <h2>Nobody is here yet</h2>
      <p>Whoever joins appears here by itself. To see something now, play the test card into this room:</p>
      <div class="command">
        <code>{command}</code>
        <CopyButton text={command} label="Copy" />
      </div>
    </section>
  );
}
