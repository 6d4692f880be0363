/** Cameras, microphones, screens: asking for them, and what to say when they cannot be had. */

/** A device as a person chooses it. */
export interface Device {
  readonly id: string;
  readonly label: string;
}

/** What there is. Labels are empty until one of a kind has been allowed. */
export interface DeviceList {
  readonly cameras: readonly Device[];
  readonly microphones: readonly Device[];
  readonly speakers: readonly Device[];
}

/** What may be asked of a microphone. */
export interface MicrophoneSettings {
  readonly deviceId: string | undefined;
  readonly echoCancellation: boolean;
  readonly noiseSuppression: boolean;
  readonly autoGainControl: boolean;
}

/** A device cannot be had; `message` says what to do. */
export class DeviceError extends Error {
  override readonly name = "DeviceError";
}

/** Reads the list of devices. */
export async function listDevices(): Promise<DeviceList> {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind: MediaDeviceKind) =>
    all.filter((device) => device.kind === kind && device.deviceId !== "").map(({ deviceId, label }) => ({ id: deviceId, label }));
  return { cameras: of("videoinput"), microphones: of("audioinput"), speakers: of("audiooutput") };
}

/** Calls back when devices come or go; returns what ends that. */
export function watchDevices(changed: () => void): () => void {
  navigator.mediaDevices?.addEventListener("devicechange", changed);
  return () => navigator.mediaDevices?.removeEventListener("devicechange", changed);
}

/** A camera. 720 lines where the machine has the strength to encode them, else 360. */
export async function openCamera(deviceId: string | undefined): Promise<MediaStreamTrack> {
  const isStrong = navigator.hardwareConcurrency >= 4;
  const video = {
    width: { ideal: isStrong ? 1280 : 640 },
    height: { ideal: isStrong ? 720 : 360 },
    frameRate: { ideal: 30, max: 30 },
    ...(deviceId !== undefined && { deviceId: { ideal: deviceId } }),
  };
  return only(await ask(() => navigator.mediaDevices.getUserMedia({ video }), "camera"));
}

/** A microphone. */
export async function openMicrophone(settings: MicrophoneSettings): Promise<MediaStreamTrack> {
  const { deviceId, ...processing } = settings;
  const audio = { ...processing, channelCount: 1, ...(deviceId !== undefined && { deviceId: { ideal: deviceId } }) };
  return only(await ask(() => navigator.mediaDevices.getUserMedia({ audio }), "microphone"));
}

/** A screen, window or tab, with its sound where there is one; `undefined` when the person thought better of it. */
export async function openScreen(): Promise<{ video: MediaStreamTrack; audio: MediaStreamTrack | undefined } | undefined> {
  if (!navigator.mediaDevices?.getDisplayMedia) throw new DeviceError("This browser cannot share a screen.");
  const options = { video: { frameRate: { ideal: 30, max: 30 } }, audio: true, systemAudio: "include", surfaceSwitching: "include" };
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia(options);
    const [video] = stream.getVideoTracks();
    if (!video) return undefined;
    video.contentHint = "detail";
    return { video, audio: stream.getAudioTracks()[0] };
  } catch (error) {
    if (error instanceof DOMException && error.name === "NotAllowedError") return undefined;
    throw new DeviceError("The screen cannot be shared. Try a window or a tab instead.");
  }
}

async function ask(request: () => Promise<MediaStream>, what: "camera" | "microphone"): Promise<MediaStream> {
  if (!navigator.mediaDevices?.getUserMedia) throw new DeviceError(`This page may not use the ${what}: open it as https:// or at localhost.`);
  try {
    return await request();
  } catch (error) {
    throw new DeviceError(reason(error, what));
  }
}

function reason(error: unknown, what: "camera" | "microphone"): string {
  const name = error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
      return `The ${what} is not allowed here. Allow it in the site settings beside the address, then try again.`;
    case "NotFoundError":
    case "OverconstrainedError":
      return `No ${what} was found. Plug one in, or join without it.`;
    case "NotReadableError":
    case "AbortError":
      return `The ${what} is in use elsewhere. Close the other program, then try again.`;
    default:
      return `The ${what} cannot be opened.`;
  }
}

function only(stream: MediaStream): MediaStreamTrack {
  const [track] = stream.getTracks();
  if (!track) throw new DeviceError("The device gives nothing.");
  return track;
}
