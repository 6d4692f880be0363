//! Who may come in at all: one place that decides on Host, :authority and Origin for HTTP, WebTransport and
//! metrics. Pure.
//!
//! A page anywhere on the web can make its visitor's browser knock at a loopback port: WebTransport knows no
//! CORS, and a name of the attacker's can be made to resolve to 127.0.0.1. So a request must name us as we are
//! known (Host, :authority), and a browser must have loaded the page from us (Origin). A native client sends no
//! Origin. The open mode, in which whoever is on this machine may do everything, depends on this.

use std::{collections::HashSet, net::IpAddr};

use crate::config::options::PublicUrl;

/// Why somebody is turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No Host, more than one, or one that is none.
    #[error("the request does not say whom it is for")]
    NoHost,
    /// Meant for somebody else: perhaps a name of an attacker's that was made to lead here.
    #[error("this relay is not known under that name; --public-url names the addresses people use")]
    ForeignHost,
    /// A browser with a page that is not ours.
    #[error("that page is not this relay's; --public-url names the addresses people use")]
    ForeignOrigin,
}

impl Refusal {
    /// The HTTP status of a refusal.
    pub const fn status(self) -> u16 {
        match self {
            Refusal::NoHost => 400,
            Refusal::ForeignHost => 421,
            Refusal::ForeignOrigin => 403,
        }
    }
}

/// A listener of the page, as bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageListener {
    /// Address; unspecified for all of a family.
    pub ip: IpAddr,
    /// The real port.
    pub port: u16,
    /// True when it speaks TLS.
    pub is_https: bool,
}

/// The names and origins that are ours.
#[derive(Debug, Clone)]
pub struct Doors {
    names: HashSet<String>,
    ips: HashSet<IpAddr>,
    origins: HashSet<Origin>,
    page_ports: HashSet<(bool, u16)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

impl Doors {
    /// `quic` are the addresses that calls arrive at, `pages` the page's listeners, both as bound.
    pub fn new(quic: &[IpAddr], pages: &[PageListener], public_urls: &[PublicUrl]) -> Self {
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        let listened = quic.iter().copied().chain(pages.iter().map(|page| page.ip));
        let mut ips: HashSet<IpAddr> = listened.filter(|ip| !ip.is_unspecified()).collect();
        ips.extend(loopback);
        let mut names: HashSet<String> = HashSet::from(["localhost".to_owned()]);
        for url in public_urls {
            match url.host.parse() {
                Ok(ip) => drop(ips.insert(ip)),
                Err(_) => drop(names.insert(url.host.clone())),
            }
        }
        let page_ports: HashSet<(bool, u16)> = pages.iter().map(|page| (page.is_https, page.port)).collect();
        let own_hosts = ["localhost".to_owned()].into_iter().chain(ips.iter().map(ToString::to_string));
        let mut origins: HashSet<Origin> = own_hosts
            .flat_map(|host| {
                let of_port = move |&(is_https, port): &(bool, u16)| (is_https, host.clone(), port);
                page_ports.iter().map(of_port).collect::<Vec<_>>()
            })
            .map(|(is_https, host, port)| Origin { is_https, host, port })
            .collect();
        origins.extend(public_urls.iter().map(|url| Origin {
            is_https: url.is_https,
            host: url.host.clone(),
            port: url.port,
        }));
        Doors { names, ips, origins, page_ports }
    }

    /// An HTTP or metrics request. `hosts` are all its Host fields (or its :authority); `local` is the address
    /// it was sent to, if known: who listens on all addresses is known under each of them.
    pub fn http<'a>(
        &self,
        hosts: impl IntoIterator<Item = &'a str>,
        local: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        let mut hosts = hosts.into_iter();
        match (hosts.next(), hosts.next()) {
            (Some(host), None) => self.host(host, local),
            (None, _) | (_, Some(_)) => Err(Refusal::NoHost),
        }
    }

    /// A WebTransport CONNECT, or a command to the API: also asks where a browser's page came from.
    pub fn webtransport(
        &self,
        authority: &str,
        origin: Option<&str>,
        local: Option<IpAddr>,
    ) -> Result<(), Refusal> {
        self.host(authority, local)?;
        match origin {
            None => Ok(()),
            Some(origin) => self.origin(origin, local),
        }
    }

    fn host(&self, authority: &str, local: Option<IpAddr>) -> Result<(), Refusal> {
        let (host, _port) = split_authority(authority).ok_or(Refusal::NoHost)?;
        let is_ours = match host.parse::<IpAddr>() {
            Ok(ip) => self.ips.contains(&ip) || local.map(|local| local.to_canonical()) == Some(ip),
            Err(_) => self.names.contains(&host),
        };
        if is_ours { Ok(()) } else { Err(Refusal::ForeignHost) }
    }

    fn origin(&self, text: &str, local: Option<IpAddr>) -> Result<(), Refusal> {
        let url: PublicUrl = text.parse().map_err(|_| Refusal::ForeignOrigin)?;
        let is_this_address = local.is_some_and(|local| {
            url.host.parse() == Ok(local.to_canonical())
                && self.page_ports.contains(&(url.is_https, url.port))
        });
        let origin = Origin { is_https: url.is_https, host: url.host, port: url.port };
        if is_this_address || self.origins.contains(&origin) { Ok(()) } else { Err(Refusal::ForeignOrigin) }
    }
}

