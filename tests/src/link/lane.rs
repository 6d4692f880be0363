//! One direction of a link, as values.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::{impairment::Impairment, random::Random};

/// Bytes of the IP and UDP headers that a bottleneck carries with each datagram.
const HEADER_BYTES: u64 = 28;
/// Datagrams on their way at once; more are dropped like in a full queue.
const IN_FLIGHT_MAX: usize = 1 << 16;

/// What became of the datagrams of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Came in.
    pub received: u64,
    /// Their UDP payload, bytes.
    pub received_bytes: u64,
    /// Went out, the second ones of duplicates included.
    pub delivered: u64,
    /// Lost, alone or in bursts.
    pub lost: u64,
    /// Longer than the link carries.
    pub too_large: u64,
    /// Found the queue before the bottleneck full.
    pub queue_full: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back.
    pub held_back: u64,
    /// The proxy itself was too slow for: no part of the model, 0 on a machine that keeps up.
    pub overrun: u64,
}

impl Counters {
    /// Adds what another lane counted.
    pub fn add(&mut self, other: Counters) {
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.delivered += other.delivered;
        self.lost += other.lost;
        self.too_large += other.too_large;
        self.queue_full += other.queue_full;
        self.duplicated += other.duplicated;
        self.held_back += other.held_back;
        self.overrun += other.overrun;
    }
}

/// One direction. What happens to the n-th datagram depends on the seed and the settings; the time decides only about
/// the queue before a bottleneck.
#[derive(Debug)]
pub struct Lane {
    impairment: Impairment,
    random: Random,
    /// In the bad state of the burst model.
    is_bad: bool,
    /// When the bottleneck has sent what it was given.
    free_at: Option<Instant>,
    /// When the last datagram that keeps the order arrives.
    last_due: Option<Instant>,
    in_flight: BinaryHeap<Reverse<Pending>>,
    sequence: u64,
    counters: Counters,
}

/// A datagram on its way. The order is that of arrival.
#[derive(Debug)]
struct Pending {
    due: Instant,
    sequence: u64,
    data: Bytes,
}

impl Lane {
    /// A lane of a link with this seed; lanes of different names fare differently.
    pub fn new(impairment: Impairment, seed: u64, name: u64) -> Self {
        Lane {
            impairment,
            random: Random::new(seed, name),
            is_bad: false,
            free_at: None,
            last_due: None,
            in_flight: BinaryHeap::new(),
            sequence: 0,
            counters: Counters::default(),
        }
    }

    /// Holds for datagrams that come from now on.
    pub fn set(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// What happened since the counters were taken.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What happened since this was called last.
    pub fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// A datagram enters.
    pub fn handle_datagram(&mut self, now: Instant, data: Bytes) {
        self.counters.received += 1;
        self.counters.received_bytes += data.len() as u64;
        let dice = Dice::throw(&mut self.random);
        let impairment = self.impairment;
        let is_in_burst = self.step_burst(dice.burst);
        if impairment.size_max.is_some_and(|max| data.len() > max) {
            self.counters.too_large += 1;
            return;
        }
        if is_in_burst || dice.loss < impairment.loss {
            self.counters.lost += 1;
            return;
        }
        let Some(left_bottleneck) = self.pass_bottleneck(now, data.len()) else {
            self.counters.queue_full += 1;
            return;
        };
        let due = left_bottleneck + impairment.delay + impairment.jitter.mul_f64(dice.jitter);
        let mut due = self.last_due.map_or(due, |last| due.max(last));
        match impairment.reorder {
            Some(reorder) if dice.reorder < reorder.part => {
                due += reorder.by;
                self.counters.held_back += 1;
            }
            _ => self.last_due = Some(due),
        }
        if dice.duplicate < impairment.duplicate {
            self.counters.duplicated += 1;
            self.push(due, data.clone());
        }
        self.push(due, data);
    }

    /// The next datagram that has arrived by now.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        if self.poll_timeout()? > now {
            return None;
        }
        let Reverse(pending) = self.in_flight.pop()?;
        self.counters.delivered += 1;
        Some(pending.data)
    }

    /// When the next datagram arrives.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.in_flight.peek().map(|Reverse(pending)| pending.due)
    }

    fn push(&mut self, due: Instant, data: Bytes) {
        self.sequence += 1;
        self.in_flight.push(Reverse(Pending { due, sequence: self.sequence, data }));
    }

    /// True in the bad state, in which a datagram is lost.
    fn step_burst(&mut self, dice: f64) -> bool {
        let Some(burst) = self.impairment.burst else {
            self.is_bad = false;
            return false;
        };
        let leave_bad = 1.0 / burst.length;
        // In the long run a part `loss` of the time is bad.
        let leave_good = (burst.loss * leave_bad / (1.0 - burst.loss)).min(1.0);
        self.is_bad = if self.is_bad { dice >= leave_bad } else { dice < leave_good };
        self.is_bad
    }

    /// When a datagram has left the bottleneck, or `None` when the queue before it is full.
    fn pass_bottleneck(&mut self, now: Instant, len: usize) -> Option<Instant> {
        if self.in_flight.len() >= IN_FLIGHT_MAX {
            return None;
        }
        let Some(rate) = self.impairment.rate else { return Some(now) };
        let starts = self.free_at.map_or(now, |free_at| free_at.max(now));
        if starts.saturating_duration_since(now) > rate.queue {
            return None;
        }
        let bits = (len as u64 + HEADER_BYTES) * 8;
        let leaves = starts + Duration::from_nanos(bits.saturating_mul(1_000_000_000) / rate.bits_per_s);
        self.free_at = Some(leaves);
        Some(leaves)
    }
}

