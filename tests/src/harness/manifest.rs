//! What a recorder says it has recorded.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

/// A file of a recording, as the manifest lists it.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Where.
    pub path: PathBuf,
    /// Whose.
    pub participant: String,
    /// Of which track.
    pub track: String,
    /// The line that began it.
    pub begin: Value,
    /// The line that ended it: `file_end` or `file_repaired`, if there is one.
    pub end: Option<Value>,
    /// Frames that the manifest says are missing.
    pub frames_missing: u64,
}

/// All lines of the manifest of a folder; one that its writer's death has cut is left out.
pub fn lines_of(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("manifest.jsonl")).unwrap();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The files of a recording, in the order they began.
pub fn recorded_in(folder: &Path) -> Vec<Recorded> {
    let lines = lines_of(folder);
    let begins = lines.iter().filter(|line| line["type"] == "file_begin");
    begins.map(|begin| recorded(folder, begin, &lines)).collect()
}

fn recorded(folder: &Path, begin: &Value, lines: &[Value]) -> Recorded {
    let of_file = || lines.iter().filter(|line| line["file"] == begin["file"]);
    let text = |key: &str| begin[key].as_str().unwrap().to_owned();
    let gaps = of_file().filter(|line| line["type"] == "gap");
    Recorded {
        path: folder.join(text("file")),
        participant: text("participant"),
        track: text("track"),
        begin: begin.clone(),
        end: of_file().find(|line| line["type"] == "file_end" || line["type"] == "file_repaired").cloned(),
        frames_missing: gaps.map(|gap| gap["frames_at_least"].as_u64().unwrap()).sum(),
    }
}
