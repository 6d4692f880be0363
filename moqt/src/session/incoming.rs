//! Data streams of the peer (draft 11.4), and datagrams that wait (11.3).

use bytes::Bytes;

use super::{
    CallError, Event, Session, StreamId, Transmit,
    aliases::Meaning,
    config::{DATA_BYTES_MAX, UNKNOWN_ALIAS_STREAMS_MAX},
    request::{Ending, FetchData},
    stream::{DataIn, FetchIn, Stage, Stream, StreamEnd, SubgroupIn},
    timers::Timer,
};
use crate::{
    datagram::ObjectDatagram,
    error::{StreamResetCode, Violation},
    fetch_stream,
    message::{RequestId, TrackAlias},
    object::Forwarding,
    stream_type::StreamType,
    subgroup::{self, SubgroupHeader},
};

impl Session {
    /// STOP_SENDING on a data stream of the peer, which is forgotten. No event follows.
    pub fn stop_stream(&mut self, stream: StreamId, code: StreamResetCode) -> Result<(), CallError> {
        self.ensure_open()?;
        let is_reported = match self.streams.get(&stream) {
            Some(Stream::Subgroup(subgroup)) => matches!(subgroup.stage, Stage::Objects(_)),
            _ => false,
        };
        if !is_reported {
            return Err(CallError::WrongState);
        }
        self.stop(stream, code);
        Ok(())
    }

    fn stop(&mut self, stream: StreamId, code: StreamResetCode) {
        self.transmits.push_back(Transmit::Stop { stream, code });
        self.remove_stream(stream);
    }

    /// Finds out what a unidirectional stream is, as soon as its type has come.
    pub(super) fn read_type(&mut self, id: StreamId) -> Result<(), Violation> {
        let Some(Stream::Untyped(untyped)) = self.streams.get(&id) else { return Ok(()) };
        let Some(stream_type) = StreamType::peek(&untyped.buffer)? else {
            if untyped.is_finished {
                if !untyped.buffer.is_empty() {
                    return Err(Violation::protocol("a stream ended within its type"));
                }
                self.remove_stream(id);
            }
            return Ok(());
        };
        if stream_type == StreamType::Control {
            return self.open_peer_control(id);
        }
        if self.peer_setup.is_none() {
            return Ok(());
        }
        let Some(Stream::Untyped(untyped)) = self.streams.remove(&id) else { return Ok(()) };
        self.held_bytes -= untyped.buffer.len();
        let data = DataIn::default();
        let object_bytes_max = self.config.object_bytes_max;
        let stream = match stream_type {
            StreamType::Control | StreamType::Padding => Stream::Padding,
            StreamType::Fetch => {
                let decoder = fetch_stream::Decoder::new(object_bytes_max);
                Stream::Fetch(Box::new(FetchIn { data, decoder, request: None }))
            }
            StreamType::Subgroup => {
                let decoder = subgroup::Decoder::new(object_bytes_max);
                Stream::Subgroup(Box::new(SubgroupIn { data, decoder, stage: Stage::Header }))
            }
        };
        self.streams.insert(id, stream);
        self.push_data(id, untyped.buffer.freeze());
        if untyped.is_finished {
            match stream_type {
                StreamType::Control | StreamType::Padding => self.remove_stream(id),
                StreamType::Fetch | StreamType::Subgroup => self.end_data(id, StreamEnd::Fin),
            }
        }
        Ok(())
    }

    /// More bytes of a data stream: to be decoded when events are asked for.
    pub(super) fn push_data(&mut self, id: StreamId, bytes: Bytes) {
        match self.streams.get_mut(&id) {
            Some(Stream::Subgroup(stream)) => {
                if stream.data.end.is_some() {
                    return;
                }
                stream.decoder.push(bytes);
            }
            Some(Stream::Fetch(stream)) => {
                if stream.data.end.is_some() {
                    return;
                }
                stream.decoder.push(bytes);
            }
            _ => return,
        }
        self.queue(id);
        self.account(id);
        let bytes_max = DATA_BYTES_MAX.max(self.config.object_bytes_max.saturating_mul(2));
        if self.data_bytes > bytes_max {
            self.stop_over_limit(id);
        }
    }

    /// The peer's FIN or reset: takes effect when what came before has been decoded.
    pub(super) fn end_data(&mut self, id: StreamId, end: StreamEnd) {
        let data = match self.streams.get_mut(&id) {
            Some(Stream::Subgroup(stream)) => &mut stream.data,
            Some(Stream::Fetch(stream)) => &mut stream.data,
            _ => return,
        };
        data.end.get_or_insert(end);
        self.queue(id);
    }

    /// Decodes the next item of the stream that stands first in `readable`.
    pub(super) fn read_data(&mut self, id: StreamId) -> Result<(), Violation> {
        match self.streams.get(&id) {
            Some(Stream::Subgroup(_)) => self.read_subgroup(id),
            Some(Stream::Fetch(_)) => self.read_fetch(id),
            _ => {
                self.readable.pop_front();
                Ok(())
            }
        }
    }

