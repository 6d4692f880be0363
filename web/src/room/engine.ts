/** The worker of a call, as the page has it. */
import type { Command, Report } from "../call/protocol";

declare const WORKER_ADDRESS: string;

/** What the room needs of it; tests have one of their own. */
export interface Engine {
  readonly post: (command: Command, transfer?: Transferable[]) => void;
  onReport: (report: Report) => void;
  close(): void;
}

interface TrustedTypes {
  createPolicy(name: string, rules: { createScriptURL: (address: string) => string }): { createScriptURL(address: string): string };
}

let trusted: string | undefined;

/** The page's policy lets scripts come from one place only: ours. */
function trustedAddress(): string {
  const { trustedTypes } = globalThis as { trustedTypes?: TrustedTypes };
  trusted ??= trustedTypes?.createPolicy("roundtable", { createScriptURL: () => WORKER_ADDRESS }).createScriptURL("") ?? WORKER_ADDRESS;
  return trusted;
}

/** Starts the worker. */
export function startEngine(): Engine {
  const worker = new Worker(trustedAddress(), { type: "module", name: "call" });
  const engine: Engine = {
    post: (command, transfer = []) => worker.postMessage(command, transfer),
    onReport: () => {},
    close: () => worker.terminate(),
  };
  worker.onmessage = ({ data }: MessageEvent<Report>) => engine.onReport(data);
  return engine;
}