/// `host[:port]` taken apart: the host in lower case, an IPv6 address canonical and without brackets. `None` for
/// what is no authority, or has user information.
pub fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']')?;
            let ip: std::net::Ipv6Addr = ip.parse().ok()?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (ip.to_string(), port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (text.to_ascii_lowercase(), None),
        },
    };
    let is_host_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host_byte) {
        return None;
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    fn page(ip: IpAddr, port: u16, is_https: bool) -> PageListener {
        PageListener { ip, port, is_https }
    }

    /// Loopback only, as started without configuration.
    fn plain() -> Doors {
        Doors::new(&[V4, V6], &[page(V4, 8080, false), page(V6, 8080, false)], &[])
    }

    fn public() -> Doors {
        let any: IpAddr = [0, 0, 0, 0].into();
        Doors::new(&[any], &[page(any, 8443, true)], &["https://meet.example.org".parse().unwrap()])
    }

    #[test]
    fn a_request_must_name_us() {
        let ours = Ok(());
        let table = [
            ("localhost:8080", ours),
            ("LOCALHOST", ours),
            ("127.0.0.1:8080", ours),
            ("[::1]:8080", ours),
            ("[0:0:0:0:0:0:0:1]:8080", ours),
            ("127.0.0.1:1", ours),
            ("evil.example", Err(Refusal::ForeignHost)),
            ("localhost.evil.example", Err(Refusal::ForeignHost)),
            ("127.0.0.1.evil.example:8080", Err(Refusal::ForeignHost)),
            ("localhost.", Err(Refusal::ForeignHost)),
            ("192.0.2.1", Err(Refusal::ForeignHost)),
            ("[::2]", Err(Refusal::ForeignHost)),
            ("2130706433", Err(Refusal::ForeignHost)),
            ("", Err(Refusal::NoHost)),
            (":8080", Err(Refusal::NoHost)),
            ("user@localhost", Err(Refusal::NoHost)),
            ("localhost:port", Err(Refusal::NoHost)),
            ("localhost:99999", Err(Refusal::NoHost)),
            ("[::1", Err(Refusal::NoHost)),
            ("[::1]8080", Err(Refusal::NoHost)),
            ("local host", Err(Refusal::NoHost)),
        ];
        for (host, expected) in table {
            assert_eq!(plain().http([host], Some(V4)), expected, "{host}");
        }
        assert_eq!(plain().http([], None), Err(Refusal::NoHost));
        assert_eq!(plain().http(["localhost", "localhost"], None), Err(Refusal::NoHost));
    }

    #[test]
    fn a_browser_must_have_the_page_from_us() {
        let foreign = Err(Refusal::ForeignOrigin);
        let table = [
            (None, Ok(())),
            (Some("http://127.0.0.1:8080"), Ok(())),
            (Some("http://localhost:8080"), Ok(())),
            (Some("http://[::1]:8080"), Ok(())),
            (Some("https://127.0.0.1:8080"), foreign),
            (Some("http://127.0.0.1:3000"), foreign),
            (Some("http://127.0.0.1"), foreign),
            (Some("http://evil.example:8080"), foreign),
            (Some("null"), foreign),
            (Some(""), foreign),
            (Some("http://127.0.0.1:8080@evil.example"), foreign),
            (Some("chrome-extension://abcdef"), foreign),
        ];
        for (origin, expected) in table {
            assert_eq!(plain().webtransport("127.0.0.1:4443", origin, Some(V4)), expected, "{origin:?}");
        }
        let refusal = plain().webtransport("evil.example:4443", Some("http://127.0.0.1:8080"), Some(V4));
        assert_eq!(refusal, Err(Refusal::ForeignHost));
    }

    #[test]
    fn a_public_url_opens_the_door_for_its_name_only() {
        let local = Some(IpAddr::from([192, 0, 2, 7]));
        assert_eq!(public().http(["meet.example.org"], local), Ok(()));
        assert_eq!(public().http(["other.example.org"], local), Err(Refusal::ForeignHost));
        let table = [
            ("https://meet.example.org", Ok(())),
            ("https://meet.example.org:443", Ok(())),
            ("http://meet.example.org", Err(Refusal::ForeignOrigin)),
            ("https://meet.example.org:8443", Err(Refusal::ForeignOrigin)),
            ("https://192.0.2.7:8443", Ok(())),
            ("https://192.0.2.7", Err(Refusal::ForeignOrigin)),
            ("https://192.0.2.8:8443", Err(Refusal::ForeignOrigin)),
            ("https://localhost:8443", Ok(())),
        ];
        for (origin, expected) in table {
            let found = public().webtransport("meet.example.org:4443", Some(origin), local);
            assert_eq!(found, expected, "{origin}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_known_under_the_address_asked_for() {
        let local = Some("::ffff:192.0.2.7".parse().unwrap());
        assert_eq!(public().http(["192.0.2.7:8443"], local), Ok(()));
        assert_eq!(public().http(["192.0.2.8:8443"], local), Err(Refusal::ForeignHost));
        assert_eq!(public().http(["192.0.2.7:8443"], None), Err(Refusal::ForeignHost));
    }
}
