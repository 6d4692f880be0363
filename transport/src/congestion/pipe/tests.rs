//! A world in virtual time: senders with a pipe each, one bottleneck with a queue, loss and distance.

use std::collections::VecDeque;

use super::*;

const TICK: Duration = Duration::from_micros(250);
const PACKET: u64 = 1200;

/// One bottleneck.
struct Link {
    bits_per_second: f64,
    queue_bytes_max: f64,
    round_trip: Duration,
    loss: f64,
    is_dark: bool,
}

impl Link {
    fn new(kbit: u32, loss: f64) -> Self {
        Link {
            bits_per_second: f64::from(kbit) * 1000.0,
            queue_bytes_max: f64::from(kbit) * 125.0, // one second of it
            round_trip: Duration::from_millis(50),
            loss,
            is_dark: false,
        }
    }
}

struct Flow {
    pipe: Pipe,
    /// What is offered, bits a second; in frames, thirty a second.
    offered: f64,
    frames: u64,
    packets: u64,
    waiting: VecDeque<Instant>,
    tokens: f64,
    limited: bool,
    /// Sent and neither acknowledged nor lost: number, when.
    in_flight: VecDeque<(u64, Instant)>,
    next: u64,
    arrived: u64,
    delays: Vec<(Instant, Duration)>,
}

impl Flow {
    fn new(now: Instant, kbit: u32) -> Self {
        Flow {
            pipe: Pipe::new(now, PACKET),
            offered: f64::from(kbit) * 1000.0,
            frames: 0,
            packets: 0,
            waiting: VecDeque::new(),
            tokens: 10.0 * PACKET as f64,
            limited: false,
            in_flight: VecDeque::new(),
            next: 0,
            arrived: 0,
            delays: Vec::new(),
        }
    }
}

/// An acknowledgement on its way back: when it arrives, whose, which packet.
struct World {
    start: Instant,
    now: Instant,
    link: Link,
    flows: Vec<Flow>,
    queued_bytes: f64,
    acks: VecDeque<(Instant, usize, u64)>,
    random: u64,
}

impl World {
    fn new(link: Link, kbits: &[u32]) -> Self {
        let start = Instant::now();
        World {
            start,
            now: start,
            link,
            flows: kbits.iter().map(|kbit| Flow::new(start, *kbit)).collect(),
            queued_bytes: 0.0,
            acks: VecDeque::new(),
            random: 0x9E37_79B9_7F4A_7C15,
        }
    }

    fn roll(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64
    }

    fn run(&mut self, seconds: f64) {
        let end = self.now + Duration::from_secs_f64(seconds);
        while self.now < end {
            self.now += TICK;
            let drained = self.link.bits_per_second / 8.0 * TICK.as_secs_f64();
            self.queued_bytes = (self.queued_bytes - drained).max(0.0);
            self.deliver_acks();
            for flow in 0..self.flows.len() {
                self.offer(flow);
                self.send(flow);
            }
        }
    }

    fn offer(&mut self, flow: usize) {
        let now = self.now;
        let elapsed = now.duration_since(self.start).as_secs_f64();
        let flow = &mut self.flows[flow];
        while flow.frames as f64 / 30.0 <= elapsed {
            flow.frames += 1;
            let packets = (flow.frames as f64 * flow.offered / 30.0 / 8.0 / PACKET as f64) as u64;
            flow.waiting.extend((flow.packets..packets).map(|_| now));
            flow.packets = packets;
        }
        // What has waited too long nobody wants any more.
        flow.waiting.retain(|since| now.duration_since(*since) < Duration::from_millis(200));
    }

