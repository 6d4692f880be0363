//! Control messages to bytes and back (draft 10).
//!
//! A message is a type, a 16-bit length and a payload that fills the length exactly. What stands in a payload:
//! `request` (the messages that carry a request id), `response` (all others), `setup`; made of `parameters`,
//! `token` and the fields in `wire`, which is the only file that names the codec crate and says why.

use std::io::IoSlice;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{error::Violation, message::Message, vi64};

mod kind;
mod parameters;
mod request;
mod response;
mod scope;
mod setup;
mod token;
mod wire;

#[cfg(test)]
mod tests;

pub use scope::{Parameter, Scope};

use kind::Kind;

/// Longest payload of a control message (draft 10).
pub const PAYLOAD_BYTES_MAX: usize = 0xffff;
/// Longest reason phrase (draft 1.4.4).
pub const REASON_BYTES_MAX: usize = 1024;
/// Longest URI of a GOAWAY (draft 10.4).
pub const URI_BYTES_MAX: usize = 8192;
/// Most tokens in one message. The draft knows no limit; ours keeps a message of 64 kB from becoming a list of
/// twenty thousand.
pub const TOKENS_MAX: usize = 64;

/// Type and length of a message at their longest, bytes.
const FRAME_BYTES_MAX: usize = vi64::BYTES_MAX + 2;

/// Which half of which stream a message came on: decides what may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageContext {
    /// A control stream.
    Control,
    /// A request stream's first message, from who opened it.
    RequestFirst,
    /// Any later message of a request stream, or the answer half.
    Request,
}

/// Encodes one message with its type and length. `None` when it would be longer than 65535 bytes or has a
/// parameter that the message may not carry: our own mistake. Reasons longer than the draft allows are cut.
pub fn encode(message: &Message) -> Option<Bytes> {
    let mut payload = BytesMut::new();
    let kind = match message {
        Message::Setup(setup) => {
            setup::encode(setup, &mut payload)?;
            Kind::Setup
        }
        Message::Request(id, request) => request::encode(*id, request, &mut payload)?,
        Message::RequestUpdate(id, parameters) => {
            request::encode_update(*id, parameters, &mut payload)?;
            Kind::RequestUpdate
        }
        other => response::encode(other, &mut payload)?,
    };
    let length = u16::try_from(payload.len()).ok()?;
    let mut out = BytesMut::with_capacity(vi64::len(kind.code()) + 2 + payload.len());
    vi64::put(&mut out, kind.code());
    out.put_u16(length);
    out.put_slice(&payload);
    Some(out.freeze())
}

/// Takes one whole message off the front of `buf`; `None`, and nothing taken, until it has arrived whole.
///
/// A type that is unknown or may not come in this context is an error as soon as it can be read. Nothing in the
/// message shares memory with `buf`.
pub fn decode(buf: &mut impl Buf, context: MessageContext) -> Result<Option<Message>, Violation> {
    let mut scratch = [0; FRAME_BYTES_MAX];
    let available = peek(buf, &mut scratch);
    let mut frame = scratch.get(..available).unwrap_or_default();
    let Some(code) = vi64::take(&mut frame) else { return Ok(None) };
    let kind = Kind::from_code(code).ok_or(Violation::protocol("unknown message type"))?;
    if !kind.may_come(context) {
        return Err(Violation::protocol("a message where it may not come"));
    }
    if frame.len() < 2 {
        return Ok(None);
    }
    let length = usize::from(frame.get_u16());
    let header_len = available - frame.len();
    if buf.remaining() < header_len + length {
        return Ok(None);
    }
    buf.advance(header_len);
    let mut payload = buf.copy_to_bytes(length);
    let message = match kind {
        Kind::Setup => Message::Setup(setup::decode(&mut payload)?),
        Kind::RequestUpdate => request::decode_update(&mut payload)?,
        _ if kind.is_request() => request::decode(kind, &mut payload)?,
        _ => response::decode(kind, context, &mut payload)?,
    };
    if payload.has_remaining() {
        return Err(Violation::protocol("a message is longer than its fields"));
    }
    Ok(Some(message))
}

/// Copies the front of `buf` without taking it, across as many pieces as it takes.
fn peek(buf: &impl Buf, scratch: &mut [u8; FRAME_BYTES_MAX]) -> usize {
    let mut pieces = [IoSlice::new(&[]); FRAME_BYTES_MAX];
    let filled = buf.chunks_vectored(&mut pieces);
    let front = pieces.iter().take(filled).flat_map(|piece| piece.iter());
    scratch.iter_mut().zip(front).map(|(to, from)| *to = *from).count()
}
