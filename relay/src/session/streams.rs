//! What waits for the peer in its queue: datagrams beyond what QUIC took at once, and objects of subgroup streams.

use std::{
    collections::HashMap,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use roundtable_forward::{
    SubscriptionKey,
    queue::{OutgoingStream, Path, StreamStep},
};
use roundtable_moqt::{
    StreamId, StreamResetCode,
    message::{RequestId, TrackAlias},
    subgroup::SubgroupHeader,
};
use roundtable_transport::{Io, PendingDatagram};

use super::Peer;

/// Bytes on all streams together that QUIC has not taken. Small, so that priorities and deadlines keep their meaning.
const UNSENT_BYTES_MAX: usize = 256 << 10;

/// Subgroup streams toward the peer, and the datagram whose turn it is.
#[derive(Debug, Default)]
pub(super) struct StreamsOut {
    stream_by_outgoing: HashMap<OutgoingStream, StreamId>,
    outgoing_by_stream: HashMap<StreamId, OutgoingStream>,
    pending: Option<PendingDatagram>,
    timeout: Option<Instant>,
}

impl StreamsOut {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timeout
    }

    fn remove(&mut self, outgoing: OutgoingStream) -> Option<StreamId> {
        let stream = self.stream_by_outgoing.remove(&outgoing)?;
        self.outgoing_by_stream.remove(&stream);
        Some(stream)
    }
}

impl Peer {
    /// Sends what waits, as far as QUIC takes it; the next one is left with QUIC, which wakes us when it has gone.
    pub(super) fn send_datagrams(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) {
        let outlet = &self.handle.outlet;
        loop {
            if let Some(pending) = &mut self.streams.pending {
                let Poll::Ready(_) = Pin::new(pending).poll(cx) else { return };
                self.streams.pending = None;
            }
            let mut queue = outlet.queue();
            if !queue.has_datagrams() {
                break;
            }
            let is_waiting = queue.drain(io.now, outlet.path(), |bytes| {
                // Too large is counted by the queue, and a connection that is gone needs nothing.
                let _ = outlet.datagrams().send(bytes.clone());
            });
            if !is_waiting {
                break;
            }
            let next = queue.pop_datagram(io.now, Path { space: usize::MAX, ..outlet.path() });
            drop(queue);
            self.streams.pending = next.map(|bytes| outlet.datagrams().send_when_possible(bytes));
        }
        let wanted = outlet.queue().new_groups_wanted(io.now);
        self.ask_for_new_groups(io.now, &wanted);
    }

    /// Somebody skips to the next group: let there be one soon.
    fn ask_for_new_groups(&self, now: Instant, wanted: &[SubscriptionKey]) {
        let Some(scope) = &self.scope else { return };
        for key in wanted {
            let Some((link, Some(track))) = self.subscriptions.by_key(*key) else { continue };
            let next = track.largest().map_or(0, |largest| largest.group.saturating_add(1));
            scope.update_subscription(now, link, None, Some(next));
        }
    }

    /// Writes objects to subgroup streams, in the draft's order of scheduling.
    pub(super) fn send_streams(&mut self, io: &mut Io<'_>) {
        let mut unsent = io.streams.unsent_bytes_total();
        loop {
            let mut queue = self.handle.outlet.queue();
            // A reset needs no room, and makes some.
            let reset = queue.pop_reset(io.now);
            let has_room = unsent < UNSENT_BYTES_MAX;
            let Some(step) = reset.or_else(|| has_room.then(|| queue.pop_stream(io.now)).flatten()) else {
                self.streams.timeout = queue.poll_timeout();
                return;
            };
            drop(queue);
            match step {
                StreamStep::Open { stream, subscription, subgroup } => {
                    let header = SubgroupHeader {
                        // Set by the session.
                        alias: TrackAlias(0),
                        group: subgroup.group,
                        subgroup: Some(subgroup.id),
                        priority: subgroup.priority,
                        ends_group: subgroup.ends_group,
                        first_object: subgroup.first_object,
                        has_properties: subgroup.has_properties,
                    };
                    let request = self.subscriptions.request_by_key(subscription);
                    let opened = request.map(|request| io.session.open_subgroup(request, header));
                    match opened {
                        Some(Ok(id)) => {
                            self.streams.stream_by_outgoing.insert(stream, id);
                            self.streams.outgoing_by_stream.insert(id, stream);
                        }
                        _ => self.handle.outlet.queue().stop_stream(stream),
                    }
                }
                StreamStep::Object { stream, object } => {
                    let Some(&id) = self.streams.stream_by_outgoing.get(&stream) else { continue };
                    unsent += object.payload.len() + object.properties.len();
                    if io.session.write_object(id, &object).is_err() {
                        self.streams.remove(stream);
                        // Fails only when the stream is gone.
                        let _ = io.session.reset_stream(id, StreamResetCode::InternalError);
                        self.handle.outlet.queue().stop_stream(stream);
                        continue;
                    }
                    self.relay.counters.stream_objects_sent.increment();
                }
                // These two fail only when the stream is gone.
                StreamStep::Finish { stream, by } => {
                    if let Some(id) = self.streams.remove(stream) {
                        let _ = io.session.finish_stream_by(id, by);
                    }
                }
                StreamStep::Reset { stream, code } => {
                    if let Some(id) = self.streams.remove(stream) {
                        let _ = io.session.reset_stream(id, code);
                    }
                }
            }
        }
    }

    /// The peer stopped a stream of ours: nothing more of that subgroup, or of that FETCH.
    pub(super) fn stream_stopped(&mut self, request: RequestId, stream: StreamId) {
        if let Some(outgoing) = self.streams.outgoing_by_stream.remove(&stream) {
            self.streams.stream_by_outgoing.remove(&outgoing);
            self.handle.outlet.queue().stop_stream(outgoing);
        } else {
            self.answers.remove(request);
        }
    }

    /// Bytes of objects that QUIC has not taken.
    pub(super) fn data_bytes(&self, io: &Io<'_>) -> usize {
        let streams = self.streams.outgoing_by_stream.keys().copied().chain(self.answers.streams());
        streams.map(|stream| io.streams.unsent_bytes(stream)).sum()
    }
}
