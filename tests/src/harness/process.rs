//! A program that runs, and what it says.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::PATIENCE;

/// How often the end of a program is looked for.
const POLL: Duration = Duration::from_millis(5);

/// One of our binaries, told nothing by the environment.
pub fn tool(name: &str) -> Command {
    let mut command = Command::new(find(name));
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("ROUNDTABLE_") || variable == "RUST_LOG" {
            command.env_remove(variable);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Cargo puts tests into `target/PROFILE/deps` and binaries into `target/PROFILE`.
fn find(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let path = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        path.is_file(),
        "{} is missing: tests run what `cargo build --workspace --bins` has built (`make test` does that first)",
        path.display()
    );
    path
}

/// What a program that has ended left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Lines of standard output, as far as they were collected.
    pub stdout: Vec<String>,
    /// Lines of standard error.
    pub stderr: Vec<String>,
}

impl Finished {
    /// It must have succeeded.
    pub fn expect_success(self) -> Self {
        assert!(self.status.success(), "{}: {}", self.status, self.said());
        self
    }

    /// It must have failed by itself (not by a signal, not by a panic); what it said then.
    pub fn expect_failure(self) -> String {
        let said = self.said();
        let code = self.status.code();
        assert!(code.is_some_and(|code| code != 0 && code != 101), "{}: {said}", self.status);
        assert!(!said.contains("panicked at"), "{said}");
        said
    }

    /// Everything it said to people.
    pub fn said(&self) -> String {
        self.stderr.join("\n")
    }

    /// Lines of standard output that are JSON objects of this type.
    pub fn json(&self, of_type: &str) -> Vec<serde_json::Value> {
        let values = self.stdout.iter().filter_map(|line| serde_json::from_str(line).ok());
        values.filter(|value: &serde_json::Value| value["type"] == of_type).collect()
    }
}

/// A program that runs. Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
    readers: Vec<JoinHandle<()>>,
    has_ended: bool,
}

impl Process {
    /// Starts it and collects what it says.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut process = Self::start_with_stdout(name, command.stdout(Stdio::piped()));
        let stdout = process.child.stdout.take().unwrap();
        process.collect(stdout, process.stdout.clone());
        process
    }

    /// The same with its standard output left to the caller.
    pub fn start_with_stdout(name: &str, command: &mut Command) -> Self {
        let spawned = command.stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let stderr = child.stderr.take().unwrap();
        let (stdout, said) = (Lines::default(), Lines::default());
        let mut process = Process {
            name: name.to_owned(),
            child,
            stdout,
            stderr: said.clone(),
            readers: Vec::new(),
            has_ended: false,
        };
        process.collect(stderr, said);
        process
    }

    fn collect(&mut self, from: impl Read + Send + 'static, into: Lines) {
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                into.push(String::from_utf8_lossy(&line).into_owned());
            }
            into.end();
        });
        self.readers.push(reader);
    }

    /// Its end of the pipe, when standard output was left to the caller as one.
    pub fn take_stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("standard output was piped")
    }

    /// Its end of the pipe, when standard input is one.
    pub fn take_stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input was piped")
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard output that `find` makes something of, and returns that.
    #[track_caller]
    pub fn wait_stdout<T>(&self, what: &str, find: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.stdout.wait(find);
        found.unwrap_or_else(|| panic!("{}: no {what} on standard output:\n{}", self.name, self.told()))
    }

    /// The same on standard error.
    #[track_caller]
    pub fn wait_stderr<T>(&self, what: &str, find: impl FnMut(&str) -> Option<T>) -> T {
        let found = self.stderr.wait(find);
        found.unwrap_or_else(|| panic!("{}: no {what} on standard error:\n{}", self.name, self.told()))
    }

    /// Waits for a line of JSON of this type on standard output that `is_it` agrees to.
    #[track_caller]
    pub fn wait_json(
        &self,
        of_type: &str,
        mut is_it: impl FnMut(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        self.wait_stdout(of_type, |line| {
            let value: serde_json::Value = serde_json::from_str(line).ok()?;
            (value["type"] == of_type && is_it(&value)).then_some(value)
        })
    }

    /// Lines of standard output until now.
    pub fn stdout_lines(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// Lines of standard error until now.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Sends it a signal: `INT`, `KILL`, `STOP` …
    pub fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([&format!("-{signal}"), &self.id().to_string()]).status();
        assert!(kill.unwrap().success(), "{} has ended already:\n{}", self.name, self.told());
    }

    /// True when it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end, which must come by itself.
    #[track_caller]
    pub fn wait(self) -> Finished {
        self.wait_at_most(PATIENCE)
    }

    /// The same with another patience.
    #[track_caller]
    pub fn wait_at_most(mut self, patience: Duration) -> Finished {
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "{} does not end:\n{}", self.name, self.told());
            std::thread::sleep(POLL);
        };
        self.has_ended = true;
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        Finished { status, stdout: self.stdout.all(), stderr: self.stderr.all() }
    }

    /// Asks it to end (Ctrl-C) and waits until it has.
    #[track_caller]
    pub fn interrupt(self) -> Finished {
        self.signal("INT");
        self.wait()
    }

    /// Kills it and waits until it is gone.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.has_ended = true;
    }

    fn told(&self) -> String {
        format!("{}\n{}", self.stdout.last(100).join("\n"), self.stderr.last(100).join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- {} said:\n{}", self.name, self.told());
        }
    }
}

/// Lines as they come, shared with the thread that reads them.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<(Mutex<Said>, Condvar)>);

#[derive(Debug, Default)]
struct Said {
    lines: Vec<String>,
    is_over: bool,
}

impl Lines {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: String) {
        self.said().lines.push(line);
        self.0.1.notify_all();
    }

    fn end(&self) {
        self.said().is_over = true;
        self.0.1.notify_all();
    }

    fn all(&self) -> Vec<String> {
        self.said().lines.clone()
    }

    fn last(&self, count: usize) -> Vec<String> {
        let said = self.said();
        said.lines[said.lines.len().saturating_sub(count)..].to_vec()
    }

    fn wait<T>(&self, mut find: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = 0;
        let mut said = self.said();
        loop {
            while seen < said.lines.len() {
                if let Some(found) = find(&said.lines[seen]) {
                    return Some(found);
                }
                seen += 1;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if said.is_over || left.is_zero() {
                return None;
            }
            said = self.0.1.wait_timeout(said, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
