//! What a person sees when the relay has come up, and what a script reads.

use std::{
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use serde::Serialize;

use crate::{certificate::Shown, config::Config, doors::PageListener};

/// One line of JSON on standard output (`--print-addresses`).
#[derive(Debug, Serialize)]
struct Addresses<'a> {
    /// UDP.
    quic: &'a [SocketAddr],
    /// Base URLs of the page.
    http: Vec<String>,
    /// Base URLs of the metrics.
    metrics: Vec<String>,
    /// What clients can pin.
    certificate_sha256: Vec<String>,
}

/// Tells where everything is.
pub(super) fn tell(
    config: &Config,
    quic: &[SocketAddr],
    pages: &[PageListener],
    metrics: &[SocketAddr],
    shown: &Shown,
) {
    let mut text = String::new();
    if config.print_addresses {
        let addresses = Addresses {
            quic,
            http: pages.iter().map(|page| page_url(page, SocketAddr::new(page.ip, page.port))).collect(),
            metrics: metrics.iter().map(|address| format!("http://{address}")).collect(),
            certificate_sha256: shown.hashes.iter().map(ToString::to_string).collect(),
        };
        text = serde_json::to_string(&addresses).unwrap_or_default();
        text.push('\n');
    } else {
        people(&mut text, quic, pages, shown);
    }
    let mut out = std::io::stdout().lock();
    // Nobody may be listening; the relay works all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn people(text: &mut String, quic: &[SocketAddr], pages: &[PageListener], shown: &Shown) {
    use std::fmt::Write as _;
    let call = quic.first().map(|&address| reachable(address).to_string()).unwrap_or_default();
    let pin = match shown.hashes.first() {
        Some(hash) if shown.is_pinnable => format!(" \\\n      --tls-sha256 {hash}"),
        Some(_) | None => String::new(),
    };
    let page = pages.first().map(|page| page_url(page, reachable(SocketAddr::new(page.ip, page.port))));
    let page = page.unwrap_or_default();
    // Writing to a String does not fail.
    let _ = writeln!(
        text,
        "Roundtable {} is up.\n\n  \
         Point a browser at   {page}\n  \
         A room of its own    {page}/room/my-room\n\n  \
         Play something into it, a film or (without FILE) the test card:\n    \
         roundtable-publisher --url https://{call}/my-room{pin} FILE\n  \
         Record it:\n    \
         roundtable-subscriber --url https://{call}/my-room{pin} --record recordings\n\n  \
         Ctrl-C stops the relay.\n",
        env!("CARGO_PKG_VERSION"),
    );
}

/// An address that works in a browser on this machine: nobody can connect to "all of them".
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn page_url(page: &PageListener, address: SocketAddr) -> String {
    let scheme = if page.is_https { "https" } else { "http" };
    format!("{scheme}://{address}")
}
