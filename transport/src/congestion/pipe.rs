//! How much may be on its way: the window, from delays and what arrives.

use std::time::{Duration, Instant};

/// Queueing that is aimed at on a path that cannot carry all that is offered. Below it nothing slows down: a loaded
/// relay's or browser's own scheduling reaches 20 ms.
pub const DELAY_TARGET: Duration = Duration::from_millis(50);

/// Packets at the start (RFC 9002 section 7.2 gives 10; media needs its first key frame, and Chromium takes 32).
const PACKETS_INITIAL: u64 = 32;
/// Packets that may always be on their way: sound has to get through.
const PACKETS_MIN: u64 = 2;
/// What is left of the window after a round with too long a queue.
const DECREASE: f64 = 0.7;
/// Meanwhile, for a round, so much of what the idle path would hold: the queue empties, and everybody on it sees how
/// long the path is without it.
const DRAIN: f64 = 0.75;
/// More of what arrived than this is never sent while packets get lost: the place between a link that loses a
/// quarter whatever is sent (held) and a policer that cuts what is above its rate (overshot by no more).
const LOSS_GAIN: f64 = 1.35;
/// From so many lost of all on, [`LOSS_GAIN`] bounds the window.
const LOSS_NOTICED: f64 = 0.02;
/// However little arrives, losses alone do not go below so many packets: with fewer on their way a loss takes a
/// probe time-out to be noticed, and the rate that is measured falls with the window.
const PACKETS_LOSSY_MIN: u64 = 8;
/// How long a receiver may sit on an acknowledgement (RFC 9000 section 18.2, `max_ack_delay`).
const ACK_DELAY: Duration = Duration::from_millis(25);
/// A round observes at least so long, so that its least delay is one of several packets.
const ROUND_MIN: Duration = Duration::from_millis(10);
/// A path's best delay holds so long, once and twice; then it has to be seen again.
const BASE_HALF: Duration = Duration::from_secs(5);
/// The best rate of so long counts.
const RATE_HALF: Duration = Duration::from_secs(1);
/// After so long without any acknowledgement the path may be dark, and a trickle keeps asking, so that the call is
/// back when the path is, not when QUIC's doubled probe time-outs allow it (RFC 9002 section 6.2.1).
const SILENCE: Duration = Duration::from_millis(300);
/// One packet of the trickle.
const TRICKLE: Duration = Duration::from_millis(50);

/// The window of one path.
///
/// Time goes in rounds. A round takes the packets of about half a round trip and asks, once they have been
/// acknowledged: how long was the queue at its shortest? Short: the window grows if it was used, twofold in a round
/// at first, later by a packet. Long: it falls below what the idle path holds for a round, so that the queue empties
/// and everybody on it sees how long the path is without (a newcomer takes the others' queue for distance); then it
/// goes on with what arrived, less a little, so that flows which share a queue come to share it fairly.
#[derive(Debug, Clone)]
pub struct Pipe {
    mtu: u64,
    window: f64,
    in_flight: u64,
    is_starting: bool,
    base: Windowed<MinDelay>,
    /// What rounds delivered, each for itself: recent, and rough when a round is a few packets.
    rate: Windowed<MaxRate>,
    /// What arrived in equal spans: steady, and late.
    arrival: Windowed<MaxRate>,
    arriving: Arriving,
    loss: Loss,
    round: Round,
    srtt: Duration,
    rounds_of_growth: u64,
    is_lowest: bool,
    is_long: bool,
    drained_from: Option<f64>,
    acked_at: Instant,
}

impl Pipe {
    /// A path that nothing is known of.
    pub fn new(now: Instant, mtu: u64) -> Self {
        let mut pipe = Pipe {
            mtu,
            window: 0.0,
            in_flight: 0,
            is_starting: true,
            base: Windowed::new(now, BASE_HALF),
            rate: Windowed::new(now, RATE_HALF),
            arrival: Windowed::new(now, RATE_HALF),
            arriving: Arriving { since: now, bytes: 0 },
            loss: Loss::default(),
            round: Round::start(now, ROUND_MIN),
            srtt: Duration::ZERO,
            rounds_of_growth: 0,
            is_lowest: false,
            is_long: false,
            drained_from: None,
            acked_at: now,
        };
        pipe.window = pipe.window_initial() as f64;
        pipe
    }

