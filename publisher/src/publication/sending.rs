//! Objects on their way out: frames that are due are cut, and leave as fast as the pacer and QUIC take them.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use roundtable_moqt::{
    Forwarding, Location, Object, ObjectDatagram, Session,
    message::{Filter, RequestId, TrackAlias},
    session::Subscription,
    subgroup::SubgroupHeader,
};
use roundtable_transport::{DatagramSender, Io, SendError};

use super::Publication;
use crate::track::MediaTrack;

/// Bytes of streams that QUIC has not taken: with more, objects that go on streams wait, and are dropped when late.
const UNSENT_BYTES_MAX: usize = 128 << 10;

impl Publication {
    /// Cuts what is due into objects.
    pub(super) fn play(&mut self, now: Instant) {
        let mut has_loaded = false;
        while let Some((input_track, mut frame)) = self.schedule.pop(now) {
            let track = self.track_by_input.get(input_track).copied().flatten();
            let Some(track) = track.and_then(|track| self.tracks.get_mut(track)) else { continue };
            let shift = self.shift_seconds.saturating_mul(i64::from(track.format.timescale));
            frame.pts = frame.pts.saturating_add(shift);
            track.push(now, &frame);
            has_loaded = true;
        }
        if has_loaded {
            self.pacer.load(self.tracks.iter().map(MediaTrack::waiting).sum());
            self.media_ns = self.schedule.media_ns(now);
        }
    }

    /// Sends what may leave: sound first, pictures in bursts.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) {
        for track in &mut self.tracks {
            track.drop_late(io.now);
        }
        let mut has_stream_room = io.streams.unsent_bytes_total() < UNSENT_BYTES_MAX;
        loop {
            if let Some(pending) = &mut self.pending {
                let Poll::Ready(result) = Pin::new(pending).poll(cx) else { return };
                self.pending = None;
                self.note_sent(result);
            }
            let Some(index) = self.next_track(has_stream_room) else { return };
            let Some(track) = self.tracks.get_mut(index) else { return };
            let Some(object) = track.next() else { return };
            if track.name.is_video() && !self.pacer.take(io.now) {
                return;
            }
            let subscription = track.subscription.and_then(|request| io.session.subscription(request));
            let is_wanted = subscription.is_some_and(|open| forwards(open) && passes(open, object.location));
            let mut result = Ok(());
            match object.forwarding {
                _ if !is_wanted => {}
                Forwarding::Subgroup(_) => {
                    send_on_stream(io.session, track.subscription, object);
                    // The driver counts what is written now only after this call: one at a time.
                    has_stream_room = false;
                }
                Forwarding::Datagram => {
                    let bytes = ObjectDatagram::encode(io.datagrams.prefix(), track.alias, object);
                    if bytes.len() + DatagramSender::OVERHEAD_BYTES <= io.datagrams.space() {
                        result = io.datagrams.send(bytes);
                    } else {
                        self.pending = Some(io.datagrams.send_when_possible(bytes));
                    }
                }
            }
            track.sent(io.now);
            self.note_sent(result);
        }
    }

    /// Sound before pictures, as their priorities say.
    fn next_track(&self, has_stream_room: bool) -> Option<usize> {
        let can_leave = |track: &MediaTrack| match track.next().map(|object| object.forwarding) {
            Some(Forwarding::Datagram) => true,
            Some(Forwarding::Subgroup(_)) => has_stream_room,
            None => false,
        };
        let tracks = self.tracks.iter().enumerate().filter(|(_, track)| can_leave(track));
        tracks.min_by_key(|(_, track)| track.name.priorities().base).map(|(index, _)| index)
    }

    /// True when objects wait for the pacer alone.
    pub(super) fn waits_for_pacer(&self) -> bool {
        self.pending.is_none() && self.tracks.iter().any(|track| track.waiting() > 0)
    }

    fn note_sent(&mut self, result: Result<(), SendError>) {
        // A closed connection is told by the driver.
        if result == Err(SendError::TooLarge) {
            if self.datagrams_too_large == 0 {
                tracing::warn!("the path to the relay is too narrow for our datagrams");
            }
            self.datagrams_too_large += 1;
        }
    }
}

/// True when somebody wants the track of a subscription.
pub(super) fn forwards(subscription: &Subscription) -> bool {
    subscription.is_established && subscription.parameters.forward.unwrap_or(true)
}

/// True when a subscription's filter lets an object through (draft 5.1.2).
fn passes(subscription: &Subscription, location: Location) -> bool {
    let Some(filter) = subscription.parameters.filter else { return true };
    let joining = subscription.joining;
    match filter {
        Filter::NextGroupStart => joining.is_none_or(|largest| location.group > largest.group),
        Filter::LargestObject => joining.is_none_or(|largest| location > largest),
        Filter::AbsoluteStart(start) => location >= start,
        Filter::AbsoluteRange { start, end_group } => location >= start && location.group <= end_group,
    }
}

/// An object that is a group of its own, on a stream of its own.
pub(super) fn send_on_stream(session: &mut Session, subscription: Option<RequestId>, object: &Object) {
    let Some(request) = subscription else { return };
    let header = SubgroupHeader {
        alias: TrackAlias(0),
        group: object.location.group,
        subgroup: Some(0),
        priority: object.priority,
        ends_group: true,
        first_object: true,
        has_properties: !object.properties.is_empty(),
    };
    // These fail only when the subscription is over, which an event tells.
    let Ok(stream) = session.open_subgroup(request, header) else { return };
    let _ = session.write_object(stream, object);
    let _ = session.finish_stream(stream);
}

#[cfg(test)]
mod tests {
    use roundtable_moqt::{FullTrackName, Namespace, Parameters};

    use super::*;

    #[test]
    fn a_filter_lets_through_what_the_draft_says() {
        let at = Location::new;
        let track = FullTrackName::new(Namespace::single("ann").unwrap(), "camera").unwrap();
        let let_through = |filter, location| {
            let parameters = Parameters { filter: Some(filter), ..Parameters::default() };
            let subscription = Subscription {
                track: track.clone(),
                alias: None,
                we_publish: true,
                is_established: true,
                parameters,
                joining: Some(at(5, 3)),
            };
            passes(&subscription, location)
        };
        assert!(
            !let_through(Filter::NextGroupStart, at(5, 9)) && let_through(Filter::NextGroupStart, at(6, 0))
        );
        assert!(
            !let_through(Filter::LargestObject, at(5, 3)) && let_through(Filter::LargestObject, at(5, 4))
        );
        let from = Filter::AbsoluteStart(at(7, 2));
        assert!(!let_through(from, at(7, 1)) && let_through(from, at(7, 2)));
        let range = Filter::AbsoluteRange { start: at(7, 2), end_group: 8 };
        assert!(let_through(range, at(8, 99)) && !let_through(range, at(9, 0)));
    }
}
