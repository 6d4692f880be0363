//! When to ask for what is missing (docs/wire.md, "Repair"): gaps that lie close together become one FETCH, at
//! most 20 are sent a second, none is sent twice at once, and what would come too late is not asked for.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use roundtable_moqt::object::Location;

use crate::reassemble::MissingRange;

/// Gaps at most this many objects (or groups of one object) apart become one FETCH.
pub const MERGE_DISTANCE: u64 = 8;
/// Most FETCHes a second and track.
pub const FETCHES_PER_SECOND: usize = 20;
/// Most FETCHes of a track that wait for their answers at once.
const IN_FLIGHT_MAX: usize = 8;
/// Most ranges remembered because their answer was of no use.
const COOLING_MAX: usize = 64;

/// Settings of the planner.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// How long a gap must have been there: datagrams overtake each other.
    pub settle: Duration,
    /// A gap this old is not asked for when the answer, a round trip later, would come too late.
    pub give_up_after: Duration,
    /// How long after an answer without the objects the same gap is asked for again; doubled every time.
    pub retry_after: Duration,
    /// How often one gap is asked for.
    pub attempts_max: u32,
}

impl Config {
    /// For playing, where a frame waits no longer than `wait`.
    pub fn live(wait: Duration) -> Self {
        Config {
            settle: Duration::from_millis(10),
            give_up_after: wait,
            retry_after: Duration::from_millis(50),
            attempts_max: 3,
        }
    }

    /// For recording.
    pub fn recorder() -> Self {
        Config {
            settle: Duration::from_millis(20),
            give_up_after: Duration::from_secs(9),
            retry_after: Duration::from_millis(200),
            attempts_max: 6,
        }
    }
}

/// A range to ask for. As in a FETCH, objects that are there already come along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ask {
    /// First location.
    pub start: Location,
    /// Last location; object `u64::MAX` is the end of the group, wherever that is.
    pub end: Location,
}

impl Ask {
    /// The end in FETCH's encoding: object plus one, or 0 for the whole group (draft 10.12.1).
    pub fn wire_end(&self) -> Location {
        match self.end.object.checked_add(1) {
            Some(object) => Location::new(self.end.group, object),
            None => Location::new(self.end.group, 0),
        }
    }

    fn overlaps(&self, start: Location, end: Location) -> bool {
        self.start <= end && start <= self.end
    }
}

/// How a FETCH ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Everything that exists has come.
    Complete,
    /// Something of it is unknown, or the request failed: perhaps later.
    Incomplete,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// FETCHes to send; each is ended with [`Planner::answered`].
    pub asks: Vec<Ask>,
    /// Gaps that have been asked for often enough: nobody knows about them.
    pub hopeless: Vec<(Location, Location)>,
    /// When to plan again, if nothing else happens.
    pub again_at: Option<Instant>,
}

/// Plans the repair of one track.
#[derive(Debug)]
pub struct Planner {
    config: Config,
    in_flight: Vec<Ask>,
    cooling: VecDeque<Cooling>,
    sent: VecDeque<Instant>,
}

#[derive(Debug)]
struct Cooling {
    ask: Ask,
    until: Instant,
    attempts: u32,
}

impl Planner {
    /// Nothing asked for yet.
    pub fn new(config: Config) -> Self {
        Planner { config, in_flight: Vec::new(), cooling: VecDeque::new(), sent: VecDeque::new() }
    }

    /// What to ask for, of what [`crate::reassemble::Reassembler::missing`] lists.
    pub fn plan(&mut self, now: Instant, missing: &[MissingRange], round_trip: Duration) -> Plan {
        let mut plan = Plan::default();
        let mut wake =
            |at: Instant| plan.again_at = Some(plan.again_at.map_or(at, |other: Instant| other.min(at)));
        let mut due = Vec::new();
        for range in missing {
            if self.in_flight.iter().any(|ask| ask.overlaps(range.start, range.end)) {
                continue;
            }
            let cooling = self
                .cooling
                .iter()
                .filter(|cooling| cooling.ask.overlaps(range.start, range.end))
                .max_by_key(|cooling| cooling.until);
            let settled_at = range.since + self.config.settle;
            let due_at = cooling.map_or(settled_at, |cooling| cooling.until.max(settled_at));
            if cooling.is_some_and(|cooling| cooling.attempts >= self.config.attempts_max) {
                plan.hopeless.push((range.start, range.end));
            } else if due_at > now {
                wake(due_at);
            } else if now + round_trip <= range.since + self.config.give_up_after {
                due.push(Ask { start: range.start, end: range.end });
            }
        }
        while self
            .sent
            .front()
            .is_some_and(|sent| now.saturating_duration_since(*sent) >= Duration::from_secs(1))
        {
            self.sent.pop_front();
        }
        for ask in merged(due) {
            if self.in_flight.len() >= IN_FLIGHT_MAX {
                break;
            }
            if self.sent.len() >= FETCHES_PER_SECOND {
                if let Some(oldest) = self.sent.front() {
                    wake(*oldest + Duration::from_secs(1));
                }
                break;
            }
            self.sent.push_back(now);
            self.in_flight.push(ask);
            plan.asks.push(ask);
        }
        plan
    }

