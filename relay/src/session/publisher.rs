//! The peer as a publisher: its tracks, and the objects it sends of them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use roundtable_forward::{PublisherId, Terms, queue::UpstreamStream, track::Malformed};
use roundtable_moqt::{
    FullTrackName, Location, Object, ObjectDatagram, Parameters, PublishDoneCode, RequestErrorCode, StreamId,
    StreamResetCode,
    message::{Publish, PublishDone, RequestError, RequestId, RequestOk, Subscribe, SubscribeOk},
    subgroup::SubgroupHeader,
};
use roundtable_transport::Io;

use super::{Order, Peer};
use crate::{
    fanout::{Batch, Track},
    refusal::Refusal,
    room::LinkId,
    scope::{Description, Scope, end_code},
};

/// After PUBLISH_DONE, streams of the track that have not shown up are waited for this long (draft 10.11).
const LATE_STREAMS_WAIT: Duration = Duration::from_secs(1);
/// Stream Count of a publisher that does not know it.
const STREAM_COUNT_UNKNOWN: u64 = (1 << 62) - 1;

/// Tracks of which the peer sends objects.
#[derive(Debug, Default)]
pub(super) struct Publications {
    by_request: HashMap<RequestId, Publication>,
    request_by_link: HashMap<LinkId, RequestId>,
    /// Those with datagrams that have not been passed on.
    touched: Vec<RequestId>,
    streams: HashMap<StreamId, StreamIn>,
    /// Our REQUEST_UPDATEs that changed a forward state.
    updates: HashMap<RequestId, LinkId>,
    /// When some track has gaps to be asked for, or late streams to be given up.
    timers: BTreeSet<(Instant, RequestId)>,
}

/// One of them.
#[derive(Debug)]
struct Publication {
    link: LinkId,
    track: Arc<Track>,
    batch: Batch,
    timer: Option<Instant>,
    streams_open: usize,
    streams_seen: u64,
    done: Option<Done>,
}

/// PUBLISH_DONE has come.
#[derive(Debug, Clone, Copy)]
struct Done {
    code: PublishDoneCode,
    stream_count: u64,
    until: Instant,
}

/// A subgroup stream of the peer.
#[derive(Debug)]
struct StreamIn {
    request: RequestId,
    upstream: UpstreamStream,
    last: Option<Location>,
}

