//! FETCHes of the peer: answered from the cache, with what publishers still have.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use roundtable_forward::track::{Fetch, FetchCursor, Step};
use roundtable_moqt::{
    FullTrackName, Location, Parameters, RequestErrorCode, StreamId, StreamResetCode,
    fetch_stream::FetchItem,
    message::{FetchOk, GroupOrder, RequestError, RequestId},
    session::ResolvedFetch,
};
use roundtable_transport::Io;

use super::{Fill, Peer, bounded};
use crate::{fanout::Track, refusal::Refusal, room::SessionId};

/// Bytes of an answer that QUIC has not taken: more would only lose their turn to what matters more.
const UNSENT_BYTES_MAX: usize = 64 << 10;
/// Ranges of one answer that publishers are asked for.
const FILLS_MAX: u8 = 4;

/// FETCHes that are not answered whole.
#[derive(Debug, Default)]
pub(super) struct Answers {
    by_request: BTreeMap<RequestId, Answer>,
}

#[derive(Debug)]
struct Answer {
    track: Arc<Track>,
    start: Location,
    end: Location,
    order: GroupOrder,
    /// How long publishers are waited for.
    patience: Instant,
    /// Who may have what the cache does not.
    sources: Vec<SessionId>,
    fill: Option<Arc<Fill>>,
    fills_left: u8,
    /// `None` until the range is known.
    body: Option<Body>,
    /// It waits, at the latest until then.
    wait_until: Option<Instant>,
}

#[derive(Debug)]
struct Body {
    stream: StreamId,
    cursor: FetchCursor,
    /// Ascending: nothing before this has been left out.
    position: Location,
}

/// What became of an answer in a turn.
enum Progress {
    /// Goes on when something happens.
    Later,
    /// Answered, or given up.
    Over,
    /// Cannot be answered.
    Refused(RequestError),
}

impl Answers {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.by_request.values().filter_map(|answer| answer.wait_until).min()
    }

    pub(super) fn remove(&mut self, request: RequestId) -> bool {
        self.by_request.remove(&request).is_some()
    }

    /// All of them, with what they are about.
    pub(super) fn all(&self) -> impl Iterator<Item = (RequestId, &FullTrackName)> {
        self.by_request.iter().map(|(request, answer)| (*request, &answer.track.name))
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.by_request.values().filter_map(|answer| Some(answer.body.as_ref()?.stream))
    }
}

impl Peer {
    /// FETCH.
    pub(super) fn fetch_asked(&mut self, io: &mut Io<'_>, id: RequestId, fetch: ResolvedFetch) {
        self.relay.counters.requests_total.increment();
        self.relay.counters.fetches_total.increment();
        let found = self.handle.rights().may_see(&fetch.track).and_then(|()| {
            let scope = self.scope.as_ref().ok_or(Refusal::internal())?;
            scope.fetchable(io.now, &fetch.track)
        });
        let (track, sources) = match found {
            Ok(found) => found,
            Err(refusal) => return self.refuse(io, id, refusal),
        };
        let ResolvedFetch { start, end, parameters, .. } = fetch;
        let longest = self.relay.limits.fill_timeout_max;
        let wait = parameters.fill_timeout_ms.map_or(longest, |ms| bounded(ms, longest));
        let answer = Answer {
            track,
            start,
            end,
            order: parameters.group_order.unwrap_or_default(),
            patience: io.now + wait,
            sources,
            fill: None,
            fills_left: if wait == Duration::ZERO { 0 } else { FILLS_MAX },
            body: None,
            wait_until: None,
        };
        self.answers.by_request.insert(id, answer);
        self.go_on(io, id);
    }

    /// Ends an answer that is not for the peer any more.
    pub(super) fn stop_answer(&mut self, io: &mut Io<'_>, id: RequestId) {
        let Some(answer) = self.answers.by_request.remove(&id) else { return };
        match answer.body {
            // Fails only when the stream is gone.
            Some(body) => drop(io.session.reset_stream(body.stream, StreamResetCode::Cancelled)),
            None => self.refuse(io, id, Refusal::new(RequestErrorCode::Unauthorized, "not for you any more")),
        }
    }

    /// Goes on with all answers, as far as QUIC takes them.
    pub(super) fn send_answers(&mut self, io: &mut Io<'_>) {
        let requests: Vec<RequestId> = self.answers.by_request.keys().copied().collect();
        for id in requests {
            self.go_on(io, id);
        }
    }

    fn go_on(&mut self, io: &mut Io<'_>, id: RequestId) {
        let Some(mut answer) = self.answers.by_request.remove(&id) else { return };
        let progress = if answer.body.is_none() { self.begin(io, id, &mut answer) } else { Progress::Later };
        let progress = match progress {
            Progress::Later if answer.body.is_some() => self.write(io, &mut answer),
            other => other,
        };
        match progress {
            Progress::Later => drop(self.answers.by_request.insert(id, answer)),
            Progress::Over => {}
            Progress::Refused(error) => self.refuse(io, id, error),
        }
    }