/// Always the same number of throws for a datagram, whatever they decide: so that what happens to the n-th one does
/// not depend on which settings are on.
struct Dice {
    loss: f64,
    burst: f64,
    jitter: f64,
    reorder: f64,
    duplicate: f64,
}

impl Dice {
    fn throw(random: &mut Random) -> Self {
        Dice {
            loss: random.unit(),
            burst: random.unit(),
            jitter: random.unit(),
            reorder: random.unit(),
            duplicate: random.unit(),
        }
    }
}

impl Ord for Pending {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.sequence).cmp(&(other.due, other.sequence))
    }
}

impl PartialOrd for Pending {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pending {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pending {}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `count` datagrams of 100 bytes, `every` apart, and returns which arrived when, in milliseconds.
    fn run(lane: &mut Lane, count: u32, every: Duration) -> Vec<(u32, f64)> {
        let begin = Instant::now();
        let mut arrived = Vec::new();
        let mut take = |lane: &mut Lane, until: Option<Instant>| {
            while let Some(due) = lane.poll_timeout().filter(|due| until.is_none_or(|until| *due <= until)) {
                let data = lane.poll_transmit(due).unwrap();
                let number = u32::from_be_bytes(data[..4].try_into().unwrap());
                arrived.push((number, due.duration_since(begin).as_secs_f64() * 1000.0));
            }
        };
        for number in 0..count {
            let now = begin + every * number;
            take(lane, Some(now));
            let mut data = number.to_be_bytes().to_vec();
            data.resize(100, 0);
            lane.handle_datagram(now, data.into());
        }
        take(lane, None);
        arrived
    }

    fn lane(text: &str) -> Lane {
        Lane::new(text.parse().unwrap(), 42, 0)
    }

