import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { CatalogError, parseCatalog, readCatalog } from "../src/media/catalog";
import { hashBytes } from "../src/room/relay";
import { isRoomName } from "../src/room/room";
import { rate } from "../src/view/format";

const CATALOG = JSON.stringify({
  version: "draft-01",
  tracks: [
    { name: "camera", packaging: "loc-fragments", isLive: true, codec: "vp8", width: 640, height: 360, framerate: 29.97 },
    { name: "audio", packaging: "loc", isLive: true, codec: "opus", samplerate: 48000, channelConfig: "2" },
  ],
});
const NONE = new Uint8Array(0);
/** MSF_COMPRESSION 1. */
const GZIP = Uint8Array.of(0x78, 1);

test("a catalog is read plain or gzipped, as the properties of the track or of the object say", async () => {
  const { tracks } = parseCatalog(CATALOG);
  assert.deepEqual(tracks.map(({ name, format }) => [name, format.codec]), [["camera", "vp8"], ["audio", "opus"]]);
  const zipped = new Uint8Array(gzipSync(CATALOG));
  for (const [track, object] of [[GZIP, NONE], [NONE, GZIP], [Uint8Array.of(0x78, 0), GZIP]] as const) {
    assert.deepEqual((await readCatalog(zipped, track, object)).tracks, tracks);
  }
  assert.deepEqual((await readCatalog(new TextEncoder().encode(CATALOG), GZIP, Uint8Array.of(0x78, 0))).tracks, tracks);
});

test("a catalog that cannot be read says why", async () => {
  assert.throws(() => parseCatalog('{"version":"draft-99"}'), /draft-99/);
  await assert.rejects(readCatalog(new Uint8Array(256 * 1024 + 1), NONE, NONE), /256 KiB/);
  await assert.rejects(readCatalog(new Uint8Array(gzipSync(" ".repeat(300 * 1024))), NONE, GZIP), /256 KiB/);
  await assert.rejects(readCatalog(Uint8Array.of(0x1f, 0x8b, 1, 2, 3), NONE, GZIP), CatalogError);
  await assert.rejects(readCatalog(NONE, NONE, Uint8Array.of(0x78, 7)), /compression/);
});

test("room names are those of docs/wire.md", () => {
  for (const name of ["a", "my-room_1", "A".repeat(64)]) assert.ok(isRoomName(name), name);
  for (const name of ["", "me", "a b", "a/b", "ä", "A".repeat(65), ".session"]) assert.ok(!isRoomName(name), name);
});

test("small things", () => {
  assert.deepEqual([0, 0.04, 9.94, 10.4, 12345.6].map(rate), ["0", "0.0", "9.9", "10", "12\u202f346"]);
  assert.deepEqual(hashBytes("00ff10"), Uint8Array.of(0, 255, 16));
});
