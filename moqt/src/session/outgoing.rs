//! Our data streams (draft 11.4). Datagrams are encoded by `ObjectDatagram` and sent by the driver.

use std::time::Instant;

use bytes::BytesMut;

use super::{
    CallError, Event, Session, StreamId, StreamKind, Transmit, priority,
    request::{Ending, FetchData},
    stream::{FetchOut, Stream, SubgroupOut},
};
use crate::{
    error::{PublishDoneCode, StreamResetCode},
    fetch_stream::{self, FetchItem},
    message::{GroupOrder, Message, PublishDone, RequestId},
    object::Object,
    subgroup::{self, SubgroupHeader},
};

impl Session {
    /// Ends a subscription in which we publish. Streams that are still open are finished when the code says that
    /// nothing is missing (TRACK_ENDED, SUBSCRIPTION_ENDED), and reset otherwise.
    pub fn publish_done(
        &mut self,
        request: RequestId,
        code: PublishDoneCode,
        reason: &str,
    ) -> Result<(), CallError> {
        self.ensure_open()?;
        let open = self.requests.get(&request).ok_or(CallError::WrongState)?;
        // A SUBSCRIBE is answered first; a PUBLISH may end before it was answered.
        if !open.we_publish() || !(open.is_ours || open.is_accepted) {
            return Err(CallError::WrongState);
        }
        self.end_publishing(request, code, reason);
        Ok(())
    }

