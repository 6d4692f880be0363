/** Devices, and what is done to their sound. */
import type { Device } from "../device/devices";
import type { Room } from "../room/room";
import type { Choices, Settings } from "../room/settings";
import { text } from "./text";

export function SettingsFields({ room, settings }: { room: Room; settings: Settings }) {
  const { cameras, microphones, speakers } = room.devices.value;
  const choices = settings.choices.value;
  const canChooseSpeaker = "setSinkId" in AudioContext.prototype && speakers.length > 0;
  const processing = (["echoCancellation", "noiseSuppression", "autoGainControl"] as const).map((name) => (
    <label class="check" key={name}>
      <input
        type="checkbox"
        checked={choices[name]}
        onChange={(event) => {
          settings.set({ [name]: event.currentTarget.checked } as Partial<Choices>);
          void room.own.changeDevice("microphone");
        }}
      />
      {text[name]}
    </label>
  ));
  return (
    <div class="settings">
      <Choice
        label={text.microphone}
        devices={microphones}
        chosen={choices.microphone}
        choose={(id) => {
          settings.set({ microphone: id });
          void room.own.changeDevice("microphone");
        }}
      />
      <Choice
        label={text.camera}
        devices={cameras}
        chosen={choices.camera}
        choose={(id) => {
          settings.set({ camera: id });
          void room.own.changeDevice("camera");
        }}
      />
      {canChooseSpeaker && (
        <Choice label={text.speaker} devices={speakers} chosen={choices.speaker} choose={(id) => void room.setSpeaker(id)} />
      )}
      <div class="checks">{processing}</div>
    </div>
  );
}

function Choice(props: { label: string; devices: readonly Device[]; chosen: string | undefined; choose: (id: string) => void }) {
  const { label, devices, chosen, choose } = props;
  return (
    <label class="choice">
      <span>{label}</span>
      <select value={chosen ?? ""} disabled={devices.length === 0} onChange={(event) => choose(event.currentTarget.value)}>
        {!devices.some(({ id }) => id === chosen) && <option value={chosen ?? ""}>{text.standard}</option>}
        {devices.map((device, i) => (
          <option key={device.id} value={device.id}>
            {device.label || text.unnamed(i + 1)}
          </option>
        ))}
      </select>
    </label>
  );
}
