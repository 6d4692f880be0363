//! What came of it, for people and for programs.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use crate::{
    bench::{Measured, Scenario},
    lean::Lean,
};

/// All scenarios.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// In the order they were measured.
    pub rows: Vec<Row>,
}

/// One scenario, medians of its rounds. Times in microseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The scenario's name.
    pub name: String,
    /// Which relay, when there is more than one.
    pub relay: &'static str,
    /// How many got everything.
    pub subscribers: u32,
    /// Datagrams sent at once.
    pub burst: u8,
    /// Rounds that went into it.
    pub rounds: usize,
    /// Datagrams delivered each second.
    pub delivered_per_second: f64,
    /// The relay's time on a core per datagram delivered.
    pub cpu_us: f64,
    /// The same of the lean limit.
    pub lean_us: f64,
    /// The first through the second, of each round.
    pub ratio: f64,
    /// The smallest and the largest of these.
    pub ratio_range: [f64; 2],
    /// Per cent of what was sent that did not arrive.
    pub loss_percent: f64,
    /// Packets that the load's sockets had no room for, the most of a round.
    pub load_overflows: u64,
    /// Latency that half of the datagrams did not exceed.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1000.
    pub p999_us: f64,
    /// Join time that half of the clients did not exceed.
    pub join_p50_us: f64,
    /// The relay's memory per subscriber, kilobytes, cache included.
    pub rss_kb: f64,
    /// Of a core.
    pub relay_load: f64,
}

impl Row {
    /// Of what was measured in turns. `None` when there is nothing.
    pub fn new(scenario: &Scenario, relay: &'static str, rounds: &[(Lean, Measured)]) -> Option<Self> {
        let median_of = |value: &dyn Fn(&(Lean, Measured)) -> f64| median(rounds.iter().map(value).collect());
        let ratio = |(lean, measured): &(Lean, Measured)| us(measured.cpu_per_datagram) / lean.cpu_us;
        let ratios = || rounds.iter().map(ratio);
        let percentile = |percent| median_of(&|(_, measured)| us(measured.latencies.percentile(percent)));
        // A few hundred kilobytes at most.
        #[allow(clippy::cast_precision_loss)]
        let rss_kb = median_of(&|(_, measured)| measured.rss_per_subscriber as f64 / 1024.0)?;
        Some(Row {
            name: scenario.name.to_owned(),
            relay,
            subscribers: scenario.subscribers,
            burst: scenario.burst,
            rounds: rounds.len(),
            delivered_per_second: median_of(&|(_, measured)| measured.delivered_per_second)?,
            cpu_us: median_of(&|(_, measured)| us(measured.cpu_per_datagram))?,
            lean_us: median_of(&|(lean, _)| lean.cpu_us)?,
            ratio: median_of(&ratio)?,
            ratio_range: [ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max)],
            loss_percent: median_of(&|(_, measured)| measured.loss * 100.0)?,
            load_overflows: rounds.iter().map(|(_, measured)| measured.load_overflows).max()?,
            p50_us: percentile(50.0)?,
            p99_us: percentile(99.0)?,
            p999_us: percentile(99.9)?,
            join_p50_us: median_of(&|(_, measured)| us(measured.join.percentile(50.0)))?,
            rss_kb,
            relay_load: median_of(&|(_, measured)| measured.relay_load)?,
        })
    }
}

impl Report {
    /// A table for people.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{:<12} {:<6} {:>5} {:>5} {:>9} {:>6} {:>6} {:>6} {:>11} {:>8} {:>7} {:>8} {:>8} {:>6} {:>5}",
            "scenario",
            "relay",
            "subs",
            "burst",
            "deliv/s",
            "us",
            "lean",
            "ratio",
            "range",
            "loss %",
            "p50 ms",
            "p99 ms",
            "p99.9",
            "kB/sub",
            "load"
        );
        for row in &self.rows {
            let _ = writeln!(
                out,
                "{:<12} {:<6} {:>5} {:>5} {:>9.0} {:>6.2} {:>6.2} {:>6.2} {:>5.2}-{:<5.2} {:>8.4} {:>7.2} {:>8.2} {:>8.2} {:>6.0} {:>4.0}%",
                row.name,
                row.relay,
                row.subscribers,
                row.burst,
                row.delivered_per_second,
                row.cpu_us,
                row.lean_us,
                row.ratio,
                row.ratio_range[0],
                row.ratio_range[1],
                row.loss_percent,
                row.p50_us / 1000.0,
                row.p99_us / 1000.0,
                row.p999_us / 1000.0,
                row.rss_kb,
                row.relay_load * 100.0,
            );
        }
        if self.rows.iter().any(|row| row.load_overflows > 0) {
            out.push_str("The load's own sockets overflowed: part of the loss is not the relay's.\n");
        }
        out
    }
}

fn us(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::SCENARIOS, latency::Latencies};

    fn round(lean_us: f64, cpu_us: u64) -> (Lean, Measured) {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_micros(10));
        let measured = Measured {
            cpu_per_datagram: Duration::from_micros(cpu_us),
            relay_load: 0.5,
            delivered_per_second: 1000.0,
            loss: 0.001,
            load_overflows: 0,
            frames_skipped: 0,
            latencies,
            join: Latencies::default(),
            rss_per_subscriber: 2048,
        };
        (Lean { cpu_us: lean_us, datagrams_per_second: 1000.0 }, measured)
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_ratio_is_taken_within_each_round() {
        // The machine ran at half its speed in the second round: that changes no ratio.
        let row = Row::new(&SCENARIOS[0], "", &[round(1.0, 3), round(2.0, 6), round(1.0, 4)]).unwrap();
        assert_eq!((row.ratio, row.ratio_range), (3.0, [3.0, 4.0]));
        assert_eq!((row.cpu_us, row.lean_us, row.rss_kb), (4.0, 1.0, 2.0));
        assert!((row.loss_percent - 0.1).abs() < 1e-9);
        assert_eq!(row.p50_us, 10.0);
        assert!(Row::new(&SCENARIOS[0], "", &[]).is_none());
    }

    #[test]
    fn every_scenario_has_its_line_in_the_table() {
        let row = Row::new(&SCENARIOS[0], "", &[round(1.0, 3)]).unwrap();
        let table = Report { rows: vec![row.clone(), Row { name: "other".to_owned(), ..row }] }.table();
        assert_eq!(table.lines().count(), 3);
        assert!(
            table.contains(SCENARIOS[0].name) && table.contains("other") && !table.contains("overflowed")
        );
    }
}
