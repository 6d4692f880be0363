/** The page as a person meets it: a real browser at a real relay. */
import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { Browser, Page } from "playwright-core";
import { type RunningRelay, startBrowser, startRelay } from "../support/relay";

const SCREENSHOTS = process.env["SCREENSHOTS"];
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

let relay: RunningRelay;
let browser: Browser;

before(async () => {
  [relay, browser] = await Promise.all([startRelay(), startBrowser()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
});

/** Opens the page and collects what it complains about. */
async function open(path: string, options: Parameters<Browser["newPage"]>[0] = {}) {
  const page = await browser.newPage({ viewport: DESKTOP, locale: "en", ...options });
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(message.text());
  });
  const foreign: string[] = [];
  page.on("request", (request) => {
    if (!request.url().startsWith(relay.page)) foreign.push(request.url());
  });
  await page.goto(relay.page + path);
  return { page, complaints, foreign };
}

async function picture(page: Page, name: string): Promise<void> {
  if (!SCREENSHOTS) return;
  await mkdir(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true });
}

test("the page asks for a room and goes there, by keyboard alone", async () => {
  const { page, complaints, foreign } = await open("/");
  await page.getByRole("heading", { name: "Who is at the table?" }).waitFor();
  await picture(page, "welcome-desktop");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await page.getByLabel("Room").evaluate((input) => input === document.activeElement), true);
  await page.keyboard.type("my-room");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "my-room" }).waitFor();
  assert.equal(new URL(page.url()).pathname, "/room/my-room");
  assert.equal(await page.title(), "my-room · Roundtable");
  await page.goBack();
  await page.getByRole("heading", { name: "Who is at the table?" }).waitFor();
  assert.deepEqual(foreign, [], "nothing is asked of anybody else");
  assert.deepEqual(complaints.filter((text) => !/WebTransport|Failed to establish/.test(text)), []);
  await page.close();
});

test("a name that no room can have is refused with a reason", async () => {
  const { page } = await open("/", { viewport: PHONE, colorScheme: "dark" });
  await page.getByLabel("Room").fill("no good");
  await page.getByText("letters, digits, - and _ only").waitFor();
  assert.equal(await page.getByRole("button", { name: "Join" }).isDisabled(), true);
  await picture(page, "welcome-phone-dark");
  await page.close();
});

test("a room can be named in the address in both ways", async () => {
  for (const path of ["/#quiet", "/room/quiet"]) {
    const { page } = await open(path);
    await page.getByRole("heading", { level: 1, name: "quiet" }).waitFor();
    await page.close();
  }
});

test("the page fits a phone without scrolling sideways", async () => {
  for (const path of ["/", `/room/${"w".repeat(64)}`]) {
    const { page } = await open(path, { viewport: { width: 320, height: 640 } });
    await page.getByRole("heading", { level: 1 }).waitFor();
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(overflow <= 0, `${path} is ${overflow} px too wide`);
    await page.close();
  }
});
