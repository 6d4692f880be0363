/** Numbers and tracks in words. */

/** `1 234`, `12.3`, `0`. */
export function rate(value: number): string {
  if (value === 0) return "0";
  return Math.abs(value) < 10 ? value.toFixed(1) : Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

/** Of a part: `0 %`, `2.5 %`. */
export function percent(part: number): string {
  return `${rate(Math.round(part * 1000) / 10)} %`;
}

/** What a track's name means. */
export function title(name: string): string {
  const titles: Record<string, string> = {
    audio: "Microphone",
    camera: "Camera",
    "camera-low": "Camera, small",
    screen: "Screen",
    "screen-audio": "Screen, sound",
  };
  return titles[name] ?? name;
}
