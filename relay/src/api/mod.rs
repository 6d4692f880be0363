//! The JSON API under `/api`, described by `/api/openapi.json`. Commands take a bearer token, never the cookie alone;
//! errors are problem documents ([`problem`]).
//!
//! - [`sign_in`], [`me`], [`people`]: who somebody is, their own account, the others.
//! - [`rooms`], [`join`], [`participants`], [`chat`], [`invitations`]: rooms and the people in them.
//! - [`calls`], [`history`]: ringing people, and what is remembered.
//! - [`who`]: whom a request is from. [`input`]: what it may hold. [`rates`]: how often.

pub mod calls;
pub mod chat;
pub mod history;
pub mod input;
pub mod invitations;
pub mod join;
pub mod me;
pub mod participants;
pub mod people;
pub mod problem;
pub mod rates;
pub mod rooms;
pub mod sign_in;
pub mod who;

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{problem::Problem, rates::Rates};
use crate::{
    call::Calls, clock::UnixMs, config::options::SignIn, doors::Doors, http::Via, meeting::Meetings,
    store::Store,
};

/// Tokens for the API and for media are good this long. Clients renew them at half of it.
pub const TOKEN_SPAN: Duration = Duration::from_secs(10 * 60);
/// A sign-in that is not used ends after this time.
pub const SIGN_IN_SPAN: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the API works on.
#[derive(Debug)]
pub struct Api {
    /// The names that are ours.
    pub doors: Arc<Doors>,
    /// What lasts.
    pub store: Store,
    /// Who is where.
    pub meetings: Arc<Meetings>,
    /// Who rings whom.
    pub calls: Arc<Calls>,
    /// Who may come in.
    pub sign_in: SignIn,
    /// People may make accounts themselves.
    pub sign_up: bool,
    /// Who may say on whose behalf a request comes.
    pub trusted_proxies: Vec<IpAddr>,
    /// How often anybody may do anything.
    pub rates: Rates,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Roundtable",
        description = "Rooms, people and calls of a Roundtable relay. Errors are problem documents (RFC 9457) whose \
                       `type` does not change. Times are Unix milliseconds. `api` is the token of a sign-in, \
                       `media` that of a seat in a room."
    ),
    modifiers(&Bearers),
    tags(
        (name = "sign-in", description = "Who somebody is"),
        (name = "people", description = "Users"),
        (name = "rooms", description = "Rooms, and the people in them"),
        (name = "calls", description = "Ringing people, and what is remembered"),
    )
)]
struct Description;

struct Bearers;

impl Modify for Bearers {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let bearer = |what: &str| {
            let http = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT");
            SecurityScheme::Http(http.description(Some(what.to_owned())).build())
        };
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme("api", bearer("The token of a sign-in, from /api/sign-in/token."));
        components.add_security_scheme("media", bearer("The token of a seat, from joining a room."));
    }
}

/// All operations, and their description.
fn operations() -> (Router<Arc<Api>>, utoipa::openapi::OpenApi) {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(sign_in::ways))
        .routes(routes!(sign_in::by_name))
        .routes(routes!(sign_in::by_password))
        .routes(routes!(sign_in::by_invitation))
        .routes(routes!(sign_in::sign_up))
        .routes(routes!(sign_in::token, sign_in::sign_out))
        .routes(routes!(me::me, me::change, me::forget))
        .routes(routes!(me::change_password))
        .routes(routes!(me::export))
        .routes(routes!(me::sign_ins))
        .routes(routes!(me::end_sign_in))
        .routes(routes!(people::find))
        .routes(routes!(people::all, people::make))
        .routes(routes!(people::change, people::forget))
        .routes(routes!(rooms::mine, rooms::make))
        .routes(routes!(rooms::room, rooms::change, rooms::delete))
        .routes(routes!(rooms::end))
        .routes(routes!(rooms::bans))
        .routes(routes!(rooms::lift_ban))
        .routes(routes!(join::join))
        .routes(routes!(join::renew))
        .routes(routes!(join::leave))
        .routes(routes!(participants::participants))
        .routes(routes!(participants::change, participants::remove))
        .routes(routes!(participants::admit))
        .routes(routes!(participants::admit_all))
        .routes(routes!(participants::ask))
        .routes(routes!(participants::ask_all))
        .routes(routes!(chat::say, chat::said))
        .routes(routes!(invitations::invitations, invitations::invite))
        .routes(routes!(invitations::take_back))
        .routes(routes!(calls::place))
        .routes(routes!(calls::call))
        .routes(routes!(calls::ring))
        .routes(routes!(calls::accept))
        .routes(routes!(calls::decline))
        .routes(routes!(calls::cancel))
        .routes(routes!(calls::inbox))
        .routes(routes!(history::history))
        .routes(routes!(history::past_call, history::delete))
        .routes(routes!(history::messages))
        .split_for_parts()
}

