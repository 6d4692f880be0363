//! A relay and what is started at it.

use std::{net::SocketAddr, path::Path, process::Command};

use super::process::{Process, tool};
use crate::link::{Link, Settings};

/// A relay that runs on free ports, with its data in a folder that goes with it.
pub struct Relay {
    process: Process,
    quic: SocketAddr,
    http: String,
    hash: String,
    _data: tempfile::TempDir,
}

impl Relay {
    /// Ready for calls when this returns.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more flags.
    pub fn start_with(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    /// The same where another relay has been: for those who look for it again.
    pub fn start_at(quic: &str, arguments: &[&str]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut command = tool("roundtable-relay");
        command.args(["--print-addresses", "--listen", quic, "--http", "127.0.0.1:0"]);
        command.args(["--metrics", "off", "--data"]).arg(data.path().join("data")).args(arguments);
        let process = Process::start("relay", &mut command);
        let addresses: serde_json::Value =
            process.wait_stdout("line of addresses", |line| serde_json::from_str(line).ok());
        Relay {
            quic: addresses["quic"][0].as_str().unwrap().parse().unwrap(),
            http: addresses["http"][0].as_str().unwrap().to_owned(),
            hash: addresses["certificate_sha256"][0].as_str().unwrap().to_owned(),
            process,
            _data: data,
        }
    }

    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Kills it as a power cut would.
    pub fn kill(self) {
        self.process.kill();
    }

    /// Where QUIC is.
    pub fn quic(&self) -> SocketAddr {
        self.quic
    }

    /// Where the page is.
    pub fn http(&self) -> &str {
        &self.http
    }

    /// SHA-256 of its certificate, hex.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// A room by WebTransport.
    pub fn url(&self, room: &str) -> String {
        format!("https://{}/{room}", self.quic)
    }

    /// A room by raw QUIC.
    pub fn raw_url(&self, room: &str) -> String {
        format!("moqt://{}/{room}", self.quic)
    }

    /// A link that leads here.
    pub fn link(&self, settings: Settings, seed: u64) -> Link {
        Link::start("127.0.0.1:0".parse().unwrap(), self.quic, settings, seed).unwrap()
    }

    /// A subscriber that records a room and tells in JSON; of whoever comes after this, it misses nothing.
    pub fn record(&self, url: &str, folder: &Path, arguments: &[&str]) -> Process {
        let mut command = subscriber(url);
        command.arg("--record").arg(folder).arg("--json").args(arguments);
        let recorder = self.join("recorder", &mut command);
        recorder.wait_json("following", |_| true);
        recorder
    }

    /// Starts a tool and waits until it is in its room.
    pub fn join(&self, name: &str, command: &mut Command) -> Process {
        let before = self.joined();
        let process = Process::start(name, command);
        self.wait_joined(before + 1);
        process
    }

    /// How many sessions there have been.
    pub fn joined(&self) -> usize {
        self.process.stderr_lines().iter().filter(|line| says_joined(line)).count()
    }

    /// Waits until there have been so many.
    #[track_caller]
    pub fn wait_joined(&self, count: usize) {
        let mut seen = 0;
        self.process.wait_stderr("session that joins", |line| {
            seen += usize::from(says_joined(line));
            (seen >= count).then_some(())
        });
    }
}

fn says_joined(line: &str) -> bool {
    line.contains("joined")
}

/// The subscriber at a room.
pub fn subscriber(url: &str) -> Command {
    let mut command = tool("roundtable-subscriber");
    command.args(["--url", url]);
    command
}

/// The publisher at a room.
pub fn publisher(url: &str) -> Command {
    let mut command = tool("roundtable-publisher");
    command.args(["--url", url]);
    command
}
