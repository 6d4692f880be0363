//! Sockets that throw away what comes: the receivers of the lean limit.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, SocketAddrV4, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quinn_udp::{RecvMeta, UdpSocketState};

const EVENTS_MAX: usize = 256;
const WAIT_MAX_MS: u8 = 20;

/// As many sockets as asked for, on free ports of loopback. They take GRO batches as QUIC's receivers do, or the
/// kernel would take the batches apart at the sender's cost.
#[derive(Debug)]
pub struct Sink {
    sockets: Vec<(UdpSocket, UdpSocketState)>,
    /// Where they are.
    pub addresses: Vec<SocketAddrV4>,
}

impl Sink {
    /// Opens them.
    pub fn new(count: usize) -> anyhow::Result<Self> {
        let mut sink = Sink { sockets: Vec::new(), addresses: Vec::new() };
        for _ in 0..count {
            let socket = UdpSocket::bind("127.0.0.1:0").context("no UDP port is free")?;
            socket.set_nonblocking(true)?;
            let SocketAddr::V4(address) = socket.local_addr()? else { bail!("not an IPv4 address") };
            let state = UdpSocketState::new((&socket).into())?;
            sink.addresses.push(address);
            sink.sockets.push((socket, state));
        }
        Ok(sink)
    }

    /// Empties them until `stop` says so. Returns how many packets came.
    pub fn run(&self, stop: &AtomicBool) -> anyhow::Result<u64> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for ((socket, _), index) in self.sockets.iter().zip(0..) {
            epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
        }
        let mut memory = vec![0; 64 << 10];
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let mut packets = 0;
        while !stop.load(Ordering::Relaxed) {
            let count = epoll.wait(&mut events, EpollTimeout::from(WAIT_MAX_MS))?;
            for event in events.iter().take(count) {
                let index = usize::try_from(event.data())?;
                let Some((socket, state)) = self.sockets.get(index) else { continue };
                let mut metas = [RecvMeta::default()];
                match state.recv(socket.into(), &mut [IoSliceMut::new(&mut memory)], &mut metas) {
                    Ok(_) => {
                        let [meta] = metas;
                        packets += meta.len.div_ceil(meta.stride.max(1)) as u64;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(packets)
    }
}
