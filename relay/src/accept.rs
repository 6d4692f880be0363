//! Who is let in to a call: the doors for browsers, a bound per address for everybody.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use roundtable_transport::{Endpoint, Incoming, IncomingKind};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    doors::{Doors, Refusal},
    relay::{Admission, Relay},
    scope::{ScopeName, token_of_query},
};

/// What sessions that were told to leave may take beyond their time, before they are cut off.
const GRACE: Duration = Duration::from_secs(1);

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Turned {
    /// The doors are shut for it.
    #[error(transparent)]
    Away(#[from] Refusal),
    /// Its path names no room.
    #[error("the path names no room")]
    NoScope,
    /// Others from its address are here already.
    #[error("too many sessions from one address")]
    TooMany,
}

impl Turned {
    /// The HTTP status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Turned::Away(refusal) => refusal.status(),
            Turned::NoScope => 404,
            Turned::TooMany => 429,
        }
    }
}

/// Lets clients in until `stop` turns true; then tells them to go, and waits until they have.
pub async fn run(
    endpoint: Endpoint,
    doors: Arc<Doors>,
    addresses: Addresses,
    relay: Arc<Relay>,
    stop_timeout: Duration,
    mut stop: watch::Receiver<bool>,
) {
    let mut sessions = JoinSet::new();
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = stop.wait_for(|stop| *stop) => None,
        };
        let Some(incoming) = incoming else { break };
        while sessions.try_join_next().is_some() {}
        match admit(&doors, &addresses, &incoming) {
            Ok((admission, seat)) => {
                let relay = Arc::clone(&relay);
                sessions.spawn(async move {
                    match incoming.accept().await {
                        Ok(connection) => drop(relay.serve(connection, admission).await),
                        Err(error) => tracing::debug!(%error, "not let in"),
                    }
                    drop(seat);
                });
            }
            Err(turned) => {
                tracing::debug!(peer = %incoming.remote_address(), reason = %turned, "turned away");
                relay.counters.sessions_refused.increment();
                sessions.spawn(incoming.reject(turned.status()));
            }
        }
    }
    endpoint.stop_accepting();
    relay.go_away("", stop_timeout);
    let everybody_left = async { while sessions.join_next().await.is_some() {} };
    if tokio::time::timeout(stop_timeout + GRACE, everybody_left).await.is_err() {
        tracing::warn!("some sessions did not leave in time and were cut off");
    }
    endpoint.close().await;
}

/// Decides on a client that has finished its handshake. The seat is to be kept for as long as its session.
pub fn admit(doors: &Doors, addresses: &Addresses, incoming: &Incoming) -> Result<(Admission, Seat), Turned> {
    let mut admission = Admission::default();
    if let IncomingKind::WebTransport(request) = incoming.kind() {
        let local = incoming.local_ip();
        match request.origins.as_slice() {
            [] => doors.webtransport(&request.authority, None, local)?,
            [origin] => doors.webtransport(&request.authority, Some(origin), local)?,
            // Browsers send one. Whoever sends more is up to something.
            [_, _, ..] => return Err(Turned::Away(Refusal::ForeignOrigin)),
        }
        admission.scope = Some(ScopeName::from_path(&request.path).ok_or(Turned::NoScope)?);
        admission.token = request.query.as_deref().and_then(token_of_query);
    }
    let seat = addresses.take_seat(incoming.remote_address().ip()).ok_or(Turned::TooMany)?;
    Ok((admission, seat))
}

/// Counts sessions per address, of IPv6 per /64: what one household or one machine gets. Loopback is not
/// counted, since a proxy or a test may stand for many there.
#[derive(Debug, Clone)]
pub struct Addresses {
    sessions_max: usize,
    sessions_by_network: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    /// At most so many sessions for each.
    pub fn new(sessions_max: usize) -> Self {
        Addresses { sessions_max, sessions_by_network: Arc::default() }
    }

    fn take_seat(&self, ip: IpAddr) -> Option<Seat> {
        let ip = ip.to_canonical();
        if ip.is_loopback() {
            return Some(Seat { addresses: self.clone(), network: None });
        }
        let network = network(ip);
        let mut sessions = self.sessions_by_network.lock().unwrap_or_else(PoisonError::into_inner);
        let count = sessions.entry(network).or_default();
        if *count >= self.sessions_max {
            return None;
        }
        *count += 1;
        drop(sessions);
        Some(Seat { addresses: self.clone(), network: Some(network) })
    }
}

fn network(ip: IpAddr) -> IpAddr {
    const NETWORK_BITS_V6: u128 = !0 << 64;
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => IpAddr::V6((u128::from(ip) & NETWORK_BITS_V6).into()),
    }
}

/// A session's place among those of its address; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    addresses: Addresses,
    network: Option<IpAddr>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(network) = self.network else { return };
        let mut sessions = self.addresses.sessions_by_network.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = sessions.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_so_many_seats_and_has_them_back() {
        let addresses = Addresses::new(2);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let first = addresses.take_seat(here).unwrap();
        let _second = addresses.take_seat("::ffff:192.0.2.1".parse().unwrap()).unwrap();
        assert!(addresses.take_seat(here).is_none());
        assert!(addresses.take_seat("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(addresses.take_seat(here).is_some());
    }

    #[test]
    fn a_slash_64_is_one_address_and_loopback_is_none() {
        let addresses = Addresses::new(1);
        let _one = addresses.take_seat("2001:db8::1".parse().unwrap()).unwrap();
        assert!(addresses.take_seat("2001:db8::2".parse().unwrap()).is_none());
        assert!(addresses.take_seat("2001:db8:0:1::2".parse().unwrap()).is_some());
        let loopback: Vec<_> = (0..9).map(|_| addresses.take_seat("127.0.0.1".parse().unwrap())).collect();
        assert!(loopback.iter().all(Option::is_some));
    }

    #[test]
    fn nothing_is_remembered_of_who_has_left() {
        let addresses = Addresses::new(1);
        drop(addresses.take_seat("192.0.2.1".parse().unwrap()));
        assert!(addresses.sessions_by_network.lock().unwrap().is_empty());
    }
}
