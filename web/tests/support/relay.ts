/** The real relay and a real browser, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { type Browser, chromium } from "playwright-core";

/** Where cargo put the binaries: `CARGO_TARGET_DIR`, or the workspace's own folder. */
const BINARIES = join(process.env["CARGO_TARGET_DIR"] ?? join(process.cwd(), "..", "target"), "debug");

/** A relay on free ports of 127.0.0.1. */
export interface RunningRelay {
  /** Base URL of the page. */
  readonly page: string;
  /** Base URL of calls. */
  readonly calls: string;
  readonly hash: string;
  stop(): Promise<void>;
}

const FREE = "127.0.0.1:0";

/** Starts a relay and waits until it is up: on free ports, or where another one was before. */
export async function startRelay({ quic, http } = { quic: FREE, http: FREE }): Promise<RunningRelay> {
  const data = await mkdtemp(join(tmpdir(), "roundtable-test-"));
  const child = run("roundtable-relay", [
    ...["--print-addresses", "--metrics", "off", "--data", data],
    ...["--listen", quic, "--http", http],
  ]);
  const line = await firstLine(child);
  const addresses = JSON.parse(line) as { quic: string[]; http: string[]; certificate_sha256: string[] };
  return {
    page: addresses.http[0] ?? "",
    calls: `https://${addresses.quic[0]}`,
    hash: addresses.certificate_sha256[0] ?? "",
    stop: async () => {
      await end(child);
      await rm(data, { recursive: true, force: true });
    },
  };
}

/** Starts one of the workspace's binaries. */
export function run(binary: string, args: string[]): ChildProcess {
  return spawn(join(BINARIES, binary), args, { stdio: ["ignore", "pipe", "inherit"] });
}

/** Asks a process of ours to end, and waits for it. */
export async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  await ended;
}

async function firstLine(child: ChildProcess): Promise<string> {
  if (!child.stdout) throw new Error("the process has no output");
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the process ended with ${code} before it was up`)));
    if (child.stdout) createInterface(child.stdout).once("line", resolve);
  });
}

/** Debian's Chromium, or the one that CHROMIUM names. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium" });
}
