//! One measurement at a time: a relay and its crowd, or the lean limit and its sink.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use roundtable_moqt::{FullTrackName, Namespace};

use crate::{
    bench::scenario::Scenario,
    client::{Plan, Progress, Tally, Target},
    crowd,
    latency::Latencies,
    lean::Lean,
    pin,
    process::{self, RelayProcess},
    shape::Window,
    sink::Sink,
};

/// For everybody to be there.
const JOIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// Congestion windows open, caches fill.
const WARM_UP: Duration = Duration::from_millis(500);
/// What is on its way when the window closes may still arrive.
const DRAIN: Duration = Duration::from_millis(500);

/// How to measure.
#[derive(Debug, Clone)]
pub struct Bench {
    /// Cores of what is measured.
    pub relay_cores: Vec<usize>,
    /// Cores of what measures.
    pub load_cores: Vec<usize>,
    /// Length of a measurement.
    pub duration: Duration,
}

/// What came of a scenario.
#[derive(Debug, Clone)]
pub struct Measured {
    /// The relay's time on a core, per datagram delivered.
    pub cpu_per_datagram: Duration,
    /// Of a core, while it was measured.
    pub relay_load: f64,
    /// Datagrams delivered each second.
    pub delivered_per_second: f64,
    /// Of what was sent to all subscribers, what did not arrive.
    pub loss: f64,
    /// Packets that the load's own sockets had no room for.
    pub load_overflows: u64,
    /// Frames the publisher could not send in time.
    pub frames_skipped: u64,
    /// From the publisher's call to the subscriber's, all subscribers.
    pub latencies: Latencies,
    /// From a client's first packet to its first answered request.
    pub join: Latencies,
    /// The relay's memory, per subscriber, the track's cache included.
    pub rss_per_subscriber: u64,
}

impl Bench {
    /// Measures a relay, given its binary.
    pub fn relay(&self, binary: &Path, scenario: &Scenario) -> anyhow::Result<Measured> {
        let mut relay = RelayProcess::start(binary, &self.relay_cores)?;
        let rss_empty = relay.usage()?.rss_bytes;
        let target = Target::new(scenario.carrier, relay.address, "bench")?;
        let track = FullTrackName::new(Namespace::single("bench")?, "camera")?;
        let publisher = Plan {
            target: target.clone(),
            publishes: vec![(track.clone(), scenario.shape())],
            subscribes: Vec::new(),
        };
        let subscriber = Plan { target, publishes: Vec::new(), subscribes: vec![track] };
        let window = Arc::new(Window::new());
        let progress = Arc::new(Progress::default());

        // Threads of their own: the publisher keeps its rhythm whatever the subscribers have to do.
        let mut crowds = Crowds::new(self, &window, &progress);
        crowds.spawn(vec![publisher])?;
        crowds.wait_for("the publisher", || progress.published.load(Ordering::Relaxed) == 1)?;
        let subscribers = u64::from(scenario.subscribers);
        crowds.spawn(vec![subscriber; usize::try_from(subscribers)?])?;
        crowds.wait_for("the subscribers", || progress.subscribed.load(Ordering::Relaxed) == subscribers)?;
        thread::sleep(WARM_UP);

        let overflows_before = process::socket_overflows();
        let (before, began) = (relay.usage()?, Instant::now());
        window.open(began);
        thread::sleep(self.duration);
        let (after, ended) = (relay.usage()?, Instant::now());
        window.close(ended);
        thread::sleep(DRAIN);
        let load_overflows = process::socket_overflows() - overflows_before;
        let tally = crowds.stop()?;

        ensure!(tally.received > 0, "nothing arrived");
        let expected = tally.sent * subscribers;
        let seconds = (ended - began).as_secs_f64();
        let cpu = after.cpu - before.cpu;
        // All far below 2^52.
        #[allow(clippy::cast_precision_loss)]
        let (received, expected) = (tally.received as f64, expected as f64);
        Ok(Measured {
            cpu_per_datagram: cpu.div_f64(received),
            relay_load: cpu.as_secs_f64() / seconds,
            delivered_per_second: received / seconds,
            loss: 1.0 - received / expected,
            load_overflows,
            frames_skipped: tally.frames_skipped,
            latencies: tally.latencies,
            join: tally.join,
            rss_per_subscriber: after.rss_bytes.saturating_sub(rss_empty) / subscribers,
        })
    }