    /// The FETCH of an [`Ask`] is over.
    pub fn answered(&mut self, now: Instant, ask: &Ask, answer: Answer) {
        self.in_flight.retain(|other| other != ask);
        let previous = self
            .cooling
            .iter()
            .filter(|cooling| cooling.ask.overlaps(ask.start, ask.end))
            .map(|cooling| cooling.attempts)
            .max()
            .unwrap_or(0);
        self.cooling.retain(|cooling| !cooling.ask.overlaps(ask.start, ask.end));
        if answer == Answer::Incomplete {
            let attempts = previous + 1;
            let pause = self.config.retry_after * 2_u32.saturating_pow(previous.min(6));
            if self.cooling.len() >= COOLING_MAX {
                self.cooling.pop_front();
            }
            self.cooling.push_back(Cooling { ask: *ask, until: now + pause, attempts });
        }
    }

    /// FETCHes that wait for their answers.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }
}

fn merged(mut asks: Vec<Ask>) -> Vec<Ask> {
    asks.sort_unstable_by_key(|ask| ask.start);
    let mut merged: Vec<Ask> = Vec::new();
    for ask in asks {
        match merged.last_mut() {
            Some(last) if are_close(last.end, ask.start) => last.end = last.end.max(ask.end),
            _ => merged.push(ask),
        }
    }
    merged
}

fn are_close(end: Location, start: Location) -> bool {
    if end.group == start.group {
        return start.object.saturating_sub(end.object) <= MERGE_DISTANCE;
    }
    // Between them lie whole groups and nothing else: sound has one object in each.
    end.object == u64::MAX && start.object == 0 && start.group.saturating_sub(end.group) <= MERGE_DISTANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn hole(start: (u64, u64), end: (u64, u64), since: Instant) -> MissingRange {
        MissingRange { start: Location::new(start.0, start.1), end: Location::new(end.0, end.1), since }
    }

    fn ask(start: (u64, u64), end: (u64, u64)) -> Ask {
        Ask { start: Location::new(start.0, start.1), end: Location::new(end.0, end.1) }
    }

    #[test]
    fn a_gap_is_asked_for_once_it_has_settled_and_once_at_a_time() {
        let start = Instant::now();
        let mut planner = Planner::new(Config::live(Duration::from_millis(400)));
        let holes = [hole((1, 2), (1, 3), start)];
        let early = planner.plan(start, &holes, RTT);
        assert_eq!((early.asks.len(), early.again_at), (0, Some(start + Duration::from_millis(10))));
        let at = start + Duration::from_millis(10);
        assert_eq!(planner.plan(at, &holes, RTT).asks, [ask((1, 2), (1, 3))]);
        assert_eq!(planner.plan(at, &holes, RTT), Plan::default());
    }

    #[test]
    fn close_gaps_become_one_fetch() {
        let start = Instant::now();
        let mut planner = Planner::new(Config::recorder());
        let holes = [
            hole((1, 2), (1, 3), start),
            hole((1, 11), (1, 11), start),
            hole((1, 20), (1, 20), start),
            hole((2, 0), (2, u64::MAX), start),
            hole((4, 0), (4, u64::MAX), start),
        ];
        let plan = planner.plan(start + RTT, &holes, RTT);
        assert_eq!(plan.asks, [ask((1, 2), (1, 11)), ask((1, 20), (1, 20)), ask((2, 0), (4, u64::MAX))]);
        assert_eq!(plan.asks[0].wire_end(), Location::new(1, 12));
        assert_eq!(plan.asks[2].wire_end(), Location::new(4, 0));
    }

    #[test]
    fn what_would_come_too_late_is_not_asked_for() {
        let start = Instant::now();
        let mut planner = Planner::new(Config::live(Duration::from_millis(100)));
        let holes = [hole((1, 2), (1, 3), start)];
        assert_eq!(planner.plan(start + Duration::from_millis(51), &holes, RTT), Plan::default());
        assert_eq!(planner.plan(start + Duration::from_millis(50), &holes, RTT).asks.len(), 1);
    }

    #[test]
    fn at_most_twenty_fetches_leave_in_a_second() {
        let start = Instant::now();
        let mut planner = Planner::new(Config::recorder());
        let mut asked = 0;
        for step in 0..100_u64 {
            let now = start + RTT + Duration::from_millis(step * 9);
            let holes = [hole((1, step * 20), (1, step * 20), start)];
            for ask in planner.plan(now, &holes, RTT).asks {
                asked += 1;
                planner.answered(now, &ask, Answer::Complete);
            }
        }
        assert_eq!(asked, FETCHES_PER_SECOND);
        let later = planner.plan(start + RTT + Duration::from_secs(1), &[hole((2, 0), (2, 0), start)], RTT);
        assert_eq!(later.asks.len(), 1);
    }

    #[test]
    fn an_unknown_answer_is_asked_again_with_growing_pauses_and_then_given_up() {
        let start = Instant::now();
        let mut planner = Planner::new(Config::recorder());
        let holes = [hole((1, 2), (1, 3), start)];
        let mut now = start + RTT;
        let mut times = Vec::new();
        loop {
            let plan = planner.plan(now, &holes, RTT);
            if let Some(ask) = plan.asks.first() {
                times.push(now - start - RTT);
                planner.answered(now, ask, Answer::Incomplete);
            } else if plan.hopeless.is_empty() {
                now = plan.again_at.unwrap();
            } else {
                assert_eq!(plan.hopeless, [(Location::new(1, 2), Location::new(1, 3))]);
                break;
            }
        }
        assert_eq!(times, [0, 200, 600, 1400, 3000, 6200].map(Duration::from_millis));
    }
}
