/**
 * Measures calls in real pages at a real relay, all by the clocks of this machine, and prints a table: join time (click to
 * first picture of somebody else), glass to glass (a frame's capture to its drawing on another page), frames shown, and how
 * far sound is behind its picture. `npm run measure [-- SECONDS [PEOPLE …]]`; the pages share the machine with everything else
 * that runs on it, so a quiet one is needed for figures that mean something.
 */
import type { Browser } from "playwright-core";
import type { TrackFigures } from "../../src/call/protocol";
import { Person, startCallBrowser } from "../support/call";
import { startRelay } from "../support/relay";

const [seconds = 20, ...groups] = process.argv.slice(2).map(Number);

interface Result {
  readonly joinMs: number[];
  readonly p50: number[];
  readonly p95: number[];
  readonly fps: number[];
  readonly skewMs: number[];
  readonly concealed: number[];
}

async function measure(browser: Browser, count: number): Promise<Result> {
  const relay = await startRelay();
  const people: Person[] = [];
  try {
    for (let i = 0; i < count; i++) people.push(await (await Person.at(browser, relay, "/room/measure")).join(`P${i}`));
    for (const [i, person] of people.entries()) {
      for (const other of people.keys()) if (other !== i) await person.sees(`P${other}`);
      await person.page.keyboard.press("i");
    }
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const result: Result = { joinMs: [], p50: [], p95: [], fps: [], skewMs: [], concealed: [] };
    for (const { page } of people.slice(1)) {
      const shown = await page.locator("[data-join-ms]").getAttribute("data-join-ms");
      result.joinMs.push(Number(shown));
    }
    for (const { page } of people) {
      const rows = await page.locator("[data-figures]").evaluateAll((rows) => rows.map((row) => row.getAttribute("data-figures") ?? ""));
      for (const { delayMs, shownPerS, soundAfterPictureMs, concealedMs, playedMs } of rows.map((row) => JSON.parse(row) as TrackFigures)) {
        if (delayMs) result.p50.push(delayMs.p50);
        if (delayMs) result.p95.push(delayMs.p95);
        if (shownPerS !== undefined) result.fps.push(shownPerS);
        if (soundAfterPictureMs !== undefined) result.skewMs.push(soundAfterPictureMs);
        if (concealedMs !== undefined && playedMs) result.concealed.push((concealedMs / playedMs) * 100);
      }
    }
    return result;
  } finally {
    await Promise.all(people.map((person) => person.close()));
    await relay.stop();
  }
}

function range(values: readonly number[], digits = 0): string {
  if (values.length === 0) return "-";
  const [low, high] = [Math.min(...values), Math.max(...values)].map((value) => value.toFixed(digits));
  return low === high ? `${low}` : `${low}-${high}`;
}

const browser = await startCallBrowser();
console.log("people | join ms | glass to glass p50 ms | p95 ms | frames/s | sound after picture ms | sound filled in %");
for (const count of groups.length > 0 ? groups : [2, 3]) {
  const { joinMs, p50, p95, fps, skewMs, concealed } = await measure(browser, count);
  console.log([count, range(joinMs), range(p50), range(p95), range(fps), range(skewMs), range(concealed, 2)].join(" | "));
}
await browser.close();
