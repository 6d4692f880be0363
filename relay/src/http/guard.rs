//! What every request passes: the doors, limits on time and size, and the headers that keep a browser strict.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use super::Via;
use crate::doors::{Doors, Refusal};

/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// From a request's head to its answer's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// On every answer. A page that needs more says so in a policy of its own.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=(), usb=()",
    ),
];

/// Puts a router behind the doors.
pub fn guarded(router: Router, doors: Arc<Doors>) -> Router {
    router
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(in_time))
        .layer(middleware::from_fn_with_state(doors, through_the_door))
        .layer(middleware::from_fn(with_headers))
}

async fn through_the_door(
    State(doors): State<Arc<Doors>>,
    Extension(via): Extension<Via>,
    request: Request,
    next: Next,
) -> Response {
    match knock(&doors, via, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::FORBIDDEN);
            (status, format!("{refusal}.\n")).into_response()
        }
    }
}

fn knock(doors: &Doors, via: Via, request: &Request) -> Result<(), Refusal> {
    let local = Some(via.local.ip());
    let fields = request.headers().get_all(header::HOST).iter();
    let hosts: Vec<&str> =
        fields.map(|value| value.to_str()).collect::<Result<_, _>>().map_err(|_| Refusal::NoHost)?;
    doors.http(hosts, local)?;
    // A request line may name a host as well (RFC 9112, 3.2.2); it would win over the field.
    match request.uri().authority() {
        Some(authority) => doors.http([authority.as_str()], local),
        None => Ok(()),
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => (StatusCode::REQUEST_TIMEOUT, "That took too long.\n").into_response(),
    }
}

async fn with_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