    fn send(&mut self, index: usize) {
        let flow = &mut self.flows[index];
        let srtt = flow.pipe.srtt.max(Duration::from_millis(1)).as_secs_f64();
        let window = flow.pipe.window();
        let burst = (window as f64 / 8.0).max(10.0 * PACKET as f64);
        flow.tokens = (flow.tokens + window as f64 * 1.25 / srtt * TICK.as_secs_f64()).min(burst);
        flow.limited = false;
        loop {
            let flow = &mut self.flows[index];
            if flow.waiting.is_empty() {
                break;
            }
            let in_flight = flow.in_flight.len() as u64 * PACKET;
            if in_flight + PACKET > flow.pipe.window_at(self.now) || flow.tokens < PACKET as f64 {
                flow.limited = true;
                break;
            }
            flow.waiting.pop_front();
            flow.tokens -= PACKET as f64;
            let number = flow.next;
            flow.next += 1;
            flow.in_flight.push_back((number, self.now));
            flow.pipe.handle_sent(self.now, PACKET);
            let is_lost = self.link.is_dark
                || self.queued_bytes + PACKET as f64 > self.link.queue_bytes_max
                || self.roll() < self.link.loss;
            if is_lost {
                continue;
            }
            self.queued_bytes += PACKET as f64;
            let waits = Duration::from_secs_f64(self.queued_bytes * 8.0 / self.link.bits_per_second);
            let flow = &mut self.flows[index];
            flow.delays.push((self.now, waits));
            let back = self.now + waits + self.link.round_trip;
            self.acks.push_back((back, index, number));
        }
    }

    fn deliver_acks(&mut self) {
        while let Some((at, index, number)) = self.acks.front().copied() {
            if at > self.now {
                break;
            }
            self.acks.pop_front();
            let flow = &mut self.flows[index];
            let Some(place) = flow.in_flight.iter().position(|(sent, _)| *sent == number) else { continue };
            let Some((_, sent)) = flow.in_flight.remove(place) else { continue };
            flow.arrived += PACKET;
            flow.pipe.handle_ack(self.now, sent, PACKET, !flow.limited);
            while let Some((lost, sent)) = flow.in_flight.front().copied() {
                if lost + 3 > number {
                    break;
                }
                flow.in_flight.pop_front();
                flow.pipe.handle_lost(self.now, sent, PACKET, false);
            }
            flow.pipe.set_in_flight(flow.in_flight.len() as u64 * PACKET);
        }
    }

    /// Bits a second that each flow gets through in so many seconds.
    fn rates(&mut self, seconds: f64) -> Vec<f64> {
        let before: Vec<u64> = self.flows.iter().map(|flow| flow.arrived).collect();
        self.run(seconds);
        self.flows
            .iter()
            .zip(before)
            .map(|(flow, before)| (flow.arrived - before) as f64 * 8.0 / seconds)
            .collect()
    }

    /// The delay in the queue that one of a hundred packets exceeds since then, milliseconds.
    fn delay_p99(&self, since: Instant) -> u128 {
        let mut delays: Vec<u128> = self
            .flows
            .iter()
            .flat_map(|flow| &flow.delays)
            .filter(|(at, _)| *at >= since)
            .map(|(_, delay)| delay.as_millis())
            .collect();
        delays.sort_unstable();
        delays[delays.len() * 99 / 100]
    }
}

#[test]
fn random_loss_does_not_throttle_a_call() {
    for (loss, least) in [(0.0, 0.99), (0.05, 0.99), (0.1, 0.99), (0.2, 0.95)] {
        let mut world = World::new(Link::new(20_000, loss), &[3000]);
        world.run(3.0);
        let got = world.rates(10.0)[0] / (1.0 - loss);
        assert!(got > 3_000_000.0 * least, "{loss}: {got:.0} bit/s of what the link does not lose");
    }
}

#[test]
fn a_full_link_has_a_short_queue_and_is_used() {
    for kbit in [300, 1000, 5000] {
        for loss in [0.0, 0.05] {
            let mut world = World::new(Link::new(kbit, loss), &[kbit * 3]);
            world.run(5.0);
            let since = world.now;
            let got = world.rates(30.0)[0];
            let delay = world.delay_p99(since);
            let delay_max = if kbit < 1000 { 250 } else { 200 }; // at 300 kbit/s a packet alone takes 32 ms
            assert!(delay < delay_max, "{kbit} kbit/s, loss {loss}: {delay} ms");
            assert!(
                got > f64::from(kbit) * 1000.0 * (0.8 - loss),
                "{kbit} kbit/s, loss {loss}: {got:.0} bit/s"
            );
        }
    }
}

