//! UDP sockets with buffers large enough for a key frame's burst.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Binds `address` and asks for `buffer_bytes` in both directions. The kernel's own default (212,992 bytes on Linux,
/// some 90 packets) overflows when a key frame comes; when it gives less than asked for, that is said once.
pub(crate) fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // So that the same port can be bound for IPv4 as well, on every system alike.
        socket.set_only_v6(true)?;
    }
    // Some systems refuse a size above their maximum instead of giving the maximum.
    let _ = socket.set_recv_buffer_size(buffer_bytes);
    let _ = socket.set_send_buffer_size(buffer_bytes);
    let (receive_bytes, send_bytes) = (given(socket.recv_buffer_size()?), given(socket.send_buffer_size()?));
    if receive_bytes < buffer_bytes || send_bytes < buffer_bytes {
        tracing::info!(
            %address,
            wanted_bytes = buffer_bytes,
            receive_bytes,
            send_bytes,
            "the kernel gives smaller UDP buffers than asked for; bursts may lose packets \
             (Linux: raise net.core.rmem_max and net.core.wmem_max)"
        );
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Linux reports twice of what was set: the other half is for its own bookkeeping.
fn given(reported_bytes: usize) -> usize {
    if cfg!(target_os = "linux") { reported_bytes / 2 } else { reported_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_can_have_the_same_port() {
        let v4 = bind("127.0.0.1:0".parse().unwrap(), 1 << 20).unwrap();
        let port = v4.local_addr().unwrap().port();
        let v6 = bind(SocketAddr::new("::1".parse().unwrap(), port), 1 << 20).unwrap();
        assert_eq!(v6.local_addr().unwrap().port(), port);
    }

    #[test]
    fn a_size_the_kernel_cannot_give_is_no_error() {
        assert!(bind("127.0.0.1:0".parse().unwrap(), 1 << 30).is_ok());
    }
}