impl Publications {
    pub(super) fn request_of(&self, link: LinkId) -> Option<RequestId> {
        self.request_by_link.get(&link).copied()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn insert(&mut self, request: RequestId, link: LinkId, track: Arc<Track>) {
        let publication = Publication {
            link,
            track,
            batch: Batch::default(),
            timer: None,
            streams_open: 0,
            streams_seen: 0,
            done: None,
        };
        self.by_request.insert(request, publication);
        self.request_by_link.insert(link, request);
    }

    fn remove(&mut self, request: RequestId) -> Option<Publication> {
        let publication = self.by_request.remove(&request)?;
        self.request_by_link.remove(&publication.link);
        if let Some(at) = publication.timer {
            self.timers.remove(&(at, request));
        }
        Some(publication)
    }

    fn set_timer(&mut self, request: RequestId, at: Option<Instant>) {
        let Some(publication) = self.by_request.get_mut(&request) else { return };
        let at = match publication.done {
            Some(done) => Some(done.until),
            None => at,
        };
        if publication.timer == at {
            return;
        }
        if let Some(before) = std::mem::replace(&mut publication.timer, at) {
            self.timers.remove(&(before, request));
        }
        self.timers.extend(at.map(|at| (at, request)));
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<(LinkId, Arc<Track>)> {
        self.by_request
            .values()
            .map(|publication| (publication.link, Arc::clone(&publication.track)))
            .collect()
    }

    /// The track and publisher behind a request.
    pub(super) fn source(&self, request: RequestId) -> Option<(Arc<Track>, PublisherId)> {
        let publication = self.by_request.get(&request)?;
        Some((Arc::clone(&publication.track), PublisherId(publication.link.0)))
    }

    /// The same of a track, if the peer publishes it.
    pub(super) fn source_of(&self, track: &Arc<Track>) -> Option<PublisherId> {
        let publication =
            self.by_request.values().find(|publication| Arc::ptr_eq(&publication.track, track))?;
        Some(PublisherId(publication.link.0))
    }
}

/// What a message says about its track.
fn describe(parameters: &Parameters, properties: bytes::Bytes) -> Description {
    // The session has read them before, and ended if they are wrong.
    let terms = Terms::new(&properties).unwrap_or_default();
    Description { terms, properties, largest: parameters.largest_object }
}

impl Peer {
    // ---- tracks

    /// PUBLISH.
    pub(super) fn published(
        &mut self,
        io: &mut Io<'_>,
        scope: &Scope,
        id: RequestId,
        publish: Publish,
    ) -> Result<(), Refusal> {
        let Publish { track: name, parameters, track_properties, .. } = publish;
        let accept = scope.publish(io.now, self.handle.id, name, describe(&parameters, track_properties))?;
        self.publications.insert(id, accept.link, accept.track);
        let parameters = Parameters { forward: Some(accept.forward), ..Parameters::default() };
        // Fails only when the request is gone, which is told by an event.
        let _ = io.session.accept(id, RequestOk { parameters, ..RequestOk::default() });
        Ok(())
    }

    /// SUBSCRIBE to a track of the peer: somebody wants it.
    pub(super) fn subscribe_upstream(
        &mut self,
        io: &mut Io<'_>,
        link: LinkId,
        name: FullTrackName,
        track: Arc<Track>,
        new_group: Option<u64>,
    ) {
        if let Err(refusal) = self.handle.rights().may_publish(&name) {
            // It has announced the namespace, but may not send everything there.
            if let Some(scope) = &self.scope {
                scope.with(io.now, |room| room.upstream_refused(io.now, link, &refusal.into()));
            }
            return;
        }
        let parameters =
            Parameters { forward: Some(true), new_group_request: new_group, ..Parameters::default() };
        match io.session.subscribe(Subscribe { track: name, parameters }) {
            Ok(request) => self.publications.insert(request, link, track),
            Err(reason) => {
                let refusal = Refusal::new(RequestErrorCode::DoesNotExist, "the publisher cannot be asked");
                tracing::debug!(%reason, "no SUBSCRIBE to the publisher");
                if let Some(scope) = &self.scope {
                    scope.with(io.now, |room| room.upstream_refused(io.now, link, &refusal.into()));
                }
            }
        }
    }

    /// SUBSCRIBE_OK.
    pub(super) fn upstream_accepted(&mut self, io: &mut Io<'_>, id: RequestId, ok: SubscribeOk) {
        let Some(publication) = self.publications.by_request.get(&id) else { return };
        if let Some(scope) = &self.scope {
            let description = describe(&ok.parameters, ok.track_properties);
            scope.upstream_accepted(io.now, publication.link, &publication.track, description);
        }
    }

    /// REQUEST_UPDATE of a track that the peer publishes.
    pub(super) fn update_upstream(
        &mut self,
        io: &mut Io<'_>,
        link: LinkId,
        forward: Option<bool>,
        new_group: Option<u64>,
    ) {
        let Some(request) = self.upstream_request(link) else { return };
        let parameters = Parameters { forward, new_group_request: new_group, ..Parameters::default() };
        match io.session.update(request, parameters) {
            Ok(update) if forward.is_some() => {
                self.publications.updates.insert(update, link);
            }
            Ok(_) => {}
            // Whoever waits for the answer must not.
            Err(_) if forward.is_some() => self.upstream_updated(io, link),
            Err(_) => {}
        }
    }

    fn upstream_updated(&self, io: &Io<'_>, link: LinkId) {
        if let Some(scope) = &self.scope {
            scope.with(io.now, |room| room.upstream_updated(io.now, link));
        }
    }

    /// REQUEST_OK to a REQUEST_UPDATE of ours; false when it is none.
    pub(super) fn upstream_update_accepted(
        &mut self,
        io: &mut Io<'_>,
        id: RequestId,
        ok: &RequestOk,
    ) -> bool {
        let Some(link) = self.publications.updates.remove(&id) else { return false };
        if let (Some(largest), Some(request)) = (ok.parameters.largest_object, self.upstream_request(link))
            && let Some((track, _)) = self.publications.source(request)
        {
            track.note_largest(largest);
        }
        self.upstream_updated(io, link);
        true
    }

    /// REQUEST_ERROR to a SUBSCRIBE or REQUEST_UPDATE of ours; false when it is none of these.
    pub(super) fn upstream_refused(&mut self, io: &mut Io<'_>, id: RequestId, error: &RequestError) -> bool {
        if let Some(link) = self.publications.updates.remove(&id) {
            // The publisher ends the subscription next.
            self.upstream_updated(io, link);
            return true;
        }
        let Some(publication) = self.publications.remove(id) else { return false };
        if let Some(scope) = &self.scope {
            scope.with(io.now, |room| room.upstream_refused(io.now, publication.link, error));
        }
        true
    }

    /// Nobody wants the track any more, or it is malformed.
    pub(super) fn cancel_upstream(&mut self, io: &mut Io<'_>, link: LinkId) {
        let Some(request) = self.upstream_request(link) else { return };
        if let Some(publication) = self.publications.remove(request) {
            self.drop_streams_in(io.now, request, &publication.track, PublisherId(link.0));
        }
        // Fails only when the request is gone.
        let _ = io.session.cancel(request, StreamResetCode::Cancelled);
    }

    /// PUBLISH_DONE: the track ends here once what is still on its way has come.
    pub(super) fn publish_done(&mut self, io: &mut Io<'_>, id: RequestId, done: &PublishDone) {
        self.flush_datagrams(io);
        let until = io.now + LATE_STREAMS_WAIT;
        let Some(publication) = self.publications.by_request.get_mut(&id) else { return };
        publication.done = Some(Done { code: done.code, stream_count: done.stream_count, until });
        self.publications.set_timer(id, Some(until));
        self.end_if_complete(io.now, id);
    }

    fn end_if_complete(&mut self, now: Instant, id: RequestId) {
        let Some(publication) = self.publications.by_request.get(&id) else { return };
        let Some(done) = publication.done else { return };
        let has_all = publication.streams_open == 0
            && (done.stream_count <= publication.streams_seen || done.stream_count == STREAM_COUNT_UNKNOWN);
        let is_known = done.stream_count != STREAM_COUNT_UNKNOWN;
        if has_all && is_known || done.until <= now {
            self.end_publication(now, id, end_code(done.code));
        }
    }

    /// The peer publishes the track no more.
    pub(super) fn end_publication(&mut self, now: Instant, id: RequestId, code: PublishDoneCode) -> bool {
        let Some(publication) = self.publications.remove(id) else { return false };
        self.drop_streams_in(now, id, &publication.track, PublisherId(publication.link.0));
        publication.track.stop_repairs(PublisherId(publication.link.0));
        if let Some(scope) = &self.scope {
            scope.with(now, |room| room.remove_upstream(now, publication.link, code));
        }
        true
    }

    // ---- datagrams

    /// A datagram came. It is passed on together with the others of this turn.
    pub(super) fn datagram(&mut self, request: RequestId, datagram: ObjectDatagram) {
        let Some(publication) = self.publications.by_request.get_mut(&request) else { return };
        if publication.batch.is_empty() {
            self.publications.touched.push(request);
        }
        publication.batch.push(datagram);
    }

    /// Passes on what came.
    pub(super) fn flush_datagrams(&mut self, io: &mut Io<'_>) {
        if self.publications.touched.is_empty() {
            return;
        }
        let mut touched = std::mem::take(&mut self.publications.touched);
        for request in touched.drain(..) {
            let Some(publication) = self.publications.by_request.get_mut(&request) else { continue };
            let publisher = PublisherId(publication.link.0);
            let track = Arc::clone(&publication.track);
            match track.publish_datagrams(io.now, publisher, &mut publication.batch) {
                Ok(published) => self.publications.set_timer(request, published.gaps_at),
                Err(malformed) => self.malformed(io.now, &track, publisher, malformed),
            }
        }
        self.publications.touched = touched;
    }

    // ---- subgroup streams

    /// A subgroup stream began.
    pub(super) fn stream_opened(
        &mut self,
        io: &mut Io<'_>,
        request: RequestId,
        stream: StreamId,
        header: &SubgroupHeader,
    ) {
        let streams_max = self.relay.limits.streams_per_session_max;
        let Some(publication) = self.publications.by_request.get_mut(&request) else { return };
        publication.streams_seen += 1;
        let Some(subgroup) = header.subgroup else { return };
        if self.publications.streams.len() >= streams_max {
            self.relay.counters.streams_refused.increment();
            // Fails only when the stream is gone.
            let _ = io.session.stop_stream(stream, StreamResetCode::ExcessiveLoad);
            return;
        }
        publication.streams_open += 1;
        let upstream = UpstreamStream {
            id: self.relay.next_stream(),
            subgroup: roundtable_forward::queue::Subgroup {
                group: header.group,
                id: subgroup,
                priority: header.priority,
                effective_priority: header.priority.unwrap_or_else(|| publication.track.default_priority()),
                ends_group: header.ends_group,
                first_object: header.first_object,
                has_properties: header.has_properties,
            },
            objects_before: 0,
        };
        self.publications.streams.insert(stream, StreamIn { request, upstream, last: None });
    }

    /// An object of a subgroup stream.
    pub(super) fn stream_object(&mut self, io: &mut Io<'_>, stream: StreamId, object: Object) {
        // What came before it in datagrams goes before it.
        self.flush_datagrams(io);
        let Some(source) = self.publications.streams.get_mut(&stream) else { return };
        let Some(publication) = self.publications.by_request.get(&source.request) else { return };
        let publisher = PublisherId(publication.link.0);
        let track = Arc::clone(&publication.track);
        source.last = Some(object.location);
        let result = track.publish_object(io.now, publisher, &source.upstream, object);
        source.upstream.objects_before += 1;
        if let Err(malformed) = result {
            self.malformed(io.now, &track, publisher, malformed);
        }
    }

    /// A subgroup stream ended: `None` by FIN.
    pub(super) fn stream_ended(&mut self, io: &mut Io<'_>, stream: StreamId, reset: Option<StreamResetCode>) {
        let Some(source) = self.publications.streams.remove(&stream) else { return };
        let Some(publication) = self.publications.by_request.get_mut(&source.request) else { return };
        publication.streams_open = publication.streams_open.saturating_sub(1);
        let publisher = PublisherId(publication.link.0);
        let track = Arc::clone(&publication.track);
        if let Err(malformed) = track.end_stream(io.now, publisher, &source.upstream, source.last, reset) {
            self.malformed(io.now, &track, publisher, malformed);
        }
        self.end_if_complete(io.now, source.request);
    }

    /// Streams of a track that ends without them: what they carried stays unfinished for everybody.
    fn drop_streams_in(&mut self, now: Instant, request: RequestId, track: &Track, publisher: PublisherId) {
        for (_, source) in self.publications.streams.extract_if(|_, source| source.request == request) {
            let reset = Some(StreamResetCode::Cancelled);
            // A reset says nothing about ends, so it cannot contradict any.
            let _ = track.end_stream(now, publisher, &source.upstream, source.last, reset);
        }
    }

    /// The session is over, and with it every stream of the peer.
    pub(super) fn reset_streams_in(&mut self, now: Instant) {
        for (_, source) in self.publications.streams.drain() {
            let Some(publication) = self.publications.by_request.get(&source.request) else { continue };
            let publisher = PublisherId(publication.link.0);
            let reset = Some(StreamResetCode::Cancelled);
            // A reset says nothing about ends, so it cannot contradict any.
            let _ = publication.track.end_stream(now, publisher, &source.upstream, source.last, reset);
        }
    }

    // ---- what goes wrong, and what is due

    /// The peer's objects contradict what came before: its own, or those of another publisher.
    pub(super) fn malformed(
        &mut self,
        now: Instant,
        track: &Arc<Track>,
        publisher: PublisherId,
        malformed: Malformed,
    ) {
        self.relay.counters.tracks_malformed.increment();
        tracing::debug!(reason = malformed.reason, "a track is malformed");
        let Some(scope) = self.scope.clone() else { return };
        if malformed.contradicts == publisher {
            track.set_malformed();
            scope.with(now, |room| room.malformed(now, &track.name));
            return;
        }
        // One of the two is wrong. Whoever came later goes, so that nobody can end a track by nonsense beside it.
        let later = publisher.max(malformed.contradicts);
        track.remove_publisher(later);
        scope.with(now, |room| room.expel_upstream(now, LinkId(later.0)));
    }

    /// Gaps that are due, and late streams that did not come.
    pub(super) fn publications_timeout(&mut self, io: &mut Io<'_>) {
        while let Some((at, request)) =
            self.publications.timers.first().copied().filter(|(at, _)| *at <= io.now)
        {
            self.publications.timers.remove(&(at, request));
            let Some(publication) = self.publications.by_request.get_mut(&request) else { continue };
            publication.timer = None;
            if publication.done.is_some() {
                self.end_if_complete(io.now, request);
                continue;
            }
            let track = Arc::clone(&publication.track);
            let own = PublisherId(publication.link.0);
            let (gaps, next) = track.gaps(io.now);
            self.publications.set_timer(request, next.map(|next| next.max(io.now + GAPS_PAUSE)));
            for gap in gaps {
                let link = LinkId(gap.publisher.0);
                if gap.publisher == own {
                    self.repair(io, link, gap);
                } else if let Some(scope) = &self.scope {
                    scope.order_by_link(link, Order::Repair { link, gap });
                }
            }
        }
    }
}

/// Gaps are looked at no more often than this.
const GAPS_PAUSE: Duration = Duration::from_millis(1);
