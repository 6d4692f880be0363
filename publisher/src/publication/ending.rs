//! The end of a publication: the groups end, the relay is given time to ask for what got lost, the tracks and the
//! namespace are taken back, and only then the session closes.

use std::time::{Duration, Instant};

use roundtable_moqt::{
    Location, ObjectDatagram, Parameters, PublishDoneCode,
    message::{RequestId, Subscribe},
};
use roundtable_transport::Io;

use super::Publication;

/// How long the relay may take to get everything.
const CONFIRM_WAIT: Duration = Duration::from_secs(3);
/// It is asked this often what it has.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// When it has the end, and nothing was asked for this long beside a round trip, nothing is missing.
const QUIET: Duration = Duration::from_millis(60);
/// How long the goodbye may take.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// Where the end stands.
#[derive(Debug)]
pub(super) struct Ending {
    phase: Phase,
    until: Instant,
    wake_at: Instant,
    /// TRACK_STATUS of ours, and the track it asks about.
    asked: Option<(RequestId, usize)>,
    /// What the relay has of each track.
    seen: Vec<Option<Location>>,
    /// FETCHes answered when it was last looked, and when that was.
    answers: u64,
    quiet_since: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// What was cut into objects leaves.
    Draining,
    /// The relay has to show that it has it.
    Confirming,
    /// PUBLISH_DONE is out.
    Goodbye,
    Over,
}

impl Ending {
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        (self.phase != Phase::Over).then_some(self.wake_at.min(self.until))
    }

    /// An answer to a TRACK_STATUS; false when it is to something else.
    pub(super) fn answered(&mut self, request: RequestId, largest: Option<Location>) -> bool {
        let Some((_, track)) = self.asked.take_if(|(asked, _)| *asked == request) else { return false };
        if let Some(seen) = self.seen.get_mut(track) {
            *seen = (*seen).max(largest);
        }
        true
    }

    /// The session was lost: the next one has to be convinced from the start.
    pub(super) fn restart(&mut self) {
        if self.phase != Phase::Over {
            self.phase = Phase::Draining;
        }
        self.asked = None;
        self.seen.fill(None);
    }

    fn begin(&mut self, phase: Phase, now: Instant, wait: Duration) {
        self.phase = phase;
        (self.until, self.wake_at) = (now + wait, now);
        self.asked = None;
    }
}

impl Publication {
    /// Nothing more will be played.
    pub(super) fn start_ending(&mut self, now: Instant) {
        if self.ending.is_some() {
            return;
        }
        for track in &mut self.tracks {
            track.finish(now);
        }
        self.ending = Some(Ending {
            phase: Phase::Draining,
            until: now + CONFIRM_WAIT,
            wake_at: now + ASK_EVERY,
            asked: None,
            seen: vec![None; self.tracks.len()],
            answers: self.answers.count(),
            quiet_since: now,
        });
    }

    /// Goes on with the end; true when the session can be closed.
    pub(super) fn end(&mut self, io: &mut Io<'_>) -> bool {
        let Some(mut ending) = self.ending.take() else { return false };
        let now = io.now;
        if ending.wake_at <= now {
            ending.wake_at = now + ASK_EVERY;
        }
        if ending.phase == Phase::Draining {
            let has_left = self.pending.is_none() && self.tracks.iter().all(|track| track.waiting() == 0);
            if has_left || ending.until <= now {
                ending.begin(Phase::Confirming, now, CONFIRM_WAIT);
            }
        }
        if ending.phase == Phase::Confirming && (self.is_confirmed(io, &mut ending) || ending.until <= now) {
            self.detach().say_goodbye(io.session, PublishDoneCode::TrackEnded);
            // Offered no more.
            self.has_offered = true;
            ending.begin(Phase::Goodbye, now, GOODBYE_WAIT);
            ending.asked = self.ask(io, 0);
            if ending.asked.is_none() {
                ending.phase = Phase::Over;
            }
        }
        // Requests are answered in the order in which the relay gets to them, so it has seen the goodbye by now.
        if ending.phase == Phase::Goodbye && (ending.asked.is_none() || ending.until <= now) {
            ending.phase = Phase::Over;
        }
        let is_over = ending.is_over();
        self.ending = Some(ending);
        is_over
    }

    /// True when the relay has everything it wants.
    fn is_confirmed(&mut self, io: &mut Io<'_>, ending: &mut Ending) -> bool {
        let now = io.now;
        if self.answers.count() != ending.answers || !self.answers.is_empty() {
            (ending.answers, ending.quiet_since) = (self.answers.count(), now);
        }
        let is_behind = |(index, seen): (usize, &Option<Location>)| {
            let track = self.tracks.get(index)?;
            (self.is_wanted(io, track) && *seen < track.history.largest()).then_some(index)
        };
        // A relay that is leaving answers no questions.
        let behind = ending.seen.iter().enumerate().find_map(is_behind);
        let Some(behind) = behind.filter(|_| !io.session.is_going_away()) else {
            let quiet = QUIET + io.datagrams.stats().rtt;
            let quiet_at = ending.quiet_since + quiet;
            ending.wake_at = ending.wake_at.min(quiet_at).max(now + Duration::from_millis(1));
            return quiet_at <= now;
        };
        ending.quiet_since = now;
        if ending.asked.is_none() {
            if ending.seen.get(behind).is_some_and(Option::is_some) {
                // Asked before: the last datagram got lost, so the relay cannot know what it lacks before it.
                self.send_newest_again(io, behind);
            }
            ending.asked = self.ask(io, behind);
        }
        false
    }

    fn send_newest_again(&self, io: &mut Io<'_>, track: usize) {
        let Some(track) = self.tracks.get(track) else { return };
        if let Some(object) = track.history.newest() {
            let bytes = ObjectDatagram::encode(io.datagrams.prefix(), track.alias, object);
            // If it is lost again, it is sent again.
            let _ = io.datagrams.send(bytes);
        }
    }

    /// TRACK_STATUS of a track of ours: what the relay has of it.
    fn ask(&self, io: &mut Io<'_>, index: usize) -> Option<(RequestId, usize)> {
        let track = self.tracks.get(index)?.full_name.clone();
        let request = Subscribe { track, parameters: Parameters::default() };
        Some((io.session.track_status(request).ok()?, index))
    }
}