/// The whole API, to be put behind the doors.
pub fn router(api: Arc<Api>) -> Router {
    let (router, description) = operations();
    let text = description.to_json().unwrap_or_default();
    let described = move || {
        let text = text.clone();
        async move { ([(header::CONTENT_TYPE, "application/json")], text) }
    };
    router
        .route("/api/openapi.json", get(described))
        .method_not_allowed_fallback(async || {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "urn:roundtable:not-found",
                "this cannot be done here",
            )
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&api), at_the_door))
        .with_state(api)
}

/// What every request must pass beyond the doors of the page: a browser must have the page from us, and nobody asks
/// too often.
async fn at_the_door(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    match api.let_pass(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

impl Api {
    fn let_pass(&self, request: &Request) -> Result<(), Problem> {
        let via = request.extensions().get::<Via>().copied().ok_or_else(Problem::forbidden)?;
        self.ensure_our_page(request.headers(), via)?;
        self.rates.request(self.client(request.headers(), via))
    }

    /// A request that a browser sends for a page names that page; ours is the only one that may send any. This is
    /// what keeps other pages from using a cookie, beside SameSite (which takes all ports of a host for one site).
    fn ensure_our_page(&self, headers: &HeaderMap, via: Via) -> Result<(), Problem> {
        let foreign = || {
            Problem::new(
                StatusCode::FORBIDDEN,
                "urn:roundtable:foreign-page",
                "that page is not this relay's",
            )
        };
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
                None | Some(b"same-origin" | b"none") => Ok(()),
                Some(_) => Err(foreign()),
            },
            (Some(origin), None) => {
                let origin = origin.to_str().map_err(|_| foreign())?;
                let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
                self.doors.webtransport(host, Some(origin), Some(via.local.ip())).map_err(|_| foreign())
            }
            (Some(_), Some(_)) => Err(foreign()),
        }
    }

    /// Where a request comes from: what the proxy says, if it is one we trust.
    fn client(&self, headers: &HeaderMap, via: Via) -> IpAddr {
        let peer = via.peer.ip().to_canonical();
        if !self.trusted_proxies.contains(&peer) {
            return peer;
        }
        // The last entry is the proxy's own; those before it are whatever the client wrote.
        let forwarded = headers.get_all("x-forwarded-for").iter().next_back();
        let last = forwarded.and_then(|value| value.to_str().ok()).and_then(|text| text.rsplit(',').next());
        last.and_then(|ip| ip.trim().parse::<IpAddr>().ok()).map_or(peer, |ip| ip.to_canonical())
    }

    /// Whether the browser speaks HTTPS, be it to us or to the proxy.
    fn is_https(&self, headers: &HeaderMap, via: Via) -> bool {
        let is_proxy = self.trusted_proxies.contains(&via.peer.ip().to_canonical());
        via.is_https || is_proxy && headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https")
    }

    /// Forgets what nobody needs any more. Every hour or so.
    pub async fn tidy(&self) {
        const GUEST_SPAN: Duration = Duration::from_secs(24 * 3600);
        let now = UnixMs::now();
        let store = &self.store;
        let done = async {
            store.forget_sign_ins(now).await?;
            store.forget_guests(now.before(GUEST_SPAN)).await?;
            store.forget_invitations(now).await?;
            store.forget_messages(now).await?;
            store.forget_bans(now).await
        };
        if let Err(error) = done.await {
            tracing::warn!(%error, "what is old could not be forgotten; it is tried again later");
        }
    }
}

/// An answer in JSON.
type Answer<T> = Result<Json<T>, Problem>;
