//! How a call looks and sounds through a lossy link: a film through the real publisher and relay to a live subscriber.
//!
//! `cargo bench -p roundtable-tests --bench loss -- --help`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{path::Path, time::Duration};

use clap::{Parser, ValueEnum};
use roundtable_tests::{
    harness::{Clip, Frame, Process, Relay, publisher, streams_of},
    link::{Counters, Direction, Impairment, Settings, parse_duration},
    quality::{Second, Watched, watch},
};
use roundtable_transport::ConnectOptions;

/// Plays a film of 640x360 at 30 pictures a second with sound through a room, one leg of which is lossy
#[derive(Debug, Parser)]
struct Options {
    /// Percent of the datagrams lost, each way, each for itself
    #[arg(long, value_delimiter = ',', default_value = "0,5,10,20")]
    loss: Vec<f64>,

    /// Which legs are lossy, in turn
    #[arg(long, value_enum, value_delimiter = ',', default_value = "publisher,subscriber")]
    leg: Vec<Leg>,

    /// Round trip of that leg
    #[arg(long, default_value = "50ms", value_parser = time)]
    rtt: Duration,

    /// What else that leg does each way, as roundtable-link has it, e.g. jitter=30ms
    #[arg(long, default_value = "")]
    also: Impairment,

    /// Losses come in bursts of this many on average instead of one by one
    #[arg(long)]
    burst: Option<f64>,

    /// Seconds of film
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,

    /// Play everything so long after the fastest way through the network
    #[arg(long, value_delimiter = ',', default_value = "100ms,200ms", value_parser = time)]
    playout: Vec<Duration>,

    /// By raw QUIC instead of WebTransport
    #[arg(long)]
    raw: bool,

    /// Tell every run second by second as well
    #[arg(long)]
    timeline: bool,

    /// Decides what is lost
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Said by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Leg {
    /// The publisher's
    Publisher,
    /// The subscriber's
    Subscriber,
    /// Both
    Both,
}

fn time(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write a time, such as 50ms".to_owned())
}

/// A film and what is in it.
struct Film {
    path: std::path::PathBuf,
    video: Vec<Frame>,
    audio: Vec<Frame>,
}

fn main() {
    let options = Options::parse();
    let folder = tempfile::tempdir().unwrap();
    let film = film(folder.path(), options.seconds);
    let link = if options.raw { "raw QUIC" } else { "WebTransport" };
    println!("640x360 at 30/s with Opus, {} s each, {link}, {:?} round trip", options.seconds, options.rtt);
    println!(
        "{:>10} {:>6} {:>8} {:>10} {:>9} {:>8} {:>8} {:>8} {:>10} {:>9} {:>8}",
        "lossy leg",
        "loss",
        "playout",
        "concealed",
        "shown",
        "fps",
        "freeze",
        "frozen",
        "wire kb/s",
        "lost",
        "repaired"
    );
    for &leg in &options.leg {
        for &loss in &options.loss {
            let run = run(&options, leg, loss / 100.0, &film);
            for &playout in &options.playout {
                say(leg, loss, playout, &run, &film, options.seconds);
            }
            if options.timeline {
                timeline(&run, &film);
            }
        }
    }
}

fn film(folder: &Path, seconds: f64) -> Film {
    let video = [
        "-c:v",
        "libvpx",
        "-deadline",
        "realtime",
        "-cpu-used",
        "8",
        "-b:v",
        "600k",
        "-maxrate",
        "700k",
        "-bufsize",
        "300k",
        "-g",
        "60",
    ];
    let audio = ["-c:a", "libopus", "-b:a", "32k"];
    let clip = Clip::new(&video, &audio).size("640x360").seconds(seconds);
    let path = clip.make(folder, "film.webm");
    let streams = streams_of(&path);
    let frames = |media: &str| {
        let stream = streams.iter().find(|stream| stream.media == media).unwrap();
        stream.frames.clone()
    };
    Film { video: frames("video"), audio: frames("audio"), path }
}

struct Run {
    watched: Watched,
    wire: Counters,
    /// What the publisher told of its path, second by second.
    published: Vec<serde_json::Value>,
}

fn run(options: &Options, leg: Leg, loss: f64, film: &Film) -> Run {
    let relay = Relay::start();
    let way = Impairment { delay: options.rtt / 2, ..options.also };
    let impairment = match options.burst {
        Some(length) if loss > 0.0 => {
            Impairment { burst: Some(roundtable_tests::link::Burst { loss, length }), ..way }
        }
        _ => Impairment { loss, ..way },
    };
    let up = relay.link(Settings::both(impairment), options.seed);
    let down = relay.link(Settings::both(impairment), options.seed + 1000);
    let url = |is_lossy: bool, link: &roundtable_tests::link::Link| {
        let address = if is_lossy { link.address() } else { relay.quic() };
        format!("{}://{address}/cinema", if options.raw { "moqt" } else { "https" })
    };
    let watch_at = ConnectOptions {
        url: url(leg != Leg::Publisher, &down),
        token_file: None,
        tls_sha256: Vec::new(),
        tls_disable_verify: false,
    };
    let watching = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.unwrap().block_on(watch(&watch_at))
    });
    relay.wait_joined(1);
    let mut command = publisher(&url(leg != Leg::Subscriber, &up));
    command.args(["--name", "film", "--json"]).arg(&film.path);
    let published = Process::start("publisher", &mut command)
        .wait_at_most(Duration::from_secs_f64(options.seconds * 3.0 + 60.0));
    let published = published.expect_success().json("figures");
    let watched = watching.join().unwrap().expect("the watcher reaches the relay");
    let wire = match leg {
        Leg::Publisher => up.counters(Direction::Up),
        Leg::Subscriber | Leg::Both => down.counters(Direction::Down),
    };
    Run { watched, wire, published }
}

