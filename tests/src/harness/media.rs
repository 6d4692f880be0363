//! Small films, made by ffmpeg.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Runs ffmpeg to its end, which must be a good one; its standard output.
#[track_caller]
pub fn ffmpeg<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"]).args(arguments);
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("ffmpeg does not start ({error}): `make tools`"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A film to be made.
#[derive(Debug, Clone)]
pub struct Clip {
    seconds: f64,
    size: &'static str,
    rate: u32,
    video: Vec<&'static str>,
    audio: Vec<&'static str>,
    mux: Vec<&'static str>,
}

impl Clip {
    /// Two seconds of a moving picture, 320x180 at 30/s with a key frame a second, and a tone; encoded as these
    /// options of ffmpeg say. No options, no track.
    pub fn new(video: &[&'static str], audio: &[&'static str]) -> Self {
        Clip {
            seconds: 2.0,
            size: "320x180",
            rate: 30,
            video: video.to_vec(),
            audio: audio.to_vec(),
            mux: Vec::new(),
        }
    }

    /// Another length.
    pub fn seconds(self, seconds: f64) -> Self {
        Clip { seconds, ..self }
    }

    /// Another size.
    pub fn size(self, size: &'static str) -> Self {
        Clip { size, ..self }
    }

    /// Options of the container.
    pub fn mux(self, mux: &[&'static str]) -> Self {
        Clip { mux: mux.to_vec(), ..self }
    }

    /// The options that make it, but for where it goes.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut say = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
        let picture = format!("testsrc2=size={}:rate={}:duration={}", self.size, self.rate, self.seconds);
        let tone = format!("sine=frequency=440:sample_rate=48000:duration={}", self.seconds);
        if !self.video.is_empty() {
            say(&["-f", "lavfi", "-i", &picture]);
        }
        if !self.audio.is_empty() {
            say(&["-f", "lavfi", "-i", &tone]);
        }
        if !self.video.is_empty() {
            say(&["-pix_fmt", "yuv420p", "-g", &self.rate.to_string()]);
            say(&self.video);
        }
        say(&self.audio);
        say(&self.mux);
        arguments
    }

    /// Makes it in a folder.
    #[track_caller]
    pub fn make(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        let mut arguments = self.arguments();
        arguments.push(path.to_str().unwrap().to_owned());
        ffmpeg(arguments);
        path
    }
}
