//! What the peer may do: tokens it shows, and what ends when it may do less.

use roundtable_moqt::{
    PublishDoneCode, RequestErrorCode, StreamResetCode,
    message::{RequestId, Token},
};
use roundtable_transport::Io;

use super::Peer;
use crate::{clock::UnixMs, meeting::Denied, refusal::Refusal, token::TokenError};

/// The type of a token whose form both sides know (draft 10.2.2).
const OUT_OF_BAND: u64 = 0;

/// The token among those of a message; aliases have been resolved.
pub(super) fn token(tokens: &[Token]) -> Option<String> {
    tokens.iter().find_map(|token| match token {
        Token::UseValue { token_type: OUT_OF_BAND, value } => String::from_utf8(value.to_vec()).ok(),
        _ => None,
    })
}

impl Peer {
    /// A newer token on a request: the seat lasts as long as that says.
    pub(super) fn renewed(&self, tokens: &[Token]) -> Result<(), Refusal> {
        let (Some(token), Some(place)) = (token(tokens), &self.place) else { return Ok(()) };
        self.relay.meetings.renew(UnixMs::now(), place, &token).map_err(|denied| {
            let code = match denied {
                Denied::Token(TokenError::Expired) => RequestErrorCode::ExpiredAuthToken,
                Denied::Token(TokenError::Malformed | TokenError::Algorithm | TokenError::Times) => {
                    RequestErrorCode::MalformedAuthToken
                }
                _ => RequestErrorCode::Unauthorized,
            };
            Refusal::new(code, "the new token is not good for this")
        })
    }

    /// What the peer may not do any more ends: tracks it publishes, tracks it sees, what it looks for, and FETCHes
    /// that run.
    pub(super) fn rights_changed(&mut self, io: &mut Io<'_>) {
        let Some(scope) = self.scope.clone() else { return };
        let rights = self.handle.rights();
        for (link, track) in self.publications.all() {
            if rights.may_publish(&track.name).is_err() {
                scope.with(io.now, |room| room.expel_upstream(io.now, link));
            }
        }
        for (request, name) in self.subscriptions.all() {
            if rights.may_see(&name).is_ok() {
                continue;
            }
            let is_answered = self.subscriptions.is_answered(request);
            self.forget_subscription(io.now, request);
            if is_answered {
                // Fails only when the request is gone.
                let _ =
                    io.session.publish_done(request, PublishDoneCode::Unauthorized, "not for you any more");
            } else {
                self.refuse(
                    io,
                    request,
                    Refusal::new(RequestErrorCode::Unauthorized, "not for you any more"),
                );
            }
        }
        for (request, prefix) in scope.with(io.now, |room| room.interests_of(self.handle.id)) {
            if rights.may_look(&prefix).is_err() {
                scope.with(io.now, |room| room.unsubscribe_interest(self.handle.id, request));
                // Fails only when the request is gone.
                let _ = io.session.cancel(request, StreamResetCode::Cancelled);
            }
        }
        let unseen: Vec<RequestId> = self
            .answers
            .all()
            .filter(|(_, track)| rights.may_see(track).is_err())
            .map(|(id, _)| id)
            .collect();
        for request in unseen {
            self.stop_answer(io, request);
        }
    }
}
