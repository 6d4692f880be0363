//! The page and what it asks for: where calls go, and the certificate's hash.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::{Extension, Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
    routing::get,
};
use roundtable_web::{Asset, Page};
use serde::Serialize;

use super::{Via, guard};
use crate::{
    certificate::Store,
    doors::{Doors, split_authority},
};

/// What the page's routes know.
#[derive(Debug)]
pub struct Site {
    /// The names that are ours.
    pub doors: Arc<Doors>,
    /// The certificate of calls.
    pub certificate: Arc<Store>,
    /// Where calls arrive, as bound.
    pub quic: Vec<SocketAddr>,
}

/// The page, health, the certificate's hash, and `api`.
pub fn router(site: Arc<Site>, api: Router) -> Router {
    let doors = Arc::clone(&site.doors);
    let router = Router::new()
        .route("/", get(page))
        .route("/room/{room}", get(page))
        .route("/assets/{name}", get(asset))
        .route("/favicon.svg", get(favicon))
        .route("/healthz", get(health))
        .route("/certificate.sha256", get(certificate_hashes))
        .route("/api/relay", get(relay))
        .fallback(nothing_here)
        .with_state(site)
        .merge(api);
    guard::guarded(router, doors)
}

/// Sends who speaks HTTP to an HTTPS port to the same place in HTTPS.
pub fn redirects(doors: Arc<Doors>) -> Router {
    guard::guarded(Router::new().fallback(to_https), doors)
}

async fn to_https(headers: HeaderMap, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    match host(&headers) {
        Some(host) => Redirect::permanent(&format!("https://{host}{path}")).into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Only after the doors, which know that there is one and that it is ours.
fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST).and_then(|host| host.to_str().ok())
}

async fn page(State(site): State<Arc<Site>>, Extension(via): Extension<Via>, headers: HeaderMap) -> Response {
    let (status, html) = match roundtable_web::page() {
        Page::Built(html) => (StatusCode::OK, html),
        Page::Missing(explanation) => (StatusCode::SERVICE_UNAVAILABLE, explanation),
    };
    let calls = site.calls_url(host(&headers).unwrap_or_default(), via.local.ip());
    // The one policy of trusted types lets the page start its worker, and nothing else.
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; \
         worker-src 'self'; font-src 'self'; manifest-src 'self'; connect-src 'self' {calls}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types roundtable"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (status, headers, html).into_response()
}

