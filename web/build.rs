//! Builds the page with npm and embeds it. Without Node, or when npm fails, the relay is built all the same and
//! says on its page what is missing.
//!
//! Everything is written below OUT_DIR, npm's packages included. `ROUNDTABLE_WEB=skip` leaves the page out.

use std::{
    env,
    error::Error,
    ffi::OsStr,
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What the page is made of; tests are not.
const SOURCES: [&str; 8] = [
    "package.json",
    "package-lock.json",
    ".npmrc",
    "tsconfig.json",
    "build.mjs",
    "index.html",
    "favicon.svg",
    "src",
];
const NODE_MAJOR_MIN: u32 = 18;

fn main() -> Result<(), Box<dyn Error>> {
    let crate_dir = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("not run by cargo")?);
    let out_dir = PathBuf::from(env::var_os("OUT_DIR").ok_or("not run by cargo")?);
    for source in SOURCES.iter().chain(&["build.rs", "missing.html", "missing.css"]) {
        println!("cargo::rerun-if-changed={source}");
    }
    println!("cargo::rerun-if-env-changed=ROUNDTABLE_WEB");

    let embedded = match build(&crate_dir, &out_dir) {
        Ok(dist) => embed_page(&dist)?,
        Err(reason) => {
            println!("cargo::warning=the page is left out of the relay: {reason}");
            // A file that never exists: cargo tries again at the next build, when Node may be there.
            println!("cargo::rerun-if-changed={}", out_dir.join("try-again").display());
            embed_missing(&crate_dir, &out_dir, &reason)?
        }
    };
    fs::write(out_dir.join("embedded.rs"), embedded)?;
    Ok(())
}

/// The folder with the built page, or why there is none, in words for people.
fn build(crate_dir: &Path, out_dir: &Path) -> Result<PathBuf, String> {
    if env::var_os("ROUNDTABLE_WEB").is_some_and(|value| value == "skip") {
        return Err("it was built with ROUNDTABLE_WEB=skip.".to_owned());
    }
    let node = output(Command::new("node").arg("--version"))
        .map_err(|_| "Node.js was not found when the relay was built.".to_owned())?;
    let major =
        node.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < NODE_MAJOR_MIN) {
        return Err(format!("Node.js {} was found when the relay was built, which is too old.", node.trim()));
    }
    let project = out_dir.join("project");
    copy_sources(crate_dir, &project)
        .map_err(|error| format!("its sources could not be copied: {error}."))?;
    install(&project)?;
    let dist = out_dir.join("dist");
    output(Command::new("node").arg("build.mjs").arg("--out").arg(&dist).current_dir(&project))
        .map_err(|error| format!("building it failed: {error}"))?;
    Ok(dist)
}

/// `npm ci`, only when the lock file is not the one last installed.
fn install(project: &Path) -> Result<(), String> {
    let failed = |error: io::Error| format!("npm's packages could not be prepared: {error}.");
    let lock = fs::read(project.join("package-lock.json")).map_err(failed)?;
    let stamp = project.join("node_modules").join(".roundtable-lock");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = Command::new(npm);
    command.args(["ci", "--omit=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"]);
    command.args(["--fetch-retries=1", "--loglevel=error"]).current_dir(project);
    output(&mut command)
        .map_err(|error| format!("npm could not install what the page is built with: {error}"))?;
    fs::write(stamp, lock).map_err(failed)
}

/// Standard output of a command that succeeded, or the end of what it complained about.
fn output(command: &mut Command) -> Result<String, String> {
    const WORDS_MAX: usize = 600;
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("{} was not found.", command.get_program().to_string_lossy()),
        _ => error.to_string(),
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words: String =
        String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    Err(words.chars().take(WORDS_MAX).collect())
}

fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    let source_copy = to.join("src");
    if source_copy.exists() {
        fs::remove_dir_all(&source_copy)?;
    }
    SOURCES.iter().try_for_each(|source| copy(&from.join(source), &to.join(source)))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        return fs::write(to, fs::read(from)?);
    }
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

fn embed_page(dist: &Path) -> Result<String, Box<dyn Error>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dist)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    let (pages, assets): (Vec<PathBuf>, Vec<PathBuf>) =
        paths.into_iter().partition(|path| path.file_name() == Some(OsStr::new("index.html")));
    let page = pages.first().ok_or("the build made no index.html")?;
    let mut code = format!("const PAGE: Page = Page::Built(include_str!({page:?}));\n");
    embed_assets(&mut code, &assets)?;
    Ok(code)
}

fn embed_missing(crate_dir: &Path, out_dir: &Path, reason: &str) -> Result<String, Box<dyn Error>> {
    let escaped = reason.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut letters = escaped.chars();
    let sentence: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    let html = fs::read_to_string(crate_dir.join("missing.html"))?.replace("%REASON%", &sentence);
    let page = out_dir.join("missing.html");
    fs::write(&page, html)?;
    let mut code = format!("const PAGE: Page = Page::Missing(include_str!({page:?}));\n");
    embed_assets(&mut code, &[crate_dir.join("missing.css"), crate_dir.join("favicon.svg")])?;
    Ok(code)
}

fn embed_assets(code: &mut String, paths: &[PathBuf]) -> Result<(), Box<dyn Error>> {
    code.push_str("const ASSETS: &[Asset] = &[\n");
    for path in paths {
        let name = path.file_name().and_then(OsStr::to_str).ok_or("a file's name is not UTF-8")?;
        let content_type = match path.extension().and_then(OsStr::to_str) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            Some("wasm") => "application/wasm",
            Some("woff2") => "font/woff2",
            _ => return Err(format!("{name}: which media type is that?").into()),
        };
        writeln!(
            code,
            "    Asset {{ name: {name:?}, content_type: {content_type:?}, bytes: include_bytes!({path:?}) }},"
        )?;
    }
    code.push_str("];\n");
    Ok(())
}
