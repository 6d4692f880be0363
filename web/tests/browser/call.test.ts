/** A call as people have it: real pages of a real browser at a real relay. Two pages at most: they share the machine. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Browser } from "playwright-core";
import { Person, PHONE, startCallBrowser, until } from "../support/call";
import { end, type RunningRelay, run, startRelay } from "../support/relay";

let relay: RunningRelay;
let browser: Browser;

before(async () => {
  [relay, browser] = await Promise.all([startRelay(), startCallBrowser()]);
});

after(async () => {
  await browser?.close();
  await relay?.stop();
});

test("two people see and hear each other, mute, switch cameras, raise hands, share, and leave", async (t) => {
  const ada = await Person.at(browser, relay, "/room/two");
  await ada.picture("before-desktop");
  await ada.isAccessible();
  await ada.join("Ada");
  await ada.page.getByText("You are the first one here.").first().waitFor();
  await ada.picture("alone-desktop");
  const bob = await Person.at(browser, relay, "/room/two");
  await bob.page.getByText("Here: Ada").waitFor();
  await bob.join("Bob");

  await t.test("both see moving pictures and hear sound", async () => {
    await Promise.all([ada.sees("Bob"), bob.sees("Ada"), ada.hears(), bob.hears()]);
    await ada.reads("Bob", /speaking/);
    await ada.isAccessible();
    await ada.picture("pair-desktop");
  });

  await t.test("muting is seen by the other, by button and by keyboard", async () => {
    await bob.page.getByRole("button", { name: "Mute" }).click();
    await ada.reads("Bob", /muted/);
    await bob.page.keyboard.press("Control+d");
    await until(async () => !/muted/.test((await ada.tile("Bob").getAttribute("aria-label")) ?? ""), "Bob is still muted");
  });

  await t.test("a camera goes off and on again", async () => {
    await bob.page.getByRole("button", { name: "Switch camera off" }).click();
    await ada.reads("Bob", /no camera/);
    await ada.picture("no-camera-desktop");
    await bob.page.keyboard.press("Control+e");
    await ada.sees("Bob");
  });

  await t.test("a raised hand is seen, and lowered", async () => {
    await bob.page.keyboard.press("h");
    await ada.reads("Bob", /hand raised/);
    await bob.page.getByRole("button", { name: "Lower hand" }).click();
    await until(async () => !/hand/.test((await ada.tile("Bob").getAttribute("aria-label")) ?? ""), "the hand is still up");
  });

  await t.test("a shared screen takes the middle, and gives it back", async () => {
    await bob.page.getByRole("button", { name: "Share screen" }).click();
    await ada.sees("Bob's screen");
    await ada.sees("Bob");
    await ada.picture("screen-desktop");
    await bob.page.getByRole("button", { name: "Stop sharing" }).click();
    await ada.tile("Bob's screen").waitFor({ state: "detached" });
  });

  await t.test("whoever leaves is gone for the other, and may come again", async () => {
    await bob.page.getByRole("button", { name: "Leave" }).click();
    await bob.page.getByText("You have left the call.").waitFor();
    await ada.tile("Bob").waitFor({ state: "detached" });
    await bob.picture("left-desktop");
    await bob.isAccessible();
    await bob.page.getByRole("button", { name: "Join again" }).click();
    await bob.join("Bob");
    await Promise.all([ada.sees("Bob"), bob.sees("Ada")]);
  });

  assert.deepEqual([...ada.complaints, ...bob.complaints], []);
  await Promise.all([ada.close(), bob.close()]);
});

test("a test card of the publisher is seen and heard, on a phone as well", async () => {
  const publisher = run("roundtable-publisher", ["--url", `${relay.calls}/card`, "--tls-sha256", relay.hash, "--name", "card"]);
  try {
    const eve = await Person.at(browser, relay, "/room/card", { viewport: PHONE, colorScheme: "dark", hasTouch: true });
    await eve.picture("before-phone-dark");
    await eve.isAccessible();
    await eve.join("Eve");
    await Promise.all([eve.sees("card"), eve.hears()]);
    await eve.picture("card-phone-dark");
    await eve.isAccessible();
    let best = 0;
    await until(async () => (best = Math.max(best, await eve.framesPerSecond("card"))) >= 20, `only ${best} frames a second`);
    await eve.picture("figures-phone-dark");
    await eve.close();
  } finally {
    await end(publisher);
  }
});

test("a call goes on by itself when the relay comes back", async () => {
  const other = await startRelay();
  const address = (url: string) => new URL(url).host;
  const ada = await (await Person.at(browser, other, "/room/back")).join("Ada");
  const bob = await (await Person.at(browser, other, "/room/back")).join("Bob");
  await ada.sees("Bob");
  await other.stop();
  await ada.page.getByRole("alert").getByText("Trying again").waitFor();
  await ada.picture("lost-desktop");
  assert.ok(await ada.tile("Bob").isVisible(), "the picture stays");
  const again = await startRelay({ quic: address(other.calls), http: address(other.page) });
  try {
    await ada.page.getByRole("status").getByText("Connected").waitFor();
    await Promise.all([ada.sees("Bob"), bob.sees("Ada")]);
    assert.equal(await ada.page.locator("[data-tile]").count(), 2, "nobody is there twice");
  } finally {
    await Promise.all([ada.close(), bob.close()]);
    await again.stop();
  }
});

test("without camera and microphone one may still come, and is told what to do", async () => {
  const context = await browser.newContext({ locale: "en" });
  // The flags of this browser allow everything: the refusal is played.
  await context.addInitScript(() => {
    navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
  });
  const page = await context.newPage();
  await page.goto(`${relay.page}/room/alone`);
  await page.getByText("The camera is not allowed here.").waitFor();
  await page.getByText("The microphone is not allowed here.").waitFor();
  await page.getByLabel("Your name").fill("Zoe");
  await page.getByRole("button", { name: "Join", exact: true }).click();
  await page.getByRole("toolbar", { name: "Call" }).waitFor();
  await page.getByRole("button", { name: "Unmute" }).waitFor();
  await context.close();
});
