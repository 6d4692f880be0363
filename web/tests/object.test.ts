import assert from "node:assert/strict";
import { test } from "node:test";
import { ByteStream } from "../src/moqt/byte_stream";
import { Violation } from "../src/moqt/error";
import {
  decodeDatagram,
  encodeDatagram,
  type FetchItem,
  type MoqtObject,
  readFetchItems,
  readSubgroupHeader,
  readSubgroupObjects,
  writeFetchItems,
  writeSubgroupHeader,
  writeSubgroupObject,
} from "../src/moqt/object";
import { Writer } from "../src/moqt/vi64";
import { hex, toHex } from "./support/fake_relay";

function source(bytes: Uint8Array): ByteStream {
  return new ByteStream(
    new ReadableStream({
      start(controller) {
        if (bytes.length > 0) controller.enqueue(bytes);
        controller.close();
      },
    }),
  );
}

async function subgroup(bytes: string): Promise<MoqtObject[]> {
  const stream = source(hex(bytes));
  const header = await readSubgroupHeader(await stream.vi64(), stream);
  const objects: MoqtObject[] = [];
  for await (const object of readSubgroupObjects(header, stream, 1024)) objects.push(object);
  return objects;
}

async function fetched(bytes: string, order: "ascending" | "descending" = "ascending"): Promise<FetchItem[]> {
  const items: FetchItem[] = [];
  for await (const item of readFetchItems(order, source(hex(bytes)), 1024)) items.push(item);
  return items;
}

function brief(object: MoqtObject): string {
  const { location, priority, subgroup, status, payload } = object;
  return `${location.group}/${location.object} p${priority} s${subgroup} ${status} ${toHex(payload)}`;
}

test("a datagram comes back as it was, in every form", () => {
  const base: MoqtObject = {
    location: { group: 5n, object: 0n },
    priority: undefined,
    subgroup: undefined,
    status: "normal",
    endsGroup: false,
    properties: new Uint8Array(0),
    payload: hex("cafe"),
  };
  const none = new Uint8Array(0);
  const objects: MoqtObject[] = [
    base,
    { ...base, location: { group: 5n, object: 9n }, priority: 7, endsGroup: true, properties: hex("1005") },
    { ...base, status: "endOfGroup", payload: none },
    { ...base, location: { group: 1n << 60n, object: 1n << 63n }, status: "endOfTrack", payload: none },
    { ...base, payload: none },
  ];
  for (const object of objects) {
    assert.deepEqual(decodeDatagram(encodeDatagram({ alias: 77n, object })), { alias: 77n, object });
  }
});

test("a datagram that breaks the draft's rules is a violation", () => {
  const wrong = ["10 01 01", "22 01 01 00", "30 01 01", "40 01 01", "05 01 01 00", "2d 01 01 02 10 05 03", "2c 01 01 01", "2c 01 01 03 ff", "0c 01", ""];
  for (const bytes of wrong) assert.throws(() => decodeDatagram(hex(bytes)), Violation, bytes);
  assert.equal(decodeDatagram(hex("f0 13 2b 3e 29 00 00")), undefined, "padding");
});

test("objects of a subgroup stream follow one another by deltas", async () => {
  // Type 0x10: subgroup 0, priority present. Objects 0, 1 and 4, then the end of the group.
  const objects = await subgroup("10 07 05 80  00 02 cafe  00 01 aa  02 00 00  00 00 03");
  assert.deepEqual(objects.map(brief), [
    "5/0 p128 s0 normal cafe",
    "5/1 p128 s0 normal aa",
    "5/4 p128 s0 normal ",
    "5/5 p128 s0 endOfGroup ",
  ]);
  // Type 0x33: properties, subgroup id is the first object's, default priority.
  const [object] = await subgroup("33 07 05  03 02 10 09 01 ee");
  assert.equal(object && brief(object), "5/3 pundefined s3 normal ee");
  assert.equal(object && toHex(object.properties), "1009");
});

test("a subgroup stream that breaks the draft's rules is a violation", async () => {
  for (const bytes of ["16 07 05", "10 07 05 80 00 02 ca", "10 07 05 80 00 00 01", "10 07 05 80 00 88 00", "31 07 05 00 02 10 09 00 03"]) {
    await assert.rejects(subgroup(bytes), Violation, bytes);
  }
});

test("items of a FETCH refer to the one before", async () => {
  // Group 5 object 0, priority 1, subgroup 2; the next object; a datagram object of group 7; unknown up to 9/3.
  const items = await fetched("1f 05 02 00 01 01 aa  01 01 bb  4c 01 00 01 cc  810c 09 03");
  const words = items.map((item) => (item.type === "object" ? brief(item.object) : `${item.type} ${item.end.group}/${item.end.object}`));
  assert.deepEqual(words, [
    "5/0 p1 s2 normal aa",
    "5/1 p1 s2 normal bb",
    "7/0 p1 sundefined normal cc",
    "unknown 9/3",
  ]);
  const [, second] = await fetched("1c 05 00 01 00  0c 01 00 00", "descending");
  assert.equal(second?.type === "object" && second.object.location.group, 3n);
});

test("a FETCH that refers to nothing is a violation", async () => {
  for (const bytes of ["00 00", "0c 05 00 00", "1d 05 00 01 00", "8200", "1c 05 00"]) {
    await assert.rejects(fetched(bytes), Violation, bytes);
  }
});

test("what is written on a subgroup stream reads as it was", async () => {
  for (const [subgroup, priority, properties] of [[0n, 8, ""], [undefined, undefined, "1009"], [7n, 200, "1009"]] as const) {
    const header = {
      alias: 5n,
      group: 1n << 40n,
      subgroup,
      priority,
      hasProperties: properties !== "",
      endsGroup: true,
      firstObject: true,
    };
    const object = (id: bigint, payload: string): MoqtObject => ({
      location: { group: header.group, object: id },
      priority,
      subgroup: subgroup ?? 3n,
      status: "normal",
      endsGroup: false,
      properties: hex(properties),
      payload: hex(payload),
    });
    const objects = [object(3n, "cafe"), object(9n, ""), object(10n, "aa")];
    const writer = new Writer();
    writeSubgroupHeader(writer, header);
    objects.forEach((object, i) => writeSubgroupObject(writer, header, object, objects[i - 1]?.location.object));
    const stream = source(writer.finish());
    assert.deepEqual(await readSubgroupHeader(await stream.vi64(), stream), header);
    const read = [];
    for await (const item of readSubgroupObjects(header, stream, 100)) read.push(item);
    assert.deepEqual(read, objects);
  }
});

test("what is written on a FETCH stream reads as it was", async () => {
  const object = (group: bigint, id: bigint, subgroup: bigint | undefined, properties: string): FetchItem => ({
    type: "object",
    object: {
      location: { group, object: id },
      priority: Number(id),
      subgroup,
      status: "normal",
      endsGroup: false,
      properties: hex(properties),
      payload: hex("beef"),
    },
  });
  const items: FetchItem[] = [
    object(9n, 4n, undefined, "1009"),
    object(9n, 5n, undefined, ""),
    { type: "unknown", end: { group: 9n, object: 8n } },
    object(9n, 11n, 2n, "1009"),
    object(12n, 0n, 0n, ""),
    { type: "nonExistent", end: { group: 15n, object: 3n } },
    object(16n, 1n, undefined, ""),
  ];
  const writer = new Writer();
  writeFetchItems(writer, items);
  const read = [];
  for await (const item of readFetchItems("ascending", source(writer.finish()), 100)) read.push(item);
  assert.deepEqual(read, items);
});
