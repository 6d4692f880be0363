//! FETCHes of the relay on their way: a little of the answer at a time, as QUIC takes it.

use std::vec;

use roundtable_moqt::{
    Parameters, RequestErrorCode, StreamId, StreamResetCode,
    fetch_stream::FetchItem,
    message::{FetchOk, RequestError, RequestId},
    session::ResolvedFetch,
};
use roundtable_transport::Io;

use crate::history::History;

/// Bytes of an answer that QUIC has not taken: more would only wait in line.
const UNSENT_BYTES_MAX: usize = 64 << 10;
/// FETCHes answered at once; more are refused.
const ANSWERS_MAX: usize = 64;

/// All of them.
#[derive(Debug, Default)]
pub struct Answers {
    open: Vec<Open>,
    answered: u64,
}

#[derive(Debug)]
struct Open {
    request: RequestId,
    stream: StreamId,
    items: vec::IntoIter<FetchItem>,
}

impl Answers {
    /// FETCH of a track that we have.
    pub fn asked(&mut self, io: &mut Io<'_>, request: RequestId, fetch: &ResolvedFetch, history: &History) {
        let order = fetch.parameters.group_order.unwrap_or_default();
        let refuse = |code, reason: &str| RequestError::new(code, reason);
        let answer = if self.open.len() >= ANSWERS_MAX {
            Err(refuse(RequestErrorCode::ExcessiveLoad, "too many FETCHes at once"))
        } else {
            let answer = history.fetch(fetch.start, fetch.end, order);
            answer.map_err(|reason| refuse(RequestErrorCode::InvalidRange, &reason.to_string()))
        };
        self.answered += 1;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Fails only when the request is gone.
                let _ = io.session.reject(request, error);
                return;
            }
        };
        let ok = FetchOk {
            end_of_track: false,
            end: answer.end,
            parameters: Parameters::default(),
            track_properties: bytes::Bytes::new(),
        };
        let Ok(stream) = io.session.open_fetch(request, order) else { return };
        if io.session.accept_fetch(request, ok).is_ok() {
            self.open.push(Open { request, stream, items: answer.items.into_iter() });
        }
    }

    /// The relay does not want it any more, or the stream is gone.
    pub fn remove(&mut self, request: RequestId) {
        self.open.retain(|open| open.request != request);
    }

    /// The session is gone, and all requests with it.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// Writes on as far as QUIC takes it. Called again whenever it has taken some.
    pub fn write(&mut self, io: &mut Io<'_>) {
        self.open.retain_mut(|open| {
            let mut unsent = io.streams.unsent_bytes(open.stream);
            while unsent < UNSENT_BYTES_MAX {
                let Some(item) = open.items.next() else {
                    // Fails only when the stream is gone.
                    let _ = io.session.finish_stream(open.stream);
                    return false;
                };
                if let FetchItem::Object(object) = &item {
                    unsent += object.payload.len() + object.properties.len();
                }
                if io.session.write_fetch_item(open.stream, &item).is_err() {
                    let _ = io.session.reset_stream(open.stream, StreamResetCode::InternalError);
                    return false;
                }
            }
            true
        });
    }

    /// True when nothing is being answered.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// FETCHes answered or refused so far.
    pub fn count(&self) -> u64 {
        self.answered
    }
}
