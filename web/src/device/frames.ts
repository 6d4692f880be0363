/** The frames of a camera or a screen, as a stream that a worker can have. */

/** Chromium's, not in the DOM's types. */
declare class MediaStreamTrackProcessor {
  constructor(init: { track: MediaStreamTrack; maxBufferSize?: number });
  readonly readable: ReadableStream<VideoFrame>;
}

/** Stops when the track ends or the stream is cancelled. */
export function framesOf(track: MediaStreamTrack): ReadableStream<VideoFrame> {
  if (typeof MediaStreamTrackProcessor !== "undefined") return new MediaStreamTrackProcessor({ track }).readable;
  return framesOfElement(track);
}

/** Firefox has no processor, Safari none here: a video element that nobody sees plays the track. */
function framesOfElement(track: MediaStreamTrack): ReadableStream<VideoFrame> {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  let isOver = false;
  return new ReadableStream<VideoFrame>(
    {
      async start(controller) {
        const end = () => {
          if (isOver) return;
          isOver = true;
          video.srcObject = null;
          controller.close();
        };
        track.addEventListener("ended", end);
        const next = (time: number) => {
          if (isOver) return;
          // A worker that does not keep up gets fewer frames, not older ones.
          if ((controller.desiredSize ?? 0) > 0) controller.enqueue(new VideoFrame(video, { timestamp: Math.round(time * 1000) }));
          video.requestVideoFrameCallback(next);
        };
        video.requestVideoFrameCallback(next);
        await video.play();
      },
      cancel() {
        isOver = true;
        video.srcObject = null;
      },
    },
    { highWaterMark: 2 },
  );
}
