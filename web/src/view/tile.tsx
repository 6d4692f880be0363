/** One participant, or one shared screen, with its name and how it stands. */
import type { ComponentChildren } from "preact";
import type { VideoSource } from "../call/protocol";
import type { Participant } from "../room/participant";
import type { Room } from "../room/room";
import { HandIcon, MicrophoneOffIcon, PinIcon } from "./icons";
import { OwnPicture, Picture } from "./picture";
import { text } from "./text";

interface FrameProps {
  readonly name: string;
  readonly shownName?: string;
  readonly kind: VideoSource;
  readonly words: readonly string[];
  readonly isSpeaking: boolean;
  readonly isMuted: boolean;
  readonly hasHandUp: boolean;
  readonly quality: "good" | "fair" | "bad";
  readonly picture: ComponentChildren;
  readonly actions?: ComponentChildren;
}

function Frame(props: FrameProps) {
  const { name, kind, words, isSpeaking, isMuted, hasHandUp, quality, picture, actions } = props;
  const label = [name, ...words].join(", ");
  return (
    <div class={`tile ${kind}${isSpeaking ? " speaking" : ""}`} role="group" aria-label={label} data-tile={name}>
      {picture ?? (
        <div class="faceless" aria-hidden="true">
          <span class="avatar">{initials(name)}</span>
        </div>
      )}
      {hasHandUp && (
        <span class="badge hand" aria-hidden="true">
          <HandIcon />
        </span>
      )}
      <div class="nameplate" aria-hidden="true">
        {isMuted && (
          <span class="muted">
            <MicrophoneOffIcon />
          </span>
        )}
        <span class="name">{props.shownName ?? name}</span>
        {quality !== "good" && (
          <span class={`quality ${quality}`}>
            <i />
            <i />
            <i />
          </span>
        )}
      </div>
      {actions && <div class="actions">{actions}</div>}
    </div>
  );
}

export interface Pinning {
  readonly pinned: string | undefined;
  readonly pin: (key: string | undefined) => void;
}

export function Tile({ room, participant, source, pinning }: { room: Room; participant: Participant; source: VideoSource; pinning: Pinning }) {
  const who = participant.name.value;
  const name = source === "screen" ? text.screenOf(who) : who;
  const hasPicture = participant.has(source);
  const { isMuted } = participant;
  const isSpeaking = participant.isSpeaking.value && source === "camera";
  const hasHandUp = source === "camera" && (participant.state.value?.hasHandUp ?? false);
  const quality = participant.quality.value;
  const problem = participant.problem.value;
  const words = [
    ...(source === "camera" && isMuted ? [text.muted] : []),
    ...(isSpeaking ? [text.speaking] : []),
    ...(hasHandUp ? [text.handUp] : []),
    ...(source === "camera" && !hasPicture ? [text.cameraLess] : []),
    ...(quality === "bad" ? [text.badConnection] : quality === "fair" ? [text.fairConnection] : []),
    ...(problem === undefined ? [] : [problem]),
  ];
  const key = `${participant.id}/${source}`;
  const isPinned = pinning.pinned === key;
  return (
    <Frame
      name={name}
      kind={source}
      words={words}
      isSpeaking={isSpeaking}
      isMuted={source === "camera" && isMuted}
      hasHandUp={hasHandUp}
      quality={quality}
      picture={hasPicture ? <Picture room={room} participant={participant} source={source} /> : undefined}
      actions={
        <>
          {source === "camera" && participant.has("audio") && (
            <input
              type="range"
              class="volume"
              min="0"
              max="1"
              step="0.05"
              value={participant.volume.value}
              aria-label={text.volumeOf(who)}
              onInput={(event) => room.setVolume(participant, Number(event.currentTarget.value))}
            />
          )}
          <button
            type="button"
            class="small"
            aria-pressed={isPinned}
            aria-label={isPinned ? text.unpin : text.pin(name)}
            title={isPinned ? text.unpin : text.pin(name)}
            onClick={() => pinning.pin(isPinned ? undefined : key)}
          >
            <PinIcon />
          </button>
        </>
      }
    />
  );
}

export function OwnTile({ room, source }: { room: Room; source: VideoSource }) {
  const { own } = room;
  const state = own.state.value;
  const stream = source === "camera" ? own.cameraStream.value : own.screenStream.value;
  const isSpeaking = source === "camera" && own.isSpeaking.value && !state.isMuted;
  const words = [
    ...(source === "camera" && state.isMuted ? [text.muted] : []),
    ...(isSpeaking ? [text.speaking] : []),
    ...(state.hasHandUp && source === "camera" ? [text.handUp] : []),
  ];
  const loss = room.figures.value.uplinkLoss;
  return (
    <Frame
      name={source === "camera" ? text.you : text.yourScreen}
      kind={source}
      words={words}
      isSpeaking={isSpeaking}
      isMuted={source === "camera" && state.isMuted}
      hasHandUp={source === "camera" && state.hasHandUp}
      quality={loss > 0.08 ? "bad" : loss > 0.02 ? "fair" : "good"}
      picture={stream ? <OwnPicture stream={stream} isMirrored={source === "camera"} /> : undefined}
    />
  );
}

function initials(name: string): string {
  const words = name.split(/[\s_-]+/).filter((word) => word !== "");
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => [...(word ?? "")][0] ?? "");
  return letters.join("").toUpperCase() || "?";
}
