import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, Unsupported } from "../src/moqt/connect";
import { Ended } from "../src/moqt/error";

const destination = { url: "https://relay.test:4443/room", certificateHashes: [] };

/** A browser's connection that never gets an answer. */
class SilentTransport {
  static closed = 0;
  readonly ready = new Promise<void>(() => {});
  readonly closed = new Promise<void>(() => {});
  close(): void {
    SilentTransport.closed += 1;
  }
}

test("a browser without WebTransport, or a page that is not secure, is told what would help", async () => {
  await assert.rejects(connect(destination), (error) => error instanceof Unsupported && /secure page/.test(error.message));
  Object.assign(globalThis, { isSecureContext: true });
  await assert.rejects(connect(destination), (error) => error instanceof Unsupported && /up to date/.test(error.message));
});

test("a network that says nothing is told in three seconds, and what to try", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  Object.assign(globalThis, { isSecureContext: true, WebTransport: SilentTransport });
  const asked = connect(destination);
  t.mock.timers.tick(2999);
  assert.equal(await Promise.race([asked.catch(() => "over"), Promise.resolve("waiting")]), "waiting");
  t.mock.timers.tick(1);
  await assert.rejects(asked, (error) => error instanceof Ended && /relay\.test:4443 over UDP.*another network/.test(error.message));
  assert.equal(SilentTransport.closed, 1);
});