fn say(leg: Leg, loss: f64, playout: Duration, run: &Run, film: &Film, seconds: f64) {
    let quality = run.watched.quality(playout, &film.video, &film.audio);
    let (video, audio) = run.watched.repairs();
    let repaired = [video, audio]
        .iter()
        .map(|counters| {
            counters.frames_from_parity + counters.frames_from_redundancy + counters.objects_fetched
        })
        .sum::<u64>();
    println!(
        "{:>10} {:>5}% {:>8} {:>9.2}% {:>8.2}% {:>8.1} {:>6.0}ms {:>7.1}s {:>10.0} {:>9} {:>8}",
        format!("{leg:?}").to_lowercase(),
        loss,
        format!("{playout:?}"),
        quality.audio_concealed * 100.0,
        quality.frames_shown * 100.0,
        quality.frames_shown * 30.0,
        quality.freeze_max * 1e3,
        quality.frozen,
        run.wire.received_bytes as f64 * 8.0 / 1000.0 / seconds,
        run.wire.lost,
        repaired
    );
}

fn timeline(run: &Run, film: &Film) {
    let (video, audio) = run.watched.seconds(&film.video, &film.audio);
    let part = |second: Option<&Second>| match second {
        Some(second) => format!("{:>3} {:>2} {:>5.0}", second.came, second.broken, second.latest * 1e3),
        None => "  -  -     -".to_owned(),
    };
    println!("{:>6} | {:<12} | {:<12} | publisher", "second", "video: came,", "audio: came,");
    println!("{:>6} | {:<12} | {:<12} | rtt ms, lost, media s", "", "broken, late", "broken, late");
    for number in 0..video.len().max(audio.len()).max(run.published.len()) {
        let path = run.published.get(number);
        let path =
            path.map(|path| format!("{:.0} {} {:.1}", path["rtt_ms"], path["packets_lost"], path["media_s"]));
        println!(
            "{number:>6} | {} | {} | {}",
            part(video.get(number)),
            part(audio.get(number)),
            path.unwrap_or_default()
        );
    }
}