    fn numbers(arrived: &[(u32, f64)]) -> Vec<u32> {
        arrived.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn a_link_without_impairments_changes_nothing() {
        let mut clean = lane("");
        let arrived = run(&mut clean, 1000, MS);
        assert!(
            arrived
                .iter()
                .enumerate()
                .all(|(at, (number, time))| { *number as usize == at && (*time - at as f64).abs() < 1e-6 })
        );
        let all =
            Counters { received: 1000, received_bytes: 100_000, delivered: 1000, ..Counters::default() };
        assert_eq!(clean.counters(), all);
    }

    #[test]
    fn the_same_seed_decides_the_same_and_another_seed_something_else() {
        let text = "delay=5ms,jitter=20ms,loss=10%,burst=5%x3,reorder=5%/9ms,duplicate=5%";
        let twice: Vec<_> = (0..2).map(|_| run(&mut lane(text), 2000, MS)).collect();
        assert_eq!(twice[0], twice[1]);
        let mut other = Lane::new(text.parse().unwrap(), 43, 0);
        assert_ne!(run(&mut other, 2000, MS), twice[0]);
        let mut other = Lane::new(text.parse().unwrap(), 42, 1);
        assert_ne!(run(&mut other, 2000, MS), twice[0]);
    }

    #[test]
    fn what_is_lost_depends_on_the_seed_and_not_on_delays_or_timing() {
        let one = numbers(&run(&mut lane("loss=10%"), 2000, MS));
        let other = numbers(&run(&mut lane("loss=10%,delay=30ms,jitter=9ms"), 2000, MS * 3));
        assert_eq!(one, other);
    }

    #[test]
    fn random_loss_loses_its_part() {
        let mut lossy = lane("loss=5%");
        let arrived = run(&mut lossy, 100_000, MS);
        assert!((4_700..5_300).contains(&lossy.counters().lost), "{:?}", lossy.counters());
        assert_eq!(arrived.len() as u64, 100_000 - lossy.counters().lost);
        assert!(run(&mut lane("loss=100%"), 1000, MS).is_empty());
    }

    #[test]
    fn bursts_lose_their_part_in_rows_of_their_length() {
        let mut bursty = lane("burst=5%x4");
        let arrived = numbers(&run(&mut bursty, 200_000, MS));
        let rows = arrived.windows(2).filter(|pair| pair[1] - pair[0] > 1).count() as f64;
        let lost = bursty.counters().lost as f64;
        assert!((0.045..0.055).contains(&(lost / 200_000.0)), "{lost}");
        assert!((3.7..4.3).contains(&(lost / rows)), "{}", lost / rows);
    }

    #[test]
    fn jitter_spreads_arrivals_and_keeps_the_order() {
        let arrived = run(&mut lane("delay=20ms,jitter=10ms"), 10_000, MS * 20);
        assert!(arrived.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let delays = arrived.iter().map(|(number, at)| at - 20.0 * f64::from(*number));
        let (least, most) =
            delays.fold((f64::MAX, 0f64), |(least, most), delay| (least.min(delay), most.max(delay)));
        assert!((20.0..20.1).contains(&least) && (29.9..=30.0).contains(&most), "{least} {most}");
    }

    #[test]
    fn a_datagram_held_back_is_overtaken_and_duplicates_come_twice() {
        let mut lane = lane("reorder=10%/5ms,duplicate=10%");
        let arrived = numbers(&run(&mut lane, 10_000, MS));
        let counters = lane.counters();
        let overtaken = arrived.windows(2).filter(|pair| pair[1] < pair[0]).count() as u64;
        assert!(overtaken > 800 && overtaken <= counters.held_back, "{overtaken} {counters:?}");
        assert!((900..1100).contains(&counters.duplicated), "{counters:?}");
        assert_eq!(arrived.len() as u64, 10_000 + counters.duplicated);
        let mut all = arrived;
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn a_bottleneck_delays_up_to_its_queue_and_then_drops() {
        // 128 bytes each with headers: 1024 bits, so 1 Mbit/s carries one every 1.024 ms.
        let mut narrow = lane("rate=1M/50ms");
        let arrived = run(&mut narrow, 1000, MS / 2);
        let counters = narrow.counters();
        assert_eq!(arrived.len() as u64 + counters.queue_full, 1000);
        let spacing = (arrived.last().unwrap().1 - arrived[0].1) / (arrived.len() - 1) as f64;
        assert!((spacing - 1.024).abs() < 0.001, "{spacing}");
        let longest = arrived.iter().map(|(number, at)| at - 0.5 * f64::from(*number)).fold(0.0, f64::max);
        assert!((50.0..52.1).contains(&longest), "{longest}");
        assert_eq!(
            run(&mut lane("rate=1M/50ms"), 1000, MS * 2).len(),
            1000,
            "below its rate it drops nothing"
        );
    }

    #[test]
    fn what_is_too_large_does_not_get_through() {
        let mut small = lane("size=99");
        assert!(run(&mut small, 3, MS).is_empty());
        assert_eq!(small.counters().too_large, 3);
        assert_eq!(run(&mut lane("size=100"), 3, MS).len(), 3);
    }

    #[test]
    fn settings_hold_for_what_comes_after_them() {
        let mut changing = lane("delay=1s");
        let now = Instant::now();
        changing.handle_datagram(now, Bytes::from_static(b"slow"));
        changing.set(Impairment::blackout());
        changing.handle_datagram(now, Bytes::from_static(b"lost"));
        changing.set(Impairment::default());
        assert_eq!(changing.poll_timeout(), Some(now + Duration::from_secs(1)));
        changing.handle_datagram(now, Bytes::from_static(b"after"));
        // Order is kept: what is sent later does not arrive sooner.
        let due = now + Duration::from_secs(1);
        assert_eq!(changing.poll_transmit(due - MS), None);
        assert_eq!(changing.poll_transmit(due).as_deref(), Some(&b"slow"[..]));
        assert_eq!(changing.poll_transmit(due).as_deref(), Some(&b"after"[..]));
        assert_eq!(changing.poll_transmit(due), None);
    }
}