#[test]
fn flows_share_a_link_fairly_whoever_came_first() {
    for flows in [2, 4, 8] {
        let mut world = World::new(Link::new(2000, 0.0), &[3000]);
        world.run(15.0);
        for _ in 1..flows {
            let mut newcomer = Flow::new(world.now, 3000);
            newcomer.frames = (world.now.duration_since(world.start).as_secs_f64() * 30.0) as u64;
            newcomer.packets = newcomer.frames * 3_000_000 / 30 / 8 / PACKET;
            world.flows.push(newcomer);
            world.run(5.0);
        }
        world.run(20.0);
        let since = world.now;
        let rates = world.rates(30.0);
        let (least, most) = rates.iter().fold((f64::MAX, 0f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
        assert!(least > 0.5 * most, "{rates:?}");
        assert!(world.delay_p99(since) < 200, "{} ms", world.delay_p99(since));
    }
}

#[test]
fn a_link_that_gets_narrow_is_short_again_within_three_seconds() {
    let mut world = World::new(Link::new(3000, 0.0), &[2500]);
    world.run(10.0);
    world.link.bits_per_second = 500_000.0;
    world.run(3.0);
    let since = world.now;
    let got = world.rates(10.0)[0];
    assert!(world.delay_p99(since) < 200, "{} ms", world.delay_p99(since));
    assert!(got > 350_000.0, "{got:.0} bit/s");
    world.link.bits_per_second = 3_000_000.0;
    world.run(4.0);
    let got = world.rates(5.0)[0];
    assert!(got > 2_400_000.0, "{got:.0} bit/s when it is wide again");
}

#[test]
fn a_short_queue_that_overflows_is_not_flooded() {
    let mut link = Link::new(1000, 0.0);
    link.queue_bytes_max = 4.0 * PACKET as f64;
    let mut world = World::new(link, &[5000]);
    world.run(5.0);
    let sent_before = world.flows[0].next;
    let got = world.rates(10.0)[0];
    let sent = (world.flows[0].next - sent_before) as f64 * PACKET as f64 * 8.0 / 10.0;
    assert!(got > 800_000.0, "{got:.0} bit/s");
    assert!(sent < 1_600_000.0, "{sent:.0} bit/s sent");
}

#[test]
fn a_longer_path_is_taken_for_one_after_a_while() {
    let mut world = World::new(Link::new(20_000, 0.0), &[3000]);
    world.run(10.0);
    world.link.round_trip = Duration::from_millis(200);
    world.run(5.0);
    let got = world.rates(5.0)[0];
    assert!(got > 2_900_000.0, "{got:.0} bit/s");
}

#[test]
fn after_the_dark_media_is_back_at_once() {
    let mut world = World::new(Link::new(20_000, 0.0), &[2000]);
    world.run(5.0);
    world.link.is_dark = true;
    world.run(3.0);
    world.link.is_dark = false;
    world.run(0.5);
    let got = world.rates(1.0)[0];
    assert!(got > 1_900_000.0, "{got:.0} bit/s");
}

#[test]
fn a_quiet_call_keeps_its_window_and_needs_no_probe() {
    let mut world = World::new(Link::new(20_000, 0.0), &[64]);
    world.run(60.0);
    let got = world.rates(10.0)[0];
    assert!(got > 60_000.0 * 0.9, "{got:.0}");
    assert!(world.flows[0].pipe.window() < 64 * PACKET, "an unused window did not grow");
}

#[test]
fn a_call_that_begins_on_a_lossy_path_gets_going() {
    for loss in [0.1, 0.2, 0.25] {
        let mut world = World::new(Link::new(20_000, loss), &[40]);
        world.run(2.0);
        world.flows[0].offered = 3_000_000.0;
        world.flows[0].packets = world.flows[0].frames * 3_000_000 / 30 / 8 / PACKET;
        world.run(1.0);
        let got = world.rates(3.0)[0] / (1.0 - loss);
        assert!(got > 2_900_000.0, "{loss}: {got:.0} bit/s of what the link does not lose");
    }
}
