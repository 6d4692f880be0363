//! Control messages to bytes and back (draft 10).

use bytes::{Buf, Bytes};

use crate::{error::Violation, message::Message};

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
/// parameter that the message may not carry: our own mistake.
pub fn encode(_message: &Message) -> Option<Bytes> {
    unimplemented!()
}

/// Takes one whole message off the front of `buf`; `None`, and nothing taken, until it has arrived whole.
pub fn decode(_buf: &mut impl Buf, _context: MessageContext) -> Result<Option<Message>, Violation> {
    unimplemented!()
}
