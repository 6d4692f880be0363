//! What must hold between the parts of a session at any time; for tests and fuzzing.

use super::{
    Session,
    request::FetchData,
    stream::{Stage, Stream},
};

impl Session {
    /// Checks the session's own bookkeeping.
    #[doc(hidden)]
    pub fn check_consistency(&self) -> Result<(), &'static str> {
        if self.is_closed {
            return Ok(());
        }
        self.check_streams()?;
        self.check_requests()
    }

    fn check_streams(&self) -> Result<(), &'static str> {
        let (mut held, mut data, mut incoming, mut requests, mut waiting, mut queued) = (0, 0, 0, 0, 0, 0);
        for stream in self.streams.values() {
            match stream {
                Stream::OurControl | Stream::OurSubgroup(_) | Stream::OurFetch(_) => {}
                Stream::PeerControl(buffer) => held += buffer.len(),
                Stream::Request(stream) => {
                    held += stream.buffer.len();
                    requests += usize::from(!stream.is_ours);
                }
                Stream::Untyped(stream) => {
                    held += stream.buffer.len();
                    incoming += 1;
                }
                Stream::Padding => incoming += 1,
                Stream::Subgroup(stream) => {
                    data += stream.data.bytes;
                    incoming += 1;
                    waiting += usize::from(matches!(stream.stage, Stage::WaitsForAlias(_)));
                    queued += usize::from(stream.data.is_queued);
                }
                Stream::Fetch(stream) => {
                    data += stream.data.bytes;
                    incoming += 1;
                    queued += usize::from(stream.data.is_queued);
                }
            }
        }
        ensure(held == self.held_bytes, "held bytes are miscounted")?;
        ensure(data == self.data_bytes, "bytes of data streams are miscounted")?;
        ensure(incoming == self.data_streams, "data streams are miscounted")?;
        ensure(requests == self.peer_request_streams, "request streams are miscounted")?;
        ensure(waiting == self.waiting_streams.len(), "waiting streams are miscounted")?;
        ensure(queued == self.readable.len(), "readable streams are miscounted")
    }

    fn check_requests(&self) -> Result<(), &'static str> {
        let of_peer = self.requests.values().filter(|request| !request.is_ours).count();
        ensure(of_peer == self.peer_requests, "requests of the peer are miscounted")?;
        let updates: usize = self.requests.values().map(|request| request.updates_received.len()).sum();
        ensure(updates == self.requests_by_update.len(), "unanswered updates are miscounted")?;
        for (id, request) in &self.requests {
            match self.streams.get(&request.stream) {
                Some(Stream::Request(stream)) => {
                    ensure(stream.request == Some(*id) && !stream.is_over, "a request has another's stream")?;
                }
                _ => return Err("a request has no stream"),
            }
            if let Some(subscribed) = request.subscribed() {
                let view = &subscribed.view;
                ensure(
                    self.tracks.of(&view.track, view.we_publish).contains(id),
                    "a subscription is not indexed",
                )?;
                ensure(view.is_established == request.is_accepted, "a subscription is half established")?;
                let are_open = subscribed.streams.iter().all(|stream| self.streams.contains_key(stream));
                ensure(are_open, "a subscription has a stream that is gone")?;
            }
            if let super::request::Kind::Fetch(fetched) = &request.kind
                && let FetchData::Open(stream) = fetched.data
            {
                ensure(self.streams.contains_key(&stream), "a FETCH has a stream that is gone")?;
            }
        }
        for (stream, state) in &self.streams {
            if let Stream::OurSubgroup(out) = state {
                let owner = self.requests.get(&out.request).and_then(|request| request.subscribed());
                ensure(
                    owner.is_some_and(|owner| owner.streams.contains(stream)),
                    "a data stream has no owner",
                )?;
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}
