/** The worker of a call: everything of it that is not the page's own. */
import { Call } from "./call";
import type { Command } from "./protocol";

const call = new Call((report) => postMessage(report));
addEventListener("message", ({ data }: MessageEvent<Command>) => call.obey(data));
