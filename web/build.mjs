// Builds the page into a flat folder, or its tests into another:
// `node build.mjs --out DIR | --tests DIR | --browser-tests DIR`.
// Names carry a hash of the content, so that the relay lets browsers keep them for ever.
import { build } from "esbuild";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [what, folder] = process.argv.slice(2);
if (!folder || !["--out", "--tests", "--browser-tests"].includes(what)) {
  console.error("usage: node build.mjs --out DIR | --tests DIR | --browser-tests DIR");
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
  const tests_dir = what === "--tests" ? "tests" : "tests/browser";
  const tests = (await readdir(join(here, tests_dir))).filter((name) => name.endsWith(".test.ts"));
  await build({
    ...shared,
    entryPoints: tests.map((name) => join(tests_dir, name)),
    outdir: folder,
    outExtension: { ".js": ".mjs" },
    platform: "node",
    target: "node18",
    sourcemap: "inline",
    external: ["playwright-core"],
  });
} else {
  const { metafile } = await build({
    ...shared,
    entryPoints: [
      { in: "src/main.tsx", out: "page" },
      { in: "src/style.css", out: "style" },
    ],
    outdir: folder,
    entryNames: "[name]-[hash]",
    target: ["chrome110", "firefox115", "safari17"],
    minify: true,
    metafile: true,
  });
  const built = (extension) =>
    Object.keys(metafile.outputs).map((path) => basename(path)).find((name) => name.endsWith(extension));
  const html = (await readFile(join(here, "index.html"), "utf8"))
    .replace("%PAGE%", built(".js"))
    .replace("%STYLE%", built(".css"));
  await writeFile(join(folder, "index.html"), html);
  await copyFile(join(here, "favicon.svg"), join(folder, "favicon.svg"));
}
