//! What a stream of the session is.

use bytes::BytesMut;

use super::{Session, transmit::StreamId};
use crate::{
    error::StreamResetCode,
    fetch_stream,
    message::RequestId,
    subgroup::{self, SubgroupHeader},
};

#[derive(Debug)]
pub(super) enum Stream {
    OurControl,
    PeerControl(BytesMut),
    /// Bidirectional, either side's.
    Request(RequestStream),
    /// Unidirectional from the peer, its type not read, or not to be acted on before SETUP.
    Untyped(Untyped),
    Padding,
    Subgroup(Box<SubgroupIn>),
    Fetch(Box<FetchIn>),
    OurSubgroup(Box<SubgroupOut>),
    OurFetch(Box<FetchOut>),
}

#[derive(Debug)]
pub(super) struct RequestStream {
    pub(super) is_ours: bool,
    /// `None` until the peer's first message has come whole.
    pub(super) request: Option<RequestId>,
    /// True when the request is over and only the peer's FIN is awaited.
    pub(super) is_over: bool,
    /// True while our half is open.
    pub(super) can_send: bool,
    /// True while the peer's half is open.
    pub(super) can_receive: bool,
    pub(super) buffer: BytesMut,
}

impl RequestStream {
    pub(super) fn new(is_ours: bool, request: Option<RequestId>) -> Self {
        RequestStream {
            is_ours,
            request,
            is_over: false,
            can_send: true,
            can_receive: true,
            buffer: BytesMut::new(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Untyped {
    pub(super) buffer: BytesMut,
    pub(super) is_finished: bool,
}

/// How a data stream of the peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    Fin,
    Reset(StreamResetCode),
}

impl StreamEnd {
    pub(super) fn reset(self) -> Option<StreamResetCode> {
        match self {
            StreamEnd::Fin => None,
            StreamEnd::Reset(code) => Some(code),
        }
    }
}

/// The part that both kinds of incoming data streams share.
#[derive(Debug, Default)]
pub(super) struct DataIn {
    pub(super) end: Option<StreamEnd>,
    /// True while it stands in `readable`.
    pub(super) is_queued: bool,
    /// What its decoder held when last looked at, bytes.
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct SubgroupIn {
    pub(super) data: DataIn,
    pub(super) decoder: subgroup::Decoder,
    pub(super) stage: Stage,
}

/// How much of a subgroup stream is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Header,
    /// The alias means nothing yet.
    WaitsForAlias(SubgroupHeader),
    /// The subgroup is the id of the first object, which has not come.
    WaitsForObject(RequestId, SubgroupHeader),
    Objects(RequestId),
}

impl Stage {
    /// The subscription among whose streams it counts.
    pub(super) fn request(&self) -> Option<RequestId> {
        match self {
            Stage::Header | Stage::WaitsForAlias(_) => None,
            Stage::WaitsForObject(request, _) | Stage::Objects(request) => Some(*request),
        }
    }
}

#[derive(Debug)]
pub(super) struct FetchIn {
    pub(super) data: DataIn,
    pub(super) decoder: fetch_stream::Decoder,
    pub(super) request: Option<RequestId>,
}

#[derive(Debug)]
pub(super) struct SubgroupOut {
    pub(super) request: RequestId,
    pub(super) encoder: subgroup::Encoder,
    /// What its priority is made of, beside the subscriber's.
    pub(super) publisher_priority: u8,
    pub(super) group: u64,
    pub(super) subgroup: u64,
}

#[derive(Debug)]
pub(super) struct FetchOut {
    pub(super) request: RequestId,
    pub(super) encoder: fetch_stream::Encoder,
}

impl Session {
    /// Forgets a stream. Whatever still comes on it is ignored.
    pub(super) fn remove_stream(&mut self, id: StreamId) {
        let Some(stream) = self.streams.remove(&id) else { return };
        match stream {
            Stream::OurControl | Stream::PeerControl(_) | Stream::OurFetch(_) => {}
            Stream::OurSubgroup(stream) => self.detach(id, stream.request),
            Stream::Request(stream) => {
                self.held_bytes -= stream.buffer.len();
                self.peer_request_streams -= usize::from(!stream.is_ours);
            }
            Stream::Untyped(stream) => {
                self.held_bytes -= stream.buffer.len();
                self.data_streams -= 1;
            }
            Stream::Padding => self.data_streams -= 1,
            Stream::Subgroup(stream) => {
                if matches!(stream.stage, Stage::WaitsForAlias(_)) {
                    self.waiting_streams.retain(|waiting| *waiting != id);
                }
                if let Some(request) = stream.stage.request() {
                    self.detach(id, request);
                }
                self.forget_data(id, &stream.data);
            }
            Stream::Fetch(stream) => self.forget_data(id, &stream.data),
        }
    }

    fn forget_data(&mut self, id: StreamId, data: &DataIn) {
        self.data_bytes -= data.bytes;
        self.data_streams -= 1;
        if data.is_queued {
            self.readable.retain(|readable| *readable != id);
        }
    }

    /// The stream no longer counts among the open streams of its subscription.
    fn detach(&mut self, stream: StreamId, request: RequestId) {
        if let Some(subscribed) = self.requests.get_mut(&request).and_then(|request| request.subscribed_mut())
        {
            subscribed.streams.remove(&stream);
        }
    }
}