    fn read_subgroup(&mut self, id: StreamId) -> Result<(), Violation> {
        let Some(Stream::Subgroup(stream)) = self.streams.get_mut(&id) else { return Ok(()) };
        let Some(item) = stream.decoder.poll()? else {
            let Some(end) = stream.data.end else {
                self.unqueue(id);
                return Ok(());
            };
            if end == StreamEnd::Fin {
                stream.decoder.finish()?;
            }
            if let Stage::Objects(request) = stream.stage {
                self.events.push_back(Event::SubgroupEnded { request, stream: id, reset: end.reset() });
            }
            self.remove_stream(id);
            return Ok(());
        };
        match item {
            subgroup::Item::Header(header) => self.place(id, header),
            subgroup::Item::Object(object) => {
                if let Stage::WaitsForObject(request, header) = &stream.stage {
                    let (request, mut header) = (*request, header.clone());
                    if let Forwarding::Subgroup(subgroup) = object.forwarding {
                        header.subgroup = Some(subgroup);
                    }
                    stream.stage = Stage::Objects(request);
                    self.events.push_back(Event::SubgroupOpened { request, stream: id, header });
                }
                if let Stage::Objects(request) = stream.stage {
                    self.events.push_back(Event::Object { request, stream: id, object });
                }
            }
        }
        self.account(id);
        Ok(())
    }

    /// Finds the subscription of a subgroup stream, or lets it wait for one.
    fn place(&mut self, id: StreamId, header: SubgroupHeader) {
        match self.aliases.meaning(header.alias) {
            Some(Meaning::Of(request)) => self.attach(id, request, header),
            Some(Meaning::Discard) => {
                self.counters.streams_unwanted += 1;
                self.stop(id, StreamResetCode::Cancelled);
            }
            None => {
                let Some(Stream::Subgroup(stream)) = self.streams.get_mut(&id) else { return };
                stream.stage = Stage::WaitsForAlias(header);
                self.unqueue(id);
                self.waiting_streams.push_back(id);
                self.timers.set(self.now + self.config.unknown_alias_wait, Timer::WaitingStream(id));
                if self.waiting_streams.len() > UNKNOWN_ALIAS_STREAMS_MAX {
                    let oldest = self.waiting_streams.front().copied();
                    oldest.into_iter().for_each(|stream| self.expire_stream(stream));
                }
            }
        }
    }

    fn attach(&mut self, id: StreamId, request: RequestId, header: SubgroupHeader) {
        let Some(Stream::Subgroup(stream)) = self.streams.get_mut(&id) else { return };
        if header.subgroup.is_some() {
            stream.stage = Stage::Objects(request);
            self.events.push_back(Event::SubgroupOpened { request, stream: id, header });
        } else {
            stream.stage = Stage::WaitsForObject(request, header);
        }
        if let Some(subscribed) = self.requests.get_mut(&request).and_then(|request| request.subscribed_mut())
        {
            subscribed.streams.insert(id);
            subscribed.streams_opened += 1;
        }
    }

    /// A subgroup stream has waited long enough for its alias.
    pub(super) fn expire_stream(&mut self, id: StreamId) {
        if let Some(Stream::Subgroup(stream)) = self.streams.get(&id)
            && matches!(stream.stage, Stage::WaitsForAlias(_))
        {
            self.counters.streams_unknown_alias += 1;
            self.stop(id, StreamResetCode::Cancelled);
        }
    }

    /// A datagram's alias means nothing yet.
    pub(super) fn let_wait(&mut self, datagram: ObjectDatagram) {
        let was_empty = self.waiting_room.deadline().is_none();
        self.counters.datagrams_unknown_alias += self.waiting_room.push(self.now, datagram);
        if was_empty && let Some(deadline) = self.waiting_room.deadline() {
            self.timers.set(deadline, Timer::WaitingDatagrams);
        }
    }

    pub(super) fn expire_datagrams(&mut self) {
        self.counters.datagrams_unknown_alias += self.waiting_room.expire(self.now);
        if let Some(deadline) = self.waiting_room.deadline() {
            self.timers.set(deadline, Timer::WaitingDatagrams);
        }
    }

    /// An alias means a subscription from now on; what waited for it goes on.
    pub(super) fn establish_alias(&mut self, alias: TrackAlias, request: RequestId) {
        if let Some(until) = self.aliases.set(alias, request) {
            self.timers.clear(until, Timer::LateAlias(alias));
        }
        let datagrams = self.waiting_room.take(alias).into_iter();
        self.events.extend(datagrams.map(|datagram| Event::Datagram(request, datagram)));
        for id in std::mem::take(&mut self.waiting_streams) {
            let header = match self.streams.get(&id) {
                Some(Stream::Subgroup(stream)) => match &stream.stage {
                    Stage::WaitsForAlias(header) if header.alias == alias => header.clone(),
                    Stage::WaitsForAlias(_) => {
                        self.waiting_streams.push_back(id);
                        continue;
                    }
                    _ => continue,
                },
                _ => continue,
            };
            self.attach(id, request, header);
            self.queue(id);
        }
    }

