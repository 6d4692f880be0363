/** What one does in a call: the bar of buttons, and the same by keyboard. */
import type { Signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { DeviceState } from "../room/own";
import type { Room } from "../room/room";
import {
  CameraIcon,
  CameraOffIcon,
  FiguresIcon,
  FullScreenIcon,
  HandIcon,
  HelpIcon,
  LeaveIcon,
  MicrophoneIcon,
  MicrophoneOffIcon,
  ScreenIcon,
  SettingsIcon,
} from "./icons";
import { text } from "./text";

/** What is open beside the pictures. */
export type Panel = "none" | "settings" | "figures" | "help";

interface ButtonProps {
  readonly label: string;
  readonly shortcut?: string;
  readonly isOn?: boolean;
  readonly isOff?: boolean;
  readonly kind?: string;
  readonly isBusy?: boolean;
  readonly onClick: () => void;
  readonly children: ComponentChildren;
}

function Control({ label, shortcut, isOn, isOff, kind = "", isBusy, onClick, children }: ButtonProps) {
  return (
    <button
      type="button"
      class={`control ${kind}${isOff ? " off" : ""}${isOn ? " on" : ""}`}
      aria-label={label}
      aria-keyshortcuts={shortcut}
      aria-busy={isBusy}
      title={shortcut ? `${label} (${shortcut.replace("Control", "Ctrl").replace("+", " + ")})` : label}
      onClick={onClick}
    >
      {children}
    </button>
  );
}

export function DeviceButtons({ room }: { room: Room }) {
  const { own } = room;
  const isHeard = own.microphone.value.state === "on" && !own.isMuted.value;
  const isSeen = own.camera.value.state === "on";
  return (
    <>
      <Control
        label={isHeard ? text.mute : text.unmute}
        shortcut="Control+D"
        isOff={!isHeard}
        isBusy={isBusy(own.microphone)}
        onClick={() => void own.setMicrophone(!isHeard)}
      >
        {isHeard ? <MicrophoneIcon /> : <MicrophoneOffIcon />}
      </Control>
      <Control
        label={isSeen ? text.cameraOff : text.cameraOn}
        shortcut="Control+E"
        isOff={!isSeen}
        isBusy={isBusy(own.camera)}
        onClick={() => void own.setCamera(!isSeen)}
      >
        {isSeen ? <CameraIcon /> : <CameraOffIcon />}
      </Control>
    </>
  );
}

export function Toolbar({ room, panel, leave }: { room: Room; panel: Signal<Panel>; leave: () => void }) {
  const { own } = room;
  const isSharing = own.screen.value.state === "on";
  const hasHandUp = own.hasHandUp.value;
  const toggle = (which: Panel) => (panel.value = panel.value === which ? "none" : which);
  useShortcuts(room, toggle);
  return (
    <div class="toolbar" role="toolbar" aria-label={text.controls}>
      <DeviceButtons room={room} />
      {"getDisplayMedia" in (navigator.mediaDevices ?? {}) && (
        <Control
          label={isSharing ? text.stopSharing : text.share}
          isOn={isSharing}
          isBusy={isBusy(own.screen)}
          onClick={() => void own.setScreen(!isSharing)}
        >
          <ScreenIcon />
        </Control>
      )}
      <Control
        label={hasHandUp ? text.lowerHand : text.raiseHand}
        shortcut="H"
        isOn={hasHandUp}
        onClick={() => (own.hasHandUp.value = !hasHandUp)}
      >
        <HandIcon />
      </Control>
      <Control label={text.settings} isOn={panel.value === "settings"} onClick={() => toggle("settings")}>
        <SettingsIcon />
      </Control>
      <Control kind="wide-only" label={text.figures} shortcut="I" isOn={panel.value === "figures"} onClick={() => toggle("figures")}>
        <FiguresIcon />
      </Control>
      <Control kind="wide-only" label={text.fullScreen} onClick={() => void fullScreen()}>
        <FullScreenIcon />
      </Control>
      <Control kind="wide-only" label={text.help} shortcut="?" isOn={panel.value === "help"} onClick={() => toggle("help")}>
        <HelpIcon />
      </Control>
      <Control kind="leave" label={text.leave} onClick={leave}>
        <LeaveIcon />
      </Control>
    </div>
  );
}

function isBusy(device: Signal<DeviceState>): boolean {
  return device.value.state === "opening";
}

async function fullScreen(): Promise<void> {
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.documentElement.requestFullscreen();
}

function useShortcuts(room: Room, toggle: (panel: Panel) => void): void {
  useEffect(() => {
    const { own } = room;
    const isTyping = (event: KeyboardEvent) =>
      event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    let isTalking = false;
    const down = (event: KeyboardEvent) => {
      const isCommand = (event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey;
      const key = event.key.toLowerCase();
      if (isCommand && key === "d") void own.setMicrophone(own.microphone.peek().state !== "on" || own.isMuted.peek());
      else if (isCommand && key === "e") void own.setCamera(own.camera.peek().state !== "on");
      else if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
      else if (key === "h") own.hasHandUp.value = !own.hasHandUp.peek();
      else if (key === "i") toggle("figures");
      else if (key === "?") toggle("help");
      else if (key === " " && !(event.target instanceof HTMLButtonElement)) {
        if (event.repeat || !own.isMuted.peek()) return;
        isTalking = true;
        void own.setMicrophone(true);
      } else return;
      event.preventDefault();
    };
    const up = (event: KeyboardEvent) => {
      if (event.key !== " " || !isTalking) return;
      isTalking = false;
      void own.setMicrophone(false);
    };
    document.addEventListener("keydown", down);
    document.addEventListener("keyup", up);
    return () => {
      document.removeEventListener("keydown", down);
      document.removeEventListener("keyup", up);
    };
  }, [room, toggle]);
}
