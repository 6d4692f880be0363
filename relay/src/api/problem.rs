//! Errors as problem documents (RFC 9457): what went wrong, in words for people and one for programs.

use std::{borrow::Cow, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    call::ringing::NoRing,
    id::NoRandomness,
    meeting::{Denied, roster::NoSeat},
    store::StoreError,
    token::TokenError,
};

/// What every error of the API is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// What kind of problem: `urn:roundtable:` and a word that does not change.
    #[schema(value_type = String, example = "urn:roundtable:room-locked")]
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// What went wrong.
    #[schema(value_type = String)]
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What to do about it, if there is something.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Cow<'static, str>>,
    /// Seconds to wait before it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem of this kind.
    pub const fn new(status: StatusCode, kind: &'static str, title: &'static str) -> Self {
        Problem {
            kind: Cow::Borrowed(kind),
            title: Cow::Borrowed(title),
            status: status.as_u16(),
            detail: None,
            retry_after_s: None,
        }
    }

    /// With what to do about it.
    pub fn with_detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Something asked for is wrong in itself.
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, "urn:roundtable:invalid", "this request is not as it should be")
            .with_detail(detail)
    }

    /// Nobody has said who is asking.
    pub const fn signed_out() -> Self {
        Problem::new(StatusCode::UNAUTHORIZED, "urn:roundtable:signed-out", "sign in first")
    }

    /// Whoever asks may not.
    pub const fn forbidden() -> Self {
        Problem::new(StatusCode::FORBIDDEN, "urn:roundtable:forbidden", "you may not do this")
    }

    /// There is no such thing.
    pub const fn not_found(title: &'static str) -> Self {
        Problem::new(StatusCode::NOT_FOUND, "urn:roundtable:not-found", title)
    }

    /// Too often.
    pub fn too_often(wait: Duration) -> Self {
        let title = "too many tries; wait a little";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "urn:roundtable:too-often", title);
        Problem { retry_after_s: Some(wait.as_secs() + 1), ..problem }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_s
            && let Ok(value) = HeaderValue::from_str(&seconds.to_string())
        {
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Taken => Problem::new(StatusCode::CONFLICT, "urn:roundtable:taken", "that is taken"),
            StoreError::Gone => Problem::not_found("that is gone"),
            StoreError::Full => {
                tracing::error!(%error, "a request could not be served");
                let title = "the relay's disk is full; nothing was changed";
                Problem::new(StatusCode::INSUFFICIENT_STORAGE, "urn:roundtable:disk-full", title)
            }
            _ => {
                tracing::error!(%error, "a request could not be served");
                let title = "the relay's database cannot be used now; nothing was changed";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "urn:roundtable:database", title)
            }
        }
    }
}

impl From<NoRandomness> for Problem {
    fn from(error: NoRandomness) -> Self {
        tracing::error!(%error, "a request could not be served");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "urn:roundtable:internal",
            "the relay cannot do this now",
        )
    }
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        let problem = Problem::new(
            StatusCode::UNAUTHORIZED,
            match error {
                TokenError::Expired => "urn:roundtable:token-expired",
                _ => "urn:roundtable:token-invalid",
            },
            "the bearer token is not good for this",
        );
        problem.with_detail(error.to_string())
    }
}

impl From<NoSeat> for Problem {
    fn from(no_seat: NoSeat) -> Self {
        let (status, kind, title) = match no_seat {
            NoSeat::Banned => {
                (StatusCode::FORBIDDEN, "urn:roundtable:removed", "you were removed from this room")
            }
            NoSeat::Over => {
                (StatusCode::FORBIDDEN, "urn:roundtable:over", "this meeting was ended for everybody")
            }
            NoSeat::Locked => (StatusCode::FORBIDDEN, "urn:roundtable:room-locked", "this room is locked"),
            NoSeat::Full => {
                (StatusCode::SERVICE_UNAVAILABLE, "urn:roundtable:room-full", "this room is full")
            }
            NoSeat::NotYours => {
                (StatusCode::FORBIDDEN, "urn:roundtable:not-your-seat", "this seat is somebody else's")
            }
        };
        Problem::new(status, kind, title)
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoToken => Problem::signed_out(),
            Denied::Token(error) => error.into(),
            Denied::Elsewhere => Problem::forbidden(),
            Denied::NoSeat(no_seat) => no_seat.into(),
            Denied::TooManyRooms => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "urn:roundtable:too-many-rooms",
                "the relay has too many rooms open",
            ),
        }
    }
}

impl From<NoRing> for Problem {
    fn from(no_ring: NoRing) -> Self {
        let (status, kind, title) = match no_ring {
            NoRing::NotRung => {
                (StatusCode::NOT_FOUND, "urn:roundtable:not-rung", "you are not rung for this call")
            }
            NoRing::Over => {
                (StatusCode::CONFLICT, "urn:roundtable:call-over", "this call does not ring any more")
            }
            NoRing::Answered => {
                (StatusCode::CONFLICT, "urn:roundtable:answered", "this call was answered already")
            }
            NoRing::NotYours => {
                (StatusCode::FORBIDDEN, "urn:roundtable:forbidden", "somebody else placed this call")
            }
            NoRing::TooMany => {
                (StatusCode::BAD_REQUEST, "urn:roundtable:too-many", "one call rings 50 people at most")
            }
        };
        Problem::new(status, kind, title)
    }
}

/// What can go wrong everywhere, for the description of each operation.
#[derive(utoipa::IntoResponses)]
pub enum Problems {
    /// The request is not as it should be.
    #[response(status = 400, content_type = "application/problem+json")]
    Invalid(#[to_schema] Problem),
    /// No bearer token, or not a good one.
    #[response(status = 401, content_type = "application/problem+json")]
    SignedOut(#[to_schema] Problem),
    /// Whoever asks may not.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] Problem),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] Problem),
    /// Too often; `Retry-After` says when again.
    #[response(status = 429, content_type = "application/problem+json")]
    TooOften(#[to_schema] Problem),
}