    fn read_fetch(&mut self, id: StreamId) -> Result<(), Violation> {
        let Some(Stream::Fetch(stream)) = self.streams.get_mut(&id) else { return Ok(()) };
        let request = match stream.request {
            Some(request) => request,
            None => match stream.decoder.request()? {
                Some(request) => return self.attach_fetch(id, request),
                None => {
                    match stream.data.end {
                        None => self.unqueue(id),
                        Some(StreamEnd::Fin) => {
                            return Err(Violation::protocol("a FETCH stream ended within its header"));
                        }
                        Some(StreamEnd::Reset(_)) => self.remove_stream(id),
                    }
                    return Ok(());
                }
            },
        };
        if let Some(item) = stream.decoder.poll()? {
            self.events.push_back(Event::FetchItem(request, item));
            self.account(id);
            return Ok(());
        }
        let Some(end) = stream.data.end else {
            self.unqueue(id);
            return Ok(());
        };
        if end == StreamEnd::Fin {
            stream.decoder.finish()?;
        }
        self.remove_stream(id);
        self.fetch_data_ended(request, end.reset());
        Ok(())
    }

    fn attach_fetch(&mut self, id: StreamId, request_id: RequestId) -> Result<(), Violation> {
        const NO_FETCH: Violation = Violation::protocol("a FETCH stream names no FETCH of ours");
        match self.requests.get_mut(&request_id).filter(|request| request.is_ours) {
            Some(request) => {
                let fetched = request.fetched_mut().ok_or(NO_FETCH)?;
                if fetched.data != FetchData::NotYet {
                    return Err(Violation::protocol("a FETCH has a second data stream"));
                }
                fetched.data = FetchData::Open(id);
                let order = fetched.order;
                if let Some(Stream::Fetch(stream)) = self.streams.get_mut(&id) {
                    stream.request = Some(request_id);
                    stream.decoder.order(order);
                }
                self.account(id);
                Ok(())
            }
            // One that we have cancelled, or that was refused.
            None if request_id.0 % 2 == self.config.role.parity() && request_id.0 < self.next_request => {
                self.counters.streams_unwanted += 1;
                self.stop(id, StreamResetCode::Cancelled);
                Ok(())
            }
            None => Err(NO_FETCH),
        }
    }

    /// The data stream of a FETCH of ours is over. After FIN, the answer is awaited if it has not come: it says
    /// where the range ends.
    pub(super) fn fetch_data_ended(&mut self, id: RequestId, reset: Option<StreamResetCode>) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let is_accepted = request.is_accepted;
        let Some(fetched) = request.fetched_mut() else { return };
        fetched.data = if reset.is_none() { FetchData::Finished } else { FetchData::Broken };
        if is_accepted || reset.is_some() {
            let ending = match reset {
                None => Ending::Done,
                Some(_) => Ending::Aborted(StreamResetCode::Cancelled),
            };
            self.events.push_back(Event::FetchEnded { request: id, reset });
            self.end_request(id, ending);
        }
    }

    fn stop_over_limit(&mut self, id: StreamId) {
        const CODE: StreamResetCode = StreamResetCode::ExcessiveLoad;
        self.counters.streams_over_limit += 1;
        match self.streams.get(&id) {
            Some(Stream::Subgroup(stream)) => {
                if let Stage::Objects(request) = stream.stage {
                    self.events.push_back(Event::SubgroupEnded { request, stream: id, reset: Some(CODE) });
                }
                self.stop(id, CODE);
            }
            Some(Stream::Fetch(stream)) => {
                let request = stream.request;
                self.stop(id, CODE);
                if let Some(request) = request {
                    self.fetch_data_ended(request, Some(CODE));
                }
            }
            _ => {}
        }
    }

    fn queue(&mut self, id: StreamId) {
        let data = match self.streams.get_mut(&id) {
            Some(Stream::Subgroup(stream)) if !matches!(stream.stage, Stage::WaitsForAlias(_)) => {
                &mut stream.data
            }
            Some(Stream::Fetch(stream)) => &mut stream.data,
            _ => return,
        };
        if !data.is_queued {
            data.is_queued = true;
            self.readable.push_back(id);
        }
    }

    fn unqueue(&mut self, id: StreamId) {
        let data = match self.streams.get_mut(&id) {
            Some(Stream::Subgroup(stream)) => &mut stream.data,
            Some(Stream::Fetch(stream)) => &mut stream.data,
            _ => return,
        };
        data.is_queued = false;
        self.readable.retain(|readable| *readable != id);
        self.account(id);
    }

    /// Brings the count of held bytes up to date with a stream's decoder.
    fn account(&mut self, id: StreamId) {
        let (data, bytes) = match self.streams.get_mut(&id) {
            Some(Stream::Subgroup(stream)) => (&mut stream.data, stream.decoder.buffered_bytes()),
            Some(Stream::Fetch(stream)) => (&mut stream.data, stream.decoder.buffered_bytes()),
            _ => return,
        };
        self.data_bytes = self.data_bytes - data.bytes + bytes;
        data.bytes = bytes;
    }
}