    /// Bytes that may be on their way at the start.
    pub fn window_initial(&self) -> u64 {
        PACKETS_INITIAL * self.mtu
    }

    /// Bytes that may be on their way.
    pub fn window(&self) -> u64 {
        self.window as u64
    }

    /// The same for a path that may have gone dark: a trickle more with the time that nothing came back.
    pub fn window_at(&self, now: Instant) -> u64 {
        let silence = now.saturating_duration_since(self.acked_at).saturating_sub(SILENCE.max(2 * self.srtt));
        let trickle = silence.as_nanos() / TRICKLE.as_nanos();
        self.window().saturating_add(self.mtu.saturating_mul(u64::try_from(trickle).unwrap_or(0)))
    }

    /// True when the next packet may find no room.
    pub fn is_full(&self) -> bool {
        self.in_flight + self.mtu >= self.window()
    }

    /// Bytes a second that the path has lately been seen to deliver. Less than it could, while less was offered.
    pub fn delivery_rate(&self) -> Option<u64> {
        self.arrival.best().map(|MaxRate(rate)| rate as u64)
    }

    /// How much longer packets take than on the idle path, at the last look.
    pub fn queueing(&self) -> Duration {
        self.queueing_of(self.round.delay_min)
    }

    /// The share of packets that got lost lately.
    pub fn loss(&self) -> f64 {
        self.loss.share
    }

