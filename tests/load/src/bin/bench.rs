//! Measures the relay beside the lean limit: see tests/load/README.md.

use std::{
    io::Write as _,
    net::SocketAddrV4,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use roundtable_load::{
    bench::{Bench, Report, Row, SCENARIOS, Scenario},
    lean, pin,
    shape::Shape,
};

/// Measures a relay of its own on loopback beside the least that fan-out could cost, in turns
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    part: Option<Part>,

    /// Scenarios whose name contains this; all without it
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,

    /// Times each is measured; medians are reported
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,

    /// Length of a measurement, seconds
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,

    /// The relay; the one built beside this program without it
    #[arg(long, value_name = "FILE")]
    relay: Option<PathBuf>,

    /// Another relay, measured in turns with the first: to see what a change does
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,

    /// Let relay and load use all cores, instead of one for the relay and the others for the load
    #[arg(long)]
    unpinned: bool,

    /// Print the figures as JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Part {
    /// The lean limit's sending process; the benchmark starts it
    #[command(hide = true)]
    Lean {
        #[arg(long)]
        burst: u8,
        #[arg(long)]
        interval_ns: u64,
        #[arg(long)]
        datagram_bytes: usize,
        #[arg(long)]
        duration_ms: u64,
        receivers: Vec<SocketAddrV4>,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(Part::Lean { burst, interval_ns, datagram_bytes, duration_ms, receivers }) = options.part {
        let interval = Duration::from_nanos(interval_ns);
        let shape = Shape { burst, interval, datagram_bytes, priority: 0 };
        let lean = lean::run(shape, &receivers, Duration::from_millis(duration_ms))?;
        return say(&serde_json::to_string(&lean)?);
    }
    let report = measure(&options)?;
    say(&if options.json { serde_json::to_string_pretty(&report)? } else { report.table() })
}

fn measure(options: &Options) -> anyhow::Result<Report> {
    let mut relays = vec![("", options.relay.clone().map_or_else(beside_us, Ok)?)];
    relays.extend(options.against.clone().map(|other| ("other", other)));
    for (_, relay) in &relays {
        ensure!(
            relay.is_file(),
            "{} is not there: cargo build --release -p roundtable-relay",
            relay.display()
        );
    }
    ensure!((0.1..=600.0).contains(&options.seconds), "--seconds takes 0.1 to 600");
    let cores = pin::cores()?;
    let (relay_cores, load_cores) = match cores.split_first() {
        Some((first, rest @ [_, ..])) if !options.unpinned => (vec![*first], rest.to_vec()),
        _ => (cores.clone(), cores),
    };
    let duration = Duration::from_secs_f64(options.seconds);
    let bench = Bench { relay_cores, load_cores, duration };
    let wanted = |scenario: &&Scenario| {
        options.only.is_empty() || options.only.iter().any(|text| scenario.name.contains(text))
    };
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(wanted).collect();
    ensure!(
        !scenarios.is_empty(),
        "no scenario has that name: {}",
        SCENARIOS.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
    );

    let mut rounds = vec![vec![Vec::new(); relays.len()]; scenarios.len()];
    for round in 1..=options.rounds {
        for (scenario, measured) in scenarios.iter().zip(&mut rounds) {
            progress(&format!("round {round} of {}: {}", options.rounds, scenario.name));
            let lean = bench.lean(scenario).with_context(|| format!("{}: the lean limit", scenario.name))?;
            for ((_, relay), measured) in relays.iter().zip(measured) {
                let came_of_it = bench.relay(relay, scenario).with_context(|| scenario.name)?;
                measured.push((lean, came_of_it));
            }
        }
    }
    let rows = scenarios.iter().zip(&rounds).flat_map(|(scenario, by_relay)| {
        let of_relay =
            |((label, _), rounds): (&(&'static str, PathBuf), &Vec<_>)| Row::new(scenario, label, rounds);
        relays.iter().zip(by_relay).filter_map(of_relay)
    });
    Ok(Report { rows: rows.collect() })
}

/// Cargo puts both into one folder.
fn beside_us() -> anyhow::Result<PathBuf> {
    let us = std::env::current_exe().context("where is this program?")?;
    Ok(us.parent().map(Path::to_owned).unwrap_or_default().join("roundtable-relay"))
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", text.trim_end()).context("standard output is closed")
}

fn progress(text: &str) {
    // Whoever does not listen misses nothing.
    let _ = writeln!(std::io::stderr(), "{text}");
}
