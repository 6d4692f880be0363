/** People in a call, for tests: pages of a real browser, with devices that Chromium makes up. */
import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";
import type { RunningRelay } from "./relay";

const SCREENSHOTS = process.env["SCREENSHOTS"];
export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
/** The machine that runs the tests may be busy. */
export const PATIENCE_MS = 45_000;

/** A browser whose camera, microphone and screen are made up: a turning disc at 30 frames a second, a beep every second. */
export function startCallBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream=fps=30"],
  });
}

/** Somebody at a page. */
export class Person {
  private constructor(
    readonly page: Page,
    /** What the page has complained about. */
    readonly complaints: string[],
  ) {}

  /** Opens the page of a room. */
  static async at(browser: Browser, relay: RunningRelay, path: string, options: Parameters<Browser["newContext"]>[0] = {}): Promise<Person> {
    const context = await browser.newContext({ viewport: DESKTOP, locale: "en", ...options });
    await context.addInitScript(tapSound);
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const person = new Person(page, []);
    page.on("pageerror", (error) => person.complaints.push(error.message));
    page.on("console", (message) => {
      if (message.type() === "error") person.complaints.push(message.text());
    });
    await page.goto(relay.page + path);
    return person;
  }

  /** Gives a name and joins. */
  async join(name: string): Promise<this> {
    await this.page.getByLabel("Your name").fill(name);
    // Both devices are open, so that everybody is seen and heard from the start.
    await this.page.getByRole("button", { name: "Mute" }).waitFor();
    await this.page.getByRole("button", { name: "Switch camera off" }).waitFor();
    await this.page.getByRole("button", { name: "Join", exact: true }).click();
    await this.page.getByRole("toolbar", { name: "Call" }).waitFor();
    return this;
  }

  /** The tile of somebody, by the name on it. */
  tile(name: string) {
    return this.page.locator(`[data-tile="${name}"]`);
  }

  /** Waits until the picture of somebody moves: three different pictures in a row, none of them a single colour. */
  async sees(name: string): Promise<void> {
    const seen = new Set<number>();
    await until(async () => {
      const picture = await this.#picture(name);
      if (picture !== undefined) seen.add(picture);
      return seen.size >= 3;
    }, `no moving picture of ${name}`);
  }

  /** A digest of the picture of somebody now; `undefined` while there is none. */
  async #picture(name: string): Promise<number | undefined> {
    return this.tile(name)
      .locator("canvas")
      .evaluate((canvas: HTMLCanvasElement) => {
        const copy = document.createElement("canvas");
        copy.width = 64;
        copy.height = 36;
        const context = copy.getContext("2d");
        context?.drawImage(canvas, 0, 0, 64, 36);
        const { data } = context?.getImageData(0, 0, 64, 36) ?? { data: new Uint8ClampedArray(0) };
        let digest = 0;
        const colours = new Set<number>();
        for (let i = 0; i < data.length; i += 4) {
          const colour = ((data[i] ?? 0) << 16) | ((data[i + 1] ?? 0) << 8) | (data[i + 2] ?? 0);
          colours.add(colour);
          digest = (Math.imul(digest, 31) + colour) | 0;
        }
        return colours.size > 1 ? digest : undefined;
      }, { timeout: 1000 })
      .catch(() => undefined);
  }

  /** Waits until something that others sent comes out of the loudspeaker. */
  async hears(): Promise<void> {
    await until(() => this.page.evaluate(() => (globalThis as { loudest?: () => number }).loudest?.() ?? 0).then((peak) => peak > 0.02), "nothing is heard");
  }

  /** Frames a second that are shown of somebody's track, as the page itself says. */
  async framesPerSecond(name: string): Promise<number> {
    const row = this.page.locator(`[data-from="${name}"][data-received^="camera"]`);
    if (!(await this.page.getByRole("complementary", { name: "Connection figures" }).isVisible())) await this.page.keyboard.press("i");
    return Number(await row.locator("td").nth(1).innerText());
  }

  /** Waits until a tile says something of its participant, for those who do not see it. */
  async reads(name: string, words: RegExp): Promise<void> {
    await until(async () => words.test((await this.tile(name).getAttribute("aria-label", { timeout: 1000 }).catch(() => null)) ?? ""), `${name} is not ${words}`);
  }

  /** Keeps a screenshot, where SCREENSHOTS names a folder for them. */
  async picture(name: string): Promise<void> {
    if (!SCREENSHOTS) return;
    await mkdir(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: join(SCREENSHOTS, `${name}.png`) });
  }

  /** Asserts that axe finds nothing serious. */
  async isAccessible(): Promise<void> {
    const source = await readFile(join(process.cwd(), "node_modules/axe-core/axe.min.js"), "utf8");
    // The page's own policy lets no script in: this one comes by the debugger.
    await this.page.evaluate(source);
    const found = await this.page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run: () => Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> };
      };
      const { violations } = await axe.run();
      return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
    });
    assert.deepEqual(found, []);
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }
}

/** Waits for a condition, with a bound. */
export async function until(condition: () => Promise<boolean> | boolean, otherwise: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!(await condition())) {
    assert.ok(Date.now() < deadline, otherwise);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** In the page, before its own scripts: listens to what goes to the loudspeaker. */
function tapSound(): void {
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (this: AudioNode, ...to: unknown[]) {
    if (to[0] instanceof AudioDestinationNode) {
      const analyser = new AnalyserNode(this.context, { fftSize: 32_768 });
      Reflect.apply(connect, this, [analyser]);
      const samples = new Float32Array(analyser.fftSize);
      Object.assign(globalThis, {
        loudest: () => {
          analyser.getFloatTimeDomainData(samples);
          return samples.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0);
        },
      });
    }
    return Reflect.apply(connect, this, to) as AudioNode;
  } as typeof connect;
}