async fn asset(
    State(site): State<Arc<Site>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Response {
    match roundtable_web::asset(&name) {
        Some(asset) if asset.is_worker() => {
            worker(asset, &site.calls_url(host(&headers).unwrap_or_default(), via.local.ip()))
        }
        Some(asset) => embedded(asset, "public, max-age=31536000, immutable"),
        None => nothing_here().await,
    }
}

/// A worker has the policy that it came with, not the page's. It names where calls go, which the settings may
/// change: so it is asked for every time.
fn worker(asset: &'static Asset, calls: &str) -> Response {
    let policy = format!("default-src 'none'; connect-src 'self' {calls}");
    let headers = [
        (header::CONTENT_TYPE, asset.content_type.to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, asset.bytes).into_response()
}

async fn favicon() -> Response {
    match roundtable_web::asset("favicon.svg") {
        Some(asset) => embedded(asset, "no-cache"),
        None => nothing_here().await,
    }
}

fn embedded(asset: &'static Asset, caching: &'static str) -> Response {
    let headers = [(header::CONTENT_TYPE, asset.content_type), (header::CACHE_CONTROL, caching)];
    (headers, asset.bytes).into_response()
}

async fn health() -> &'static str {
    "ok\n"
}

/// One hash a line: of the certificate in use, and of the next while it changes. No CORS: who may read it can
/// join, so other pages may not.
async fn certificate_hashes(State(site): State<Arc<Site>>) -> String {
    site.certificate.shown().hashes.iter().map(|hash| format!("{hash}\n")).collect()
}

/// What the page must know before it can join a call.
#[derive(Debug, Serialize)]
struct Relay {
    /// Where calls go, seen from this browser: a room's path is appended.
    calls: String,
    /// True when the browser has to be told the certificate's hash.
    is_certificate_pinned: bool,
    /// The relay's version.
    version: &'static str,
}

async fn relay(
    State(site): State<Arc<Site>>,
    Extension(via): Extension<Via>,
    headers: HeaderMap,
) -> Json<Relay> {
    Json(Relay {
        calls: site.calls_url(host(&headers).unwrap_or_default(), via.local.ip()),
        is_certificate_pinned: site.certificate.shown().is_pinnable,
        version: env!("CARGO_PKG_VERSION"),
    })
}

async fn nothing_here() -> Response {
    (StatusCode::NOT_FOUND, "There is nothing here. The page is at /\n").into_response()
}

impl Site {
    /// Where a browser that reached the page as `host`, at our address `local`, finds the calls.
    fn calls_url(&self, host: &str, local: IpAddr) -> String {
        let name = split_authority(host).map_or_else(String::new, |(name, _port)| name);
        let wanted = match (name.parse::<IpAddr>(), name.as_str()) {
            (Ok(ip), _) => Some(ip),
            // Chromium tries ::1 for `localhost` and does not fall back, so it gets an address.
            (Err(_), "localhost" | "") => None,
            (Err(_), name) => {
                let port = self.listener_for(local).map_or(0, |listener| listener.port());
                return format!("https://{name}:{port}");
            }
        };
        let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let candidates = wanted.into_iter().chain([local.to_canonical()]).chain(loopback);
        let found = candidates.into_iter().find_map(|ip| {
            let listener = self.quic.iter().find(|listener| serves(listener, ip))?;
            Some(SocketAddr::new(ip, listener.port()))
        });
        match found.or_else(|| self.quic.first().copied()) {
            Some(address) => format!("https://{address}"),
            None => String::new(),
        }
    }

    fn listener_for(&self, local: IpAddr) -> Option<&SocketAddr> {
        let beyond = |listener: &&SocketAddr| !listener.ip().is_loopback();
        let serving = |listener: &&SocketAddr| serves(listener, local.to_canonical());
        self.quic.iter().find(serving).or_else(|| self.quic.iter().find(beyond)).or_else(|| self.quic.first())
    }
}

fn serves(listener: &SocketAddr, ip: IpAddr) -> bool {
    listener.ip() == ip || (listener.ip().is_unspecified() && listener.is_ipv4() == ip.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::own::OwnCertificate;

    fn site(quic: &[&str]) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let own = OwnCertificate::open(folder.path(), vec!["localhost".into()], std::time::SystemTime::now());
        Site {
            doors: Arc::new(Doors::new(&[], &[], &[])),
            certificate: Arc::new(Store::new(own.unwrap().shown()).unwrap()),
            quic: quic.iter().map(|address| address.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_page_finds_the_calls_at_the_address_it_was_found_at() {
        let both = ["127.0.0.1:4443", "[::1]:4444"];
        let any = ["0.0.0.0:4443", "[::]:4444"];
        let table: [(&[&str], &str, &str, &str); 10] = [
            (&both, "127.0.0.1:8080", "127.0.0.1", "https://127.0.0.1:4443"),
            (&both, "[::1]:8080", "::1", "https://[::1]:4444"),
            (&both, "localhost:8080", "127.0.0.1", "https://127.0.0.1:4443"),
            (&both, "localhost:8080", "::1", "https://[::1]:4444"),
            (&["[::1]:4443"], "127.0.0.1:8080", "127.0.0.1", "https://[::1]:4443"),
            (&any, "192.0.2.7:8443", "192.0.2.7", "https://192.0.2.7:4443"),
            (&any, "[2001:db8::7]:8443", "2001:db8::7", "https://[2001:db8::7]:4444"),
            (&any, "meet.example.org", "192.0.2.7", "https://meet.example.org:4443"),
            (
                &["127.0.0.1:4443", "192.0.2.7:5443"],
                "meet.example.org",
                "127.0.0.1",
                "https://meet.example.org:4443",
            ),
            (&["0.0.0.0:5443"], "meet.example.org", "::1", "https://meet.example.org:5443"),
        ];
        for (quic, host, local, expected) in table {
            assert_eq!(
                site(quic).calls_url(host, local.parse().unwrap()),
                expected,
                "{quic:?} {host} {local}"
            );
        }
    }
}
