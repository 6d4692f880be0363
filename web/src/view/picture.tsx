/** A picture of somebody else: a canvas that the worker draws on. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { VideoSource } from "../call/protocol";
import type { Participant } from "../room/participant";
import type { Room } from "../room/room";

/** A picture that would lose more than this of itself at the edges is shown whole, with bars. */
const CROP_MAX = 0.4;
/** The worker hears of a new size once it has stood so long. */
const SETTLE_MS = 150;

export function Picture({ room, participant, source }: { room: Room; participant: Participant; source: VideoSource }) {
  const place = useRef<HTMLDivElement>(null);
  const shape = useSignal(1);
  const picture = participant.shown.value[source];
  const ratio = picture ? picture.width / picture.height / shape.value : 1;
  const isWhole = Math.min(ratio, 1 / ratio) < 1 - CROP_MAX;
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    // A canvas can be handed to a worker once only: every place has a new one.
    const canvas = document.createElement("canvas");
    canvas.width = 16;
    canvas.height = 9;
    element.replaceChildren(canvas);
    const shown = room.show(participant, source, canvas.transferControlToOffscreen());
    let timer: ReturnType<typeof setTimeout> | undefined;
    const tell = () => {
      shape.value = element.clientWidth / Math.max(element.clientHeight, 1);
      const isSeen = document.visibilityState === "visible";
      shown.resize(isSeen ? Math.round(element.clientHeight * devicePixelRatio) : 0);
    };
    const settle = () => {
      clearTimeout(timer);
      timer = setTimeout(tell, SETTLE_MS);
    };
    const observer = new ResizeObserver(settle);
    observer.observe(element);
    document.addEventListener("visibilitychange", settle);
    tell();
    return () => {
      clearTimeout(timer);
      observer.disconnect();
      document.removeEventListener("visibilitychange", settle);
      shown.close();
    };
  }, [room, participant, source, shape]);
  return <div ref={place} class={isWhole ? "picture whole" : "picture"} aria-hidden="true" />;
}

/** A picture of our own: what the device gives. */
export function OwnPicture({ stream, isMirrored }: { stream: MediaStream; isMirrored: boolean }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (video.current) video.current.srcObject = stream;
  }, [stream]);
  return (
    <div class="picture" aria-hidden="true">
      <video ref={video} class={isMirrored ? "mirrored" : ""} autoPlay playsInline muted />
    </div>
  );
}
