/** The folders of src are layers: each knows only those below it, and no two files need each other. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const SRC = join(process.cwd(), "src");

/** What each layer may know besides itself. */
const BELOW: Record<string, readonly string[]> = {
  moqt: [],
  media: ["moqt"],
  call: ["media", "moqt"],
  worklet: ["call/protocol", "media"],
  device: ["call/protocol", "media"],
  room: ["call/protocol", "call/codecs", "device", "media"],
  view: ["room", "call/protocol", "device/devices"],
  "": ["room", "view"],
};

function filesIn(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesIn(path) : /\.tsx?$/.test(name) ? [path] : [];
  });
}

/** Files by what they import, types included; without their extension. */
function imports(): Map<string, string[]> {
  const plain = (path: string) => relative(SRC, path).replace(/\.tsx?$/, "");
  const files = filesIn(SRC);
  const known = new Set(files.map(plain));
  return new Map(
    files.map((file) => {
      const named = [...readFileSync(file, "utf8").matchAll(/(?:from|import)\s+"(\.[^"]*)"/g)];
      const targets = named.map(([, path]) => {
        const target = plain(resolve(dirname(file), path ?? ""));
        return known.has(target) ? target : `${target}/index`;
      });
      return [plain(file), targets];
    }),
  );
}

test("a layer knows only what is below it", () => {
  for (const [file, targets] of imports()) {
    const layer = file.includes("/") ? (file.split("/")[0] ?? "") : "";
    const below = BELOW[layer];
    assert.ok(below, `${file} is in a layer that nobody has described`);
    for (const target of targets) {
      const isBelow = target.startsWith(`${layer}/`) || below.some((other) => target === other || target.startsWith(`${other}/`));
      assert.ok(isBelow, `${file} knows ${target}`);
    }
  }
});

test("no two files need each other", () => {
  const graph = imports();
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]) => {
    assert.ok(!path.includes(file), [...path, file].join(" needs "));
    if (done.has(file)) return;
    for (const target of graph.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
  assert.ok(done.size > 40);
});