    /// FETCH_OK, once it is known what there is.
    fn begin(&mut self, io: &mut Io<'_>, id: RequestId, answer: &mut Answer) -> Progress {
        let found = answer.track.fetch(answer.start, answer.end, answer.order, answer.patience);
        let Fetch { end, end_of_track, cursor } = match found {
            Ok(fetch) => fetch,
            Err(reason) => {
                // A publisher of the namespace alone may have what nobody has subscribed to.
                if answer.track.largest().is_none() && self.wait_for_fill(io, answer, None) {
                    return Progress::Later;
                }
                let refusal = answer.fill.as_ref().and_then(|fill| fill.refusal());
                let invalid = || RequestError::new(RequestErrorCode::InvalidRange, reason.to_string());
                return Progress::Refused(refusal.unwrap_or_else(invalid));
            }
        };
        let track_properties = answer.track.properties();
        let ok = FetchOk { end_of_track, end, parameters: Parameters::default(), track_properties };
        // Both fail only when the request is gone.
        let Ok(stream) = io.session.open_fetch(id, answer.order) else { return Progress::Over };
        let Ok(()) = io.session.accept_fetch(id, ok) else { return Progress::Over };
        answer.body = Some(Body { stream, cursor, position: answer.start });
        Progress::Later
    }

    fn write(&mut self, io: &mut Io<'_>, answer: &mut Answer) -> Progress {
        answer.wait_until = None;
        let Some(Body { stream, .. }) = answer.body else { return Progress::Over };
        let mut unsent = io.streams.unsent_bytes(stream);
        while unsent < UNSENT_BYTES_MAX {
            let Some(body) = &mut answer.body else { return Progress::Over };
            let mut cursor = body.cursor.clone();
            let item = match answer.track.next(&mut cursor, io.now, &self.waker) {
                Some(Step::Item(item)) => item,
                Some(Step::Wait(until)) => {
                    answer.wait_until = Some(until);
                    return Progress::Later;
                }
                // These fail only when the stream is gone.
                Some(Step::Done) => {
                    let _ = io.session.finish_stream(stream);
                    return Progress::Over;
                }
                None => {
                    let _ = io.session.reset_stream(stream, StreamResetCode::MalformedTrack);
                    return Progress::Over;
                }
            };
            if let FetchItem::Unknown(until) = &item {
                let range = match answer.order {
                    GroupOrder::Ascending => Some((body.position, *until)),
                    GroupOrder::Descending => None,
                };
                if self.wait_for_fill(io, answer, range) {
                    return Progress::Later;
                }
                self.relay.counters.fetch_unknown.increment();
            }
            let Some(body) = &mut answer.body else { return Progress::Over };
            body.cursor = cursor;
            let (len, location) = match &item {
                FetchItem::Object(object) => {
                    (object.payload.len() + object.properties.len(), object.location)
                }
                FetchItem::NonExistent(location) | FetchItem::Unknown(location) => (0, *location),
            };
            body.position = after(location);
            unsent += len + ITEM_HEADER_BYTES;
            self.relay.counters.fetch_items_sent.increment();
            if io.session.write_fetch_item(stream, &item).is_err() {
                let _ = io.session.reset_stream(stream, StreamResetCode::InternalError);
                return Progress::Over;
            }
        }
        Progress::Later
    }

    /// True when a publisher has been asked for something the cache does not have, and there is time to wait.
    fn wait_for_fill(&self, io: &Io<'_>, answer: &mut Answer, range: Option<(Location, Location)>) -> bool {
        if io.now >= answer.patience {
            return false;
        }
        answer.track.wait(&self.waker);
        let is_waiting = answer.fill.as_ref().is_some_and(|fill| !fill.is_over());
        if !is_waiting {
            if answer.fills_left == 0 || answer.sources.is_empty() {
                return false;
            }
            answer.fills_left -= 1;
            let (start, end) = match range {
                Some((start, last)) => {
                    (start, Location::new(last.group, last.object.checked_add(1).unwrap_or(0)))
                }
                None => (answer.start, answer.end),
            };
            let fill = Arc::new(Fill::new(Arc::clone(&answer.track), start, end, answer.sources.clone()));
            answer.fill = Some(Arc::clone(&fill));
            if !self.pass_on(&fill) {
                fill.end();
                return false;
            }
        }
        answer.wait_until = Some(answer.patience);
        true
    }
}

/// What an item takes on the wire beyond its object, roughly.
const ITEM_HEADER_BYTES: usize = 16;

fn after(location: Location) -> Location {
    match location.object.checked_add(1) {
        Some(object) => Location::new(location.group, object),
        None => Location::new(location.group.saturating_add(1), 0),
    }
}
