#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]
//! The lossy link for people: put it between any UDP programs

use std::{
    io::Write as _,
    net::SocketAddr,
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

use clap::Parser;
use roundtable_tests::link::{Direction, Impairment, Link, Settings, parse_duration};

const ABOUT: &str =
    "A bad network on one machine: passes UDP datagrams on, late, out of order, twice or not at all.

Put it between a client and a relay: the client talks to the link's address, the link to the relay.
Which datagrams suffer is decided by a seed, so that a bad call can be had again. Needs no rights.";

const HELP: &str = "\
What a direction does, with commas between:
  delay=25ms          every datagram takes so long (both ways 25ms: 50 ms round trip)
  jitter=10ms         and up to so much more; the order is kept
  loss=5%             so many are lost, each for itself
  burst=5%x4          so many are lost in rows, four long on average (Gilbert-Elliott)
  reorder=2%/10ms     so many are held back so long and overtaken by others
  duplicate=1%        so many arrive twice
  rate=3M/200ms       a bottleneck of 3 Mbit/s; what would wait longer than 200 ms is dropped
  size=1252           longer datagrams (UDP payload, bytes) do not get through

Examples:
  roundtable-link --to 127.0.0.1:4443 --both delay=25ms,loss=5%
      50 ms round trip, every twentieth datagram lost each way. It prints where it listens; then
      roundtable-publisher --url https://127.0.0.1:PORT/my-room film.webm
  roundtable-link --to 127.0.0.1:4443 --up rate=3M/200ms --then '10s up rate=500k/200ms'
      An uplink that falls from 3 Mbit/s to 500 kbit/s after ten seconds.
  roundtable-link --to 127.0.0.1:4443 --then '10s both loss=100%' --then '13s both'
      Three seconds of nothing.
  roundtable-link --to 127.0.0.1:4443 --rebind-every 15s
      Clients change their address, as behind a forgetful NAT or when a telephone leaves the Wi-Fi.

Every client has the link for itself: its own dice, its own queues. Times are kept to a millisecond.";

#[derive(Debug, Parser)]
#[command(name = "roundtable-link", version, about = ABOUT, after_help = HELP, max_term_width = 100)]
struct Options {
    /// Who is behind the link, such as a relay's UDP address
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: SocketAddr,

    /// Where clients find the link; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// What happens to what clients send
    #[arg(long, value_name = "WHAT", default_value = "", conflicts_with = "both")]
    up: Impairment,

    /// What happens to what comes back
    #[arg(long, value_name = "WHAT", default_value = "", conflicts_with = "both")]
    down: Impairment,

    /// The same in both directions
    #[arg(long, value_name = "WHAT")]
    both: Option<Impairment>,

    /// A change later on: how long after the start, which direction, and what it does from then; may repeat
    #[arg(long, value_name = "TIME up|down|both WHAT")]
    then: Vec<Change>,

    /// Give every client another address this often
    #[arg(long, value_name = "TIME", value_parser = time)]
    rebind_every: Option<Duration>,

    /// Decides which datagrams suffer
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Say what happened this often, not only at the end (Ctrl-C)
    #[arg(long, value_name = "TIME", value_parser = time)]
    report_every: Option<Duration>,
}

#[derive(Debug, Clone)]
struct Change {
    at: Duration,
    /// `None` for both.
    direction: Option<Direction>,
    impairment: Impairment,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut words = text.trim().splitn(3, ' ');
        let at = words.next().ok_or("it begins with a time")?;
        let direction = match words.next() {
            Some("up") => Some(Direction::Up),
            Some("down") => Some(Direction::Down),
            Some("both") => None,
            _ => return Err("after the time comes up, down or both: '10s up rate=500k/200ms'".to_owned()),
        };
        let impairment = words.next().unwrap_or_default().parse::<Impairment>();
        Ok(Change { at: time(at)?, direction, impairment: impairment.map_err(|error| error.to_string())? })
    }
}

fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| "write a time with its unit, such as 250ms, 10s or 2m".to_owned())
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> anyhow::Result<()> {
    use anyhow::Context as _;
    let settings = match options.both {
        Some(impairment) => Settings::both(impairment),
        None => Settings { up: options.up, down: options.down },
    };
    let link = Link::start(options.listen, options.to, settings, options.seed)
        .with_context(|| format!("cannot link {} to {}", options.listen, options.to))?;
    println!("{} leads to {} (seed {})", link.address(), options.to, options.seed);
    options.then.sort_by_key(|change| change.at);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live(&link, &options));
    report(&link);
    Ok(())
}

/// Makes the changes when they are due, until Ctrl-C.
async fn live(link: &Link, options: &Options) {
    let began = Instant::now();
    let mut changes = options.then.iter().peekable();
    let mut rebind_at = options.rebind_every.map(|every| began + every);
    let mut report_at = options.report_every.map(|every| began + every);
    loop {
        let now = Instant::now();
        while let Some(change) = changes.next_if(|change| began + change.at <= now) {
            match change.direction {
                Some(direction) => link.set(direction, change.impairment),
                None => link.set_both(change.impairment),
            }
        }
        if is_due(&mut rebind_at, options.rebind_every, now) {
            link.rebind();
        }
        if is_due(&mut report_at, options.report_every, now) {
            report(link);
        }
        let change_at = changes.peek().map(|change| began + change.at);
        let next = [change_at, rebind_at, report_at].into_iter().flatten().min();
        let wait = async {
            match next {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            _ = tokio::signal::ctrl_c() => return,
        }
    }
}

fn is_due(at: &mut Option<Instant>, every: Option<Duration>, now: Instant) -> bool {
    let (Some(due), Some(every)) = (*at, every) else { return false };
    if due > now {
        return false;
    }
    *at = Some(due + every);
    true
}

fn report(link: &Link) {
    for (name, direction) in [("up", Direction::Up), ("down", Direction::Down)] {
        let counters = link.counters(direction);
        println!(
            "{name:>4}: {} in, {} out, {} lost, {} queue full, {} too large, {} twice, {} held back, {} overrun",
            counters.received,
            counters.delivered,
            counters.lost,
            counters.queue_full,
            counters.too_large,
            counters.duplicated,
            counters.held_back,
            counters.overrun
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_examples_are_true() {
        Options::command().debug_assert();
        let examples = HELP.lines().filter(|line| line.trim_start().starts_with("roundtable-link"));
        assert_eq!(examples.clone().count(), 4);
        for example in examples {
            let mut words = Vec::new();
            for (number, piece) in example.trim().split('\'').enumerate() {
                match number % 2 {
                    0 => words.extend(piece.split_whitespace()),
                    _ => words.push(piece),
                }
            }
            Options::try_parse_from(words).unwrap();
        }
    }

    #[test]
    fn a_change_that_cannot_be_is_explained() {
        for (text, words) in
            [("10s", "both"), ("soon up", "250ms"), ("10s up los=5%", "loss="), ("0s both", "250ms")]
        {
            let error = text.parse::<Change>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
