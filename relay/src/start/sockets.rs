//! Binding, and saying what to do when it does not work.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
};

use tokio::net::TcpListener;

use crate::config::Listen;

/// Why an address cannot be listened on. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(super) enum BindError {
    /// Taken.
    #[error(
        "{address} ({protocol}) is in use: another relay, perhaps? Stop it, or choose another port with {flag}"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// The flag that asked.
        flag: &'static str,
    },
    /// Not ours to take.
    #[error(
        "{address} ({protocol}) needs rights that this process does not have: choose a port above 1023 with {flag}"
    )]
    Forbidden {
        /// What was asked for.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// The flag that asked.
        flag: &'static str,
    },
    /// Not this machine's.
    #[error("{address} ({protocol}): this machine does not have that address; choose another with {flag}")]
    NotOurs {
        /// What was asked for.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// The flag that asked.
        flag: &'static str,
    },
    /// Anything else.
    #[error("{address} ({protocol}) cannot be listened on: {source}. Choose another with {flag}")]
    Other {
        /// What was asked for.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// The flag that asked.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, protocol: &'static str, flag: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { address, protocol, flag },
            io::ErrorKind::PermissionDenied => BindError::Forbidden { address, protocol, flag },
            io::ErrorKind::AddrNotAvailable => BindError::NotOurs { address, protocol, flag },
            _ if is_family_missing(&source) => BindError::NotOurs { address, protocol, flag },
            _ => BindError::Other { address, protocol, flag, source },
        }
    }

    fn is_not_ours(&self) -> bool {
        matches!(self, BindError::NotOurs { .. })
    }
}

/// A kernel without IPv6 does not even make the socket.
fn is_family_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// Binds every address with `bind`. Of the default ones, those this machine does not have are left out, as long
/// as one is left.
pub(super) fn bind_all<T>(
    flag: &'static str,
    protocol: &'static str,
    listen: &Listen,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> Result<Vec<T>, BindError> {
    let mut bound = Vec::new();
    let mut left_out = None;
    for &address in &listen.addresses {
        match bind(address).map_err(|source| BindError::new(address, protocol, flag, source)) {
            Ok(socket) => bound.push(socket),
            Err(error) if listen.is_default && error.is_not_ours() => {
                tracing::warn!(%address, protocol, "this machine does not have that address; going on without it");
                left_out = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match left_out {
        Some(error) if bound.is_empty() => Err(error),
        Some(_) | None => Ok(bound),
    }
}

/// TCP listeners on every address.
pub(super) fn tcp(flag: &'static str, listen: &Listen) -> Result<Vec<TcpListener>, BindError> {
    bind_all(flag, "TCP", listen, |address| {
        let socket = StdTcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    })
}

/// The same for what the relay can do without: a default address that is taken is given up.
pub(super) fn spare_tcp(flag: &'static str, listen: &Listen) -> Result<Vec<TcpListener>, BindError> {
    match tcp(flag, listen) {
        Err(BindError::InUse { address, .. }) if listen.is_default => {
            tracing::warn!(%address, "that address is in use; going on without it ({flag} chooses another, or off)");
            Ok(Vec::new())
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(addresses: &[&str], is_default: bool) -> Listen {
        Listen { addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(), is_default }
    }

    fn without_ipv6(address: SocketAddr) -> io::Result<SocketAddr> {
        if address.is_ipv6() { Err(io::Error::from_raw_os_error(97)) } else { Ok(address) }
    }

    #[test]
    fn a_machine_without_ipv6_starts_when_nobody_asked_for_it() {
        let both = ["127.0.0.1:4443", "[::1]:4443"];
        let bound = bind_all("--listen", "UDP", &listen(&both, true), without_ipv6).unwrap();
        assert_eq!(bound, ["127.0.0.1:4443".parse().unwrap()]);
        let error = bind_all("--listen", "UDP", &listen(&both, false), without_ipv6).unwrap_err();
        assert!(error.is_not_ours());
        assert!(bind_all("--listen", "UDP", &listen(&["[::1]:4443"], true), without_ipv6).is_err());
    }

    #[test]
    fn a_port_in_use_is_said_with_its_flag() {
        let taken = StdTcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let bind = |address: SocketAddr| StdTcpListener::bind(address);
        for is_default in [true, false] {
            let error =
                bind_all("--http", "TCP", &listen(&[&address], is_default), bind).unwrap_err().to_string();
            assert!(
                error.contains(&address) && error.contains("in use") && error.contains("--http"),
                "{error}"
            );
        }
    }
}