    /// A packet's largest size has changed.
    pub fn set_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.window = self.window.max(self.window_min());
    }

    /// Bytes on their way after a batch of acknowledgements.
    pub fn set_in_flight(&mut self, in_flight: u64) {
        self.in_flight = in_flight;
    }

    /// Packets of so many bytes have left.
    pub fn handle_sent(&mut self, now: Instant, bytes: u64) {
        if self.in_flight == 0 {
            // Nothing was on its way, so nothing was owed: the silence begins here.
            self.acked_at = self.acked_at.max(now);
        }
        self.in_flight += bytes;
    }

    /// A packet of so many bytes, sent then, has arrived. `app_limited`: nothing more was there to send.
    pub fn handle_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool) {
        let delay = now.saturating_duration_since(sent);
        self.acked_at = now;
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.srtt = if self.srtt.is_zero() { delay } else { (self.srtt * 7 + delay) / 8 };
        self.loss.count(now, bytes, 0);
        if let Some(rate) = self.arriving.count(now, bytes, self.srtt) {
            self.arrival.add(now, MaxRate(rate));
        }
        self.base.add(now, MinDelay(delay));
        if sent < self.round.started {
            return;
        }
        if sent > self.round.ends && self.round.acked_first.is_some() {
            self.end_round(now);
            return;
        }
        self.round.was_limited |= !app_limited;
        self.round.take(now, sent, bytes);
    }

    /// Packets of so many bytes are lost, the last of them sent then.
    pub fn handle_lost(&mut self, now: Instant, _sent: Instant, bytes: u64, is_persistent: bool) {
        self.in_flight = self.in_flight.saturating_sub(bytes);
        self.loss.count(now, 0, bytes);
        if is_persistent {
            // The path was dark. It comes back as it was, or the next rounds will tell.
            self.window = self.window.min(self.window_initial() as f64).max(self.window_min());
            self.start_round(now);
        }
    }

    /// On a narrow path a few packets alone take longer than [`DELAY_TARGET`].
    fn target(&self) -> Duration {
        let packets = self.rate.best().map(|MaxRate(rate)| (PACKETS_MIN + 1) as f64 * self.mtu as f64 / rate);
        DELAY_TARGET.max(Duration::try_from_secs_f64(packets.unwrap_or(0.0)).unwrap_or(DELAY_TARGET))
    }

    fn window_min(&self) -> f64 {
        (PACKETS_MIN * self.mtu) as f64
    }

    fn queueing_of(&self, delay: Duration) -> Duration {
        match self.base.best() {
            Some(MinDelay(base)) if delay != Duration::MAX => delay.saturating_sub(base),
            _ => Duration::ZERO,
        }
    }

    fn start_round(&mut self, now: Instant) {
        self.round = Round::start(now, self.srtt / 2);
    }

    fn end_round(&mut self, now: Instant) {
        let round = self.round.clone();
        if let Some(rate) = round.rate() {
            self.rate.add(now, MaxRate(rate));
        }
        self.follow_delay(now, &round);
        self.bound_by_loss();
        self.window = self.window.max(self.window_min());
        self.start_round(now);
    }

    fn follow_delay(&mut self, now: Instant, round: &Round) {
        let queueing = self.queueing_of(round.delay_min);
        let target = self.target();
        let was_long = std::mem::replace(&mut self.is_long, queueing > target);
        if self.is_long && !was_long && queueing < 2 * target {
            // A machine that was busy elsewhere for a moment looks the same, once.
            return;
        }
        let drained_from = self.drained_from.take();
        if self.is_long {
            self.drain(now, round, drained_from.unwrap_or(self.window));
            return;
        }
        if let Some(window) = drained_from {
            self.window = window;
            return;
        }
        if queueing > target / 2 {
            self.is_starting = false;
        }
        if queueing > target / 4 {
            self.rounds_of_growth = 0;
        }
        // An offer below the window says nothing about a larger one.
        if round.was_limited {
            self.rounds_of_growth += 1;
            // The same for all, or who has much would get more.
            let step = (self.mtu * (1 + self.rounds_of_growth / 4)) as f64;
            let step = step.min(self.window / 8.0).max(self.mtu as f64);
            self.window += if self.is_starting { self.window } else { step };
        }
    }

    /// Nearly empties the queue for a round, then goes on with less than before.
    fn drain(&mut self, now: Instant, round: &Round, window: f64) {
        self.rounds_of_growth = 0;
        if self.window <= self.window_min() && self.is_lowest {
            // Next to nothing is on its way and the delay is still there: it is not ours. The path is longer now, or
            // others fill it and will not yield.
            self.base = Windowed::new(now, BASE_HALF);
            self.base.add(now, MinDelay(round.delay_min));
            self.is_starting = true;
            self.is_lowest = false;
            return;
        }
        self.is_lowest = self.window <= self.window_min();
        self.is_starting = false;
        let base = self.base.best().map_or(round.delay_min, |MinDelay(base)| base).as_secs_f64();
        let rate = round.rate().unwrap_or(window / round.delay_min.as_secs_f64());
        let carried = rate * (base + self.target().as_secs_f64());
        self.drained_from = Some(carried.min(window * DECREASE));
        self.window = (rate * base * DRAIN).min(window * DECREASE);
    }

    fn bound_by_loss(&mut self) {
        if self.loss.share < LOSS_NOTICED {
            return;
        }
        if let (Some(MaxRate(rate)), Some(MinDelay(base))) = (self.arrival.best(), self.base.best()) {
            let bound = LOSS_GAIN * rate * (base + ACK_DELAY).as_secs_f64();
            let bound = bound.max((PACKETS_LOSSY_MIN * self.mtu) as f64);
            if self.window > bound {
                self.window = bound;
                self.rounds_of_growth = 0;
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Round {
    /// Packets sent earlier belong to the round before.
    started: Instant,
    /// Packets sent later end it.
    ends: Instant,
    sent_last: Instant,
    acked_first: Option<Instant>,
    acked_last: Instant,
    /// Without those of the first acknowledgement, which took no time that was seen.
    bytes: u64,
    delay_min: Duration,
    was_limited: bool,
}

impl Round {
    fn start(now: Instant, span: Duration) -> Self {
        Round {
            started: now,
            ends: now + span.max(ROUND_MIN),
            sent_last: now,
            acked_first: None,
            acked_last: now,
            bytes: 0,
            delay_min: Duration::MAX,
            was_limited: false,
        }
    }

    fn take(&mut self, now: Instant, sent: Instant, bytes: u64) {
        if *self.acked_first.get_or_insert(now) != now {
            self.bytes += bytes;
        }
        self.acked_last = now;
        self.sent_last = self.sent_last.max(sent);
        self.delay_min = self.delay_min.min(now.saturating_duration_since(sent));
    }

    /// Bytes a second that arrived: over the longer of sending and arriving, or a burst would look like a fast path.
    fn rate(&self) -> Option<f64> {
        let arriving = self.acked_last.saturating_duration_since(self.acked_first?);
        let sending = self.sent_last.saturating_duration_since(self.started);
        let took = arriving.max(sending).as_secs_f64();
        (took > 0.0 && self.bytes > 0).then(|| self.bytes as f64 / took)
    }
}

/// What arrives in a span of time.
#[derive(Debug, Clone)]
struct Arriving {
    since: Instant,
    bytes: u64,
}

impl Arriving {
    /// Three frames of video.
    const SPAN: Duration = Duration::from_millis(100);

    /// Bytes a second, when a span is over.
    fn count(&mut self, now: Instant, bytes: u64, round_trip: Duration) -> Option<f64> {
        self.bytes += bytes;
        let took = now.saturating_duration_since(self.since);
        if took < Self::SPAN.max(round_trip) {
            return None;
        }
        let rate = self.bytes as f64 / took.as_secs_f64();
        *self = Arriving { since: now, bytes: 0 };
        Some(rate)
    }
}

/// What is lost of what was sent, over about a second.
#[derive(Debug, Clone, Default)]
struct Loss {
    share: f64,
    acked: u64,
    lost: u64,
    since: Option<Instant>,
}

impl Loss {
    const SPAN: Duration = Duration::from_millis(500);

    fn count(&mut self, now: Instant, acked: u64, lost: u64) {
        self.acked += acked;
        self.lost += lost;
        let since = *self.since.get_or_insert(now);
        let sum = self.acked + self.lost;
        if now.saturating_duration_since(since) >= Self::SPAN && sum > 0 {
            self.share = (self.share + self.lost as f64 / sum as f64) / 2.0;
            (self.acked, self.lost, self.since) = (0, 0, Some(now));
        }
    }
}

/// The best of the last one to two spans, at the cost of two values.
#[derive(Debug, Clone)]
struct Windowed<T> {
    span: Duration,
    since: Instant,
    now: Option<T>,
    before: Option<T>,
}

/// What is better of two.
trait Best: Copy {
    fn best(self, other: Self) -> Self;
}

#[derive(Debug, Clone, Copy)]
struct MinDelay(Duration);

impl Best for MinDelay {
    fn best(self, other: Self) -> Self {
        MinDelay(self.0.min(other.0))
    }
}

/// Bytes a second.
#[derive(Debug, Clone, Copy)]
struct MaxRate(f64);

impl Best for MaxRate {
    fn best(self, other: Self) -> Self {
        MaxRate(self.0.max(other.0))
    }
}

impl<T: Best> Windowed<T> {
    fn new(now: Instant, span: Duration) -> Self {
        Windowed { span, since: now, now: None, before: None }
    }

    fn add(&mut self, now: Instant, value: T) {
        if now.saturating_duration_since(self.since) >= self.span {
            self.before = self.now.take();
            self.since = now;
        }
        self.now = Some(self.now.map_or(value, |best| best.best(value)));
    }

    fn best(&self) -> Option<T> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(now.best(before)),
            (one, other) => one.or(other),
        }
    }
}

#[cfg(test)]
mod tests;
