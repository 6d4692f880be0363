// Builds the page into a flat folder, or its tests into another:
// `node build.mjs --out DIR | --tests DIR | --browser-tests DIR | --measure DIR`.
// Names carry a hash of the content, so that the relay lets browsers keep them for ever.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [what, folder] = process.argv.slice(2);
const programs = { "--tests": "tests", "--browser-tests": "tests/browser", "--measure": "tests/measure" };
if (!folder || (what !== "--out" && !(what in programs))) {
  console.error("usage: node build.mjs --out DIR | --tests DIR | --browser-tests DIR | --measure DIR");
  process.exit(2);
}
await rm(folder, { recursive: true, force: true });
await mkdir(folder, { recursive: true });

const shared = {
  absWorkingDir: here,
  bundle: true,
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
};

if (what !== "--out") {
  const from = programs[what];
  const names = (await readdir(join(here, from))).filter((name) => name.endsWith(what === "--measure" ? ".ts" : ".test.ts"));
  await build({
    ...shared,
    entryPoints: names.map((name) => join(from, name)),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    target: "node18",
    sourcemap: "inline",
    external: ["playwright-core"],
  });
} else {
  const names = async (entryPoints, define) => {
    const { metafile } = await build({
      ...shared,
      entryPoints,
      define,
      outdir: folder,
      entryNames: "[name]-[hash]",
      target: ["chrome110", "firefox130", "safari17"],
      minify: true,
      metafile: true,
    });
    return Object.keys(metafile.outputs).map((path) => basename(path));
  };
  // What runs beside the page is fetched by it, by name.
  const beside = await names([
    { in: "src/call/worker.ts", out: "worker" },
    { in: "src/worklet/worklet.ts", out: "worklet" },
  ]);
  const address = (start) => JSON.stringify(`/assets/${beside.find((name) => name.startsWith(start))}`);
  const page = await names(
    [
      { in: "src/main.tsx", out: "page" },
      { in: "src/style.css", out: "style" },
    ],
    { WORKER_ADDRESS: address("worker"), WORKLET_ADDRESS: address("worklet") },
  );
  const built = (extension) => page.find((name) => name.endsWith(extension));
  const html = (await readFile(join(here, "index.html"), "utf8"))
    .replace("%PAGE%", built(".js"))
    .replace("%STYLE%", built(".css"));
  await writeFile(join(folder, "index.html"), html);
  await copyFile(join(here, "favicon.svg"), join(folder, "favicon.svg"));
}