    /// PUBLISH_DONE and all that comes with it.
    pub(super) fn end_publishing(&mut self, id: RequestId, code: PublishDoneCode, reason: &str) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        let request_stream = request.stream;
        let Some(subscribed) = request.subscribed_mut() else { return };
        let stream_count = subscribed.streams_opened;
        let is_complete = matches!(code, PublishDoneCode::TrackEnded | PublishDoneCode::SubscriptionEnded);
        for stream in std::mem::take(&mut subscribed.streams) {
            self.transmits.push_back(if is_complete {
                Transmit::Finish { stream, by: None }
            } else {
                Transmit::Reset { stream, code: StreamResetCode::Cancelled }
            });
            self.remove_stream(stream);
        }
        let done = Message::PublishDone(PublishDone { code, stream_count, reason: reason.to_owned() });
        // Its length is bounded: the codec cuts the reason.
        let _ = self.send(request_stream, &done);
        self.end_request(id, Ending::Done);
    }

    /// Opens a subgroup stream of a subscription in which we publish and which forwards: accepted, or a PUBLISH
    /// of ours without answer. `header.alias` is set by the session, `header.subgroup` by the caller.
    pub fn open_subgroup(
        &mut self,
        request: RequestId,
        mut header: SubgroupHeader,
    ) -> Result<StreamId, CallError> {
        self.ensure_open()?;
        let open = self.requests.get_mut(&request).ok_or(CallError::WrongState)?;
        let may_send = open.is_accepted || open.is_ours;
        let subscribed = open.subscribed_mut().filter(|subscribed| subscribed.view.we_publish);
        let subscribed = subscribed.ok_or(CallError::WrongState)?;
        let (Some(alias), Some(subgroup)) = (subscribed.view.alias, header.subgroup) else {
            return Err(CallError::WrongState);
        };
        if !may_send || !subscribed.forwards() {
            return Err(CallError::WrongState);
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        subscribed.streams.insert(stream);
        subscribed.streams_opened += 1;
        let publisher_priority =
            header.priority.or(subscribed.properties.default_priority).unwrap_or(priority::DEFAULT);
        let group = header.group;
        let priority = priority::data(
            subscribed.subscriber_priority(),
            publisher_priority,
            subscribed.group_order(),
            group,
            subgroup,
        );
        header.alias = alias;
        let mut bytes = BytesMut::new();
        let encoder = subgroup::Encoder::new(header, &mut bytes);
        self.open_data(stream, priority, bytes);
        let out = SubgroupOut { request, encoder, publisher_priority, group, subgroup };
        self.streams.insert(stream, Stream::OurSubgroup(Box::new(out)));
        Ok(stream)
    }

    /// Writes an object to a subgroup stream. Objects ascend.
    pub fn write_object(&mut self, stream: StreamId, object: &Object) -> Result<(), CallError> {
        self.ensure_open()?;
        let Some(Stream::OurSubgroup(out)) = self.streams.get_mut(&stream) else {
            return Err(CallError::WrongState);
        };
        let mut bytes = BytesMut::new();
        let payload = out.encoder.object(object, &mut bytes).ok_or(CallError::WrongState)?;
        self.write(stream, bytes, payload);
        Ok(())
    }

    /// Opens the stream of a FETCH of the peer; allowed before [`Session::accept_fetch`].
    pub fn open_fetch(&mut self, request: RequestId, order: GroupOrder) -> Result<StreamId, CallError> {
        self.ensure_open()?;
        let open =
            self.requests.get_mut(&request).filter(|open| !open.is_ours).ok_or(CallError::WrongState)?;
        let fetched = open.fetched_mut().ok_or(CallError::WrongState)?;
        if fetched.data != FetchData::NotYet || fetched.waits.is_some() {
            return Err(CallError::WrongState);
        }
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        fetched.data = FetchData::Open(stream);
        fetched.order = order;
        let priority = fetch_priority(fetched.priority);
        let mut bytes = BytesMut::new();
        let encoder = fetch_stream::Encoder::new(request, order, &mut bytes);
        self.open_data(stream, priority, bytes);
        self.streams.insert(stream, Stream::OurFetch(Box::new(FetchOut { request, encoder })));
        Ok(stream)
    }

    /// Writes an object, or a range of which none exists or nothing is known. Items follow the stream's order.
    pub fn write_fetch_item(&mut self, stream: StreamId, item: &FetchItem) -> Result<(), CallError> {
        self.ensure_open()?;
        let Some(Stream::OurFetch(out)) = self.streams.get_mut(&stream) else {
            return Err(CallError::WrongState);
        };
        let mut bytes = BytesMut::new();
        let payload = out.encoder.item(item, &mut bytes).ok_or(CallError::WrongState)?;
        self.write(stream, bytes, payload);
        Ok(())
    }

    /// FIN on a subgroup or FETCH stream. A FETCH that has been accepted is over with it.
    pub fn finish_stream(&mut self, stream: StreamId) -> Result<(), CallError> {
        self.finish_stream_by(stream, None)
    }

    /// The same with a time by which the peer must have all of it, else it is reset (SUBGROUP_DELIVERY_TIMEOUT).
    pub fn finish_stream_by(&mut self, stream: StreamId, by: Option<Instant>) -> Result<(), CallError> {
        self.ensure_open()?;
        self.close_data(stream, Transmit::Finish { stream, by }, FetchData::Finished)?;
        Ok(())
    }

    /// RESET_STREAM on a subgroup or FETCH stream. A FETCH that has been accepted is over with it.
    pub fn reset_stream(&mut self, stream: StreamId, code: StreamResetCode) -> Result<(), CallError> {
        self.ensure_open()?;
        self.close_data(stream, Transmit::Reset { stream, code }, FetchData::Broken)?;
        Ok(())
    }

    /// The peer does not want a data stream of ours, or does not read it.
    pub(super) fn data_stream_stopped(
        &mut self,
        stream: StreamId,
        code: StreamResetCode,
        reset_code: StreamResetCode,
    ) {
        let reset = Transmit::Reset { stream, code: reset_code };
        if let Ok(request) = self.close_data(stream, reset, FetchData::Broken) {
            self.events.push_back(Event::StreamStopped { request, stream, code });
        }
    }

    /// Closes a data stream of ours; returns the request it belonged to.
    fn close_data(
        &mut self,
        stream: StreamId,
        transmit: Transmit,
        data: FetchData,
    ) -> Result<RequestId, CallError> {
        let request_id = match self.streams.get(&stream) {
            Some(Stream::OurSubgroup(out)) => out.request,
            Some(Stream::OurFetch(out)) => out.request,
            _ => return Err(CallError::WrongState),
        };
        self.transmits.push_back(transmit);
        self.remove_stream(stream);
        if let Some(request) = self.requests.get_mut(&request_id) {
            let is_accepted = request.is_accepted;
            if let Some(fetched) = request.fetched_mut() {
                fetched.data = data;
                if is_accepted {
                    self.end_request(request_id, Ending::Done);
                }
            }
        }
        Ok(request_id)
    }

    /// The subscriber's priority has changed: so does the order among all streams of the request.
    pub(super) fn reprioritize(&mut self, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        let mut priorities = Vec::new();
        if let Some(subscribed) = request.subscribed() {
            let (subscriber, order) = (subscribed.subscriber_priority(), subscribed.group_order());
            priorities.push((request.stream, priority::request(subscriber)));
            for &stream in &subscribed.streams {
                if let Some(Stream::OurSubgroup(out)) = self.streams.get(&stream) {
                    let priority =
                        priority::data(subscriber, out.publisher_priority, order, out.group, out.subgroup);
                    priorities.push((stream, priority));
                }
            }
        } else if let super::request::Kind::Fetch(fetched) = &request.kind {
            priorities.push((request.stream, priority::request(fetched.priority)));
            if let FetchData::Open(stream) = fetched.data {
                priorities.push((stream, fetch_priority(fetched.priority)));
            }
        }
        let changes =
            priorities.into_iter().map(|(stream, priority)| Transmit::Priority { stream, priority });
        self.transmits.extend(changes);
    }

    fn open_data(&mut self, stream: StreamId, priority: i32, header: BytesMut) {
        self.transmits.push_back(Transmit::Open { stream, kind: StreamKind::Uni, priority });
        self.transmits.push_back(Transmit::Data { stream, bytes: header.freeze() });
    }

    fn write(&mut self, stream: StreamId, header: BytesMut, payload: bytes::Bytes) {
        self.transmits.push_back(Transmit::Data { stream, bytes: header.freeze() });
        if !payload.is_empty() {
            self.transmits.push_back(Transmit::Data { stream, bytes: payload });
        }
    }
}

/// A FETCH carries objects of many priorities and groups; only the subscriber's counts as a whole.
fn fetch_priority(subscriber: u8) -> i32 {
    priority::data(subscriber, priority::DEFAULT, GroupOrder::Ascending, 0, 0)
}
