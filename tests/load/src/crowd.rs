//! Many clients in one thread: one epoll, one timer.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use nix::sys::{
    epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
    time::TimeSpec,
    timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
};

use crate::{
    client::{Client, Plan, Progress, Tally},
    quic::Buffers,
    shape::Window,
};

/// Clients whose session is not up yet; more would be told to prove their address first, or be refused.
const JOINING_MAX: usize = 64;
/// Of what is no frame: acknowledgements, keep-alives, retransmission.
const TICK: Duration = Duration::from_millis(1);
/// The stop flag is looked at this often at least.
const WAIT_MAX: Duration = Duration::from_millis(20);
const EVENTS_MAX: usize = 256;
const TIMER: u64 = u64::MAX;

/// Runs clients until `stop` says so, or one of them fails.
pub fn run(
    plans: Vec<Plan>,
    window: &Arc<Window>,
    progress: &Arc<Progress>,
    stop: &AtomicBool,
) -> anyhow::Result<Tally> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
    epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
    let mut plans = VecDeque::from(plans);
    let mut clients: Vec<Client> = Vec::with_capacity(plans.len());
    let mut buffers = Buffers::default();
    let mut events = [EpollEvent::empty(); EVENTS_MAX];
    let mut next_tick = Instant::now();
    let mut next_frame = None;
    while !stop.load(Ordering::Relaxed) {
        // 1. Sleep until something arrives or is due.
        let wake_at = next_frame.map_or(next_tick, |at: Instant| at.min(next_tick));
        let wait = wake_at.saturating_duration_since(Instant::now()).clamp(Duration::from_nanos(1), WAIT_MAX);
        timer.set(Expiration::OneShot(TimeSpec::from_duration(wait)), TimerSetTimeFlags::empty())?;
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        // 2. What arrived.
        for event in events.iter().take(count) {
            let index = usize::try_from(event.data()).ok();
            if let Some(client) = index.and_then(|index| clients.get_mut(index)) {
                client.receive(Instant::now(), &mut buffers)?;
                // A burst of packets may have asked for a first frame.
                next_frame = [next_frame, client.next_frame()].into_iter().flatten().min();
            }
        }
        // 3. What is due.
        let now = Instant::now();
        if now >= next_tick || next_frame.is_some_and(|at| at <= now) {
            for client in &mut clients {
                if client.poll_timeout().is_some_and(|at| at <= now) {
                    client.handle_timeout(now)?;
                }
            }
            next_frame = clients.iter().filter_map(Client::next_frame).min();
            next_tick = now + TICK;
        }
        // 4. Who comes next.
        let joining = clients.iter().filter(|client| !client.is_joined()).count();
        for _ in joining..JOINING_MAX {
            let Some(plan) = plans.pop_front() else { break };
            let mut client = Client::new(now, plan, Arc::clone(window), Arc::clone(progress))?;
            client.handle_timeout(now)?;
            let index = u64::try_from(clients.len())?;
            epoll
                .add(client.link().socket(), EpollEvent::new(EpollFlags::EPOLLIN, index))
                .context("cannot wait for a socket")?;
            clients.push(client);
        }
    }
    let now = Instant::now();
    let mut tally = Tally::default();
    for client in &mut clients {
        client.close(now);
        tally.merge(client.tally());
    }
    Ok(tally)
}
