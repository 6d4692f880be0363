//! What is measured.

use roundtable_moqt::session::Carrier;

use crate::shape::Shape;

/// One publisher, one track, many subscribers.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// For `--only`, and in tables.
    pub name: &'static str,
    /// What carries the sessions, publisher's and subscribers'.
    pub carrier: Carrier,
    /// How many get everything.
    pub subscribers: u32,
    /// Datagrams sent at once.
    pub burst: u8,
    /// Datagrams a second, all subscribers together.
    pub delivered_per_second: f64,
    /// Length of each, type byte to payload's end; the wire's limit is 1024.
    pub datagram_bytes: usize,
}

impl Scenario {
    /// What the publisher sends.
    pub fn shape(&self) -> Shape {
        let per_subscriber = self.delivered_per_second / f64::from(self.subscribers);
        Shape::per_second(per_subscriber, self.burst, self.datagram_bytes)
    }
}

const fn scenario(
    name: &'static str,
    carrier: Carrier,
    subscribers: u32,
    burst: u8,
    delivered_per_second: f64,
) -> Scenario {
    Scenario { name, carrier, subscribers, burst, delivered_per_second, datagram_bytes: 1024 }
}

/// The default set.
pub const SCENARIOS: &[Scenario] = &[
    scenario("bursts-wt", Carrier::WebTransport, 100, 8, 160_000.0),
    scenario("bursts-raw", Carrier::Quic, 100, 8, 160_000.0),
    scenario("single-wt", Carrier::WebTransport, 100, 1, 96_000.0),
    scenario("single-raw", Carrier::Quic, 100, 1, 96_000.0),
    scenario("half-wt", Carrier::WebTransport, 100, 8, 125_000.0),
    scenario("full-wt", Carrier::WebTransport, 100, 8, 250_000.0),
    scenario("memory-wt", Carrier::WebTransport, 1000, 1, 20_000.0),
    scenario("memory-raw", Carrier::Quic, 1000, 1, 20_000.0),
];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_publisher_sends_what_its_subscribers_together_receive() {
        let shape = scenario("", Carrier::Quic, 100, 8, 160_000.0).shape();
        assert_eq!((shape.burst, shape.interval), (8, Duration::from_millis(5)));
    }

    #[test]
    fn scenarios_have_names_of_their_own() {
        for (index, one) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[index + 1..].iter().all(|other| other.name != one.name), "{}", one.name);
        }
    }
}