    /// Measures the lean limit: this binary again, as a process of its own.
    pub fn lean(&self, scenario: &Scenario) -> anyhow::Result<Lean> {
        let sink = Sink::new(usize::try_from(scenario.subscribers)?)?;
        let shape = scenario.shape();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("lean");
        command.args(["--burst", &shape.burst.to_string()]);
        command.args(["--interval-ns", &shape.interval.as_nanos().to_string()]);
        command.args(["--datagram-bytes", &shape.datagram_bytes.to_string()]);
        command.args(["--duration-ms", &self.duration.as_millis().to_string()]);
        command.args(sink.addresses.iter().map(ToString::to_string));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let ours = pin::cores()?;
        pin::pin(&self.relay_cores)?;
        let started = command.spawn();
        pin::pin(&ours)?;
        let child = started.context("cannot start the lean limit")?;
        let stop = AtomicBool::new(false);
        let output = thread::scope(|scope| {
            let emptying = scope.spawn(|| {
                pin::pin(&self.load_cores)?;
                sink.run(&stop)
            });
            let output = child.wait_with_output();
            stop.store(true, Ordering::Relaxed);
            emptying.join().map_err(|_| anyhow!("the sink panicked"))??;
            anyhow::Ok(output?)
        })?;
        ensure!(output.status.success(), "the lean limit failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("the lean limit said something else")
    }
}

/// Threads of clients.
struct Crowds {
    cores: Vec<usize>,
    window: Arc<Window>,
    progress: Arc<Progress>,
    crowds: Vec<Crowd>,
}

struct Crowd {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Tally>>,
}

impl Crowds {
    fn new(bench: &Bench, window: &Arc<Window>, progress: &Arc<Progress>) -> Self {
        Crowds {
            cores: bench.load_cores.clone(),
            window: Arc::clone(window),
            progress: Arc::clone(progress),
            crowds: Vec::new(),
        }
    }

    fn spawn(&mut self, plans: Vec<Plan>) -> anyhow::Result<()> {
        let (window, progress) = (Arc::clone(&self.window), Arc::clone(&self.progress));
        let (stop, cores) = (Arc::new(AtomicBool::new(false)), self.cores.clone());
        let is_told_to_stop = Arc::clone(&stop);
        let thread = thread::Builder::new().name("crowd".to_owned()).spawn(move || {
            pin::pin(&cores)?;
            crowd::run(plans, &window, &progress, &is_told_to_stop)
        })?;
        self.crowds.push(Crowd { stop, thread });
        Ok(())
    }

    fn wait_for(&mut self, who: &str, is_there: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + JOIN_WAIT_MAX;
        while !is_there() {
            if let Some(ended) = self.crowds.iter().position(|crowd| crowd.thread.is_finished()) {
                self.crowds.swap_remove(ended).stop()?;
            }
            ensure!(Instant::now() < deadline, "{who} did not get in within {JOIN_WAIT_MAX:?}");
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The last one first: a publisher that leaves ends its track, which is an error to a subscriber.
    fn stop(mut self) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        while let Some(crowd) = self.crowds.pop() {
            tally.merge(&crowd.stop()?);
        }
        Ok(tally)
    }
}

impl Crowd {
    fn stop(self) -> anyhow::Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("a thread of clients panicked"))?
    }
}

impl Drop for Crowds {
    fn drop(&mut self) {
        for crowd in &self.crowds {
            crowd.stop.store(true, Ordering::Relaxed);
        }
    }
}
