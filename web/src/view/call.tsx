/** The call itself. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Room } from "../room/room";
import type { Settings } from "../room/settings";
import { CopyButton } from "./copy";
import { FiguresPanel } from "./figures";
import { SidePanel } from "./panel";
import { SettingsFields } from "./settings";
import { Stage } from "./stage";
import { Notices, Status } from "./status";
import { text } from "./text";
import { type Panel, Toolbar } from "./toolbar";

export function CallView({ room, settings }: { room: Room; settings: Settings }) {
  const panel = useSignal<Panel>("none");
  const close = () => (panel.value = "none");
  const count = room.participants.value.length;
  useWakeLock();
  return (
    <main class={`call ${room.connection.value.type}`}>
      <header class="call-head">
        <h1>{room.name}</h1>
        <Status room={room} />
        <CopyButton text={`${location.origin}/room/${room.name}`} label={text.copyLink} />
      </header>
      <Notices room={room} />
      <p class="visually-hidden" aria-live="polite">
        {count === 0 ? text.alone : text.participantsNow(count)}
      </p>
      <div class="call-body">
        <Stage room={room} />
        {count === 0 && room.connection.value.type === "connected" && (
          <div class="alone">
            <p>
              <strong>{text.alone}</strong> {text.aloneLead}
            </p>
          </div>
        )}
        {panel.value === "settings" && (
          <SidePanel title={text.settings} close={close}>
            <SettingsFields room={room} settings={settings} />
          </SidePanel>
        )}
        {panel.value === "figures" && (
          <SidePanel title={text.figures} close={close}>
            <FiguresPanel room={room} />
          </SidePanel>
        )}
        {panel.value === "help" && (
          <SidePanel title={text.help} close={close}>
            <Shortcuts />
          </SidePanel>
        )}
      </div>
      <Toolbar room={room} panel={panel} leave={() => room.leave()} />
    </main>
  );
}

function Shortcuts() {
  const command = /Mac|iPhone|iPad/.test(navigator.userAgent) ? "⌘" : "Ctrl";
  const keys: [string[], string][] = [
    [[command, "D"], text.shortcuts.microphone],
    [[command, "E"], text.shortcuts.camera],
    [[text.space], text.shortcuts.talk],
    [["H"], text.shortcuts.hand],
    [["I"], text.shortcuts.figures],
    [["?"], text.shortcuts.help],
  ];
  return (
    <dl class="shortcuts">
      {keys.map(([names, what]) => (
        <div key={what}>
          <dt>
            {names.map((name) => (
              <kbd key={name}>{name}</kbd>
            ))}
          </dt>
          <dd>{what}</dd>
        </div>
      ))}
    </dl>
  );
}

/** The screen does not go dark during a call, where the browser lets it. */
function useWakeLock(): void {
  useEffect(() => {
    let lock: WakeLockSentinel | undefined;
    let isOver = false;
    const take = async () => {
      if (document.visibilityState !== "visible") return;
      // Refused when the battery is low, for instance: then it goes dark.
      lock = await navigator.wakeLock?.request("screen").catch(() => undefined);
      if (isOver) await lock?.release();
    };
    const again = () => void take();
    document.addEventListener("visibilitychange", again);
    again();
    return () => {
      isOver = true;
      document.removeEventListener("visibilitychange", again);
      void lock?.release();
    };
  }, []);
}
