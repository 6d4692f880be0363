/** Before a call: a look at oneself, a name, the devices. */
import { useEffect } from "preact/hooks";
import type { Room } from "../room/room";
import type { Settings } from "../room/settings";
import { CopyButton } from "./copy";
import { OwnPicture } from "./picture";
import { SettingsFields } from "./settings";
import { Notices, Status } from "./status";
import { text } from "./text";
import { DeviceButtons } from "./toolbar";

export function Before({ room, settings }: { room: Room; settings: Settings }) {
  const { own } = room;
  const choices = settings.choices.value;
  const stream = own.cameraStream.value;
  const names = room.participants.value.map((participant) => participant.name.value);
  const isConnected = room.connection.value.type === "connected";
  useEffect(() => {
    const { joinsWithCamera, joinsWithMicrophone } = settings.choices.peek();
    if (joinsWithCamera) void own.setCamera(true).then(() => room.refreshDevices());
    if (joinsWithMicrophone) void own.setMicrophone(true).then(() => room.refreshDevices());
  }, [own, room, settings]);
  const join = (event: SubmitEvent) => {
    event.preventDefault();
    settings.set({
      joinsWithCamera: own.camera.value.state !== "off",
      joinsWithMicrophone: own.microphone.value.state !== "off" && !own.isMuted.value,
    });
    room.join();
  };
  return (
    <main class="before">
      <div class="room-head">
        <div>
          <p class="eyebrow">{text.room}</p>
          <h1>{room.name}</h1>
        </div>
        <div class="head-actions">
          <Status room={room} />
          <CopyButton text={`${location.origin}/room/${room.name}`} label={text.copyLink} />
        </div>
      </div>
      <Notices room={room} />
      <div class="before-columns">
        <div class="preview">
          <div class="tile own">
            {stream ? (
              <OwnPicture stream={stream} isMirrored={true} />
            ) : (
              <p class="faceless-text">{text.cameraIsOff}</p>
            )}
            <div class="toolbar over">
              <DeviceButtons room={room} />
            </div>
          </div>
        </div>
        <form class="card" onSubmit={join}>
          <h2>{text.ready}</h2>
          <p class="hint">{names.length === 0 ? text.nobodyHere : text.here(names.join(", "))}</p>
          <label for="name">{text.yourName}</label>
          <div class="field">
            <input
              id="name"
              value={choices.name}
              onInput={(event) => settings.set({ name: event.currentTarget.value })}
              placeholder={text.namePlaceholder}
              autocomplete="name"
              maxLength={64}
            />
            <button type="submit" disabled={!isConnected}>
              {text.join}
            </button>
          </div>
          <SettingsFields room={room} settings={settings} />
        </form>
      </div>
    </main>
  );
}
