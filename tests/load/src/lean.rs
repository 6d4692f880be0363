//! The lean limit: what fan-out costs when nothing is done that cannot be left out. Keys of each receiver's own,
//! a packet with one DATAGRAM frame, sealed and with its header protected, sent as GSO batches by sendmmsg. No
//! acknowledgements, no congestion control, no streams, no objects.

use std::{
    io::IoSlice,
    net::{SocketAddrV4, UdpSocket},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, ensure};
use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, sendmmsg},
};
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey, quic::HeaderProtectionKey};
use serde::{Deserialize, Serialize};

use crate::{process, shape::Shape};

/// Flags, an 8-byte connection id, a 2-byte packet number: as QUIC's short header usually is.
const HEADER_BYTES: usize = 1 + CONNECTION_ID_BYTES + PACKET_NUMBER_BYTES;
const CONNECTION_ID_BYTES: usize = 8;
const PACKET_NUMBER_BYTES: usize = 2;
/// The DATAGRAM frame's type; it ends with the packet and needs no length.
const FRAME_TYPE: u8 = 0x30;
const TAG_BYTES: usize = 16;
/// Messages the kernel takes in one sendmmsg.
const MESSAGES_MAX: usize = 1024;

/// What the lean limit came to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Lean {
    /// Microseconds on a core, per datagram sent.
    pub cpu_us: f64,
    /// Datagrams handed to the kernel each second.
    pub datagrams_per_second: f64,
}

/// One receiver's keys.
struct Receiver {
    payload_key: LessSafeKey,
    header_key: HeaderProtectionKey,
    connection_id: [u8; CONNECTION_ID_BYTES],
    packet_number: u64,
}

impl Receiver {
    fn new(index: usize) -> anyhow::Result<Self> {
        let seed = u8::try_from(index % 251)?;
        let unusable = |_| anyhow!("a key is unusable");
        let key = UnboundKey::new(&aead::AES_128_GCM, &[seed; 16]).map_err(unusable)?;
        let header_key =
            HeaderProtectionKey::new(&aead::quic::AES_128, &[seed ^ 0x55; 16]).map_err(unusable)?;
        Ok(Receiver {
            payload_key: LessSafeKey::new(key),
            header_key,
            connection_id: [seed; CONNECTION_ID_BYTES],
            packet_number: 0,
        })
    }

    /// Appends a packet that carries `datagram`.
    fn packet(&mut self, datagram: &[u8], out: &mut Vec<u8>) -> anyhow::Result<()> {
        let start = out.len();
        let number = self.packet_number.to_be_bytes();
        self.packet_number += 1;
        out.push(0x40 | (PACKET_NUMBER_BYTES as u8 - 1));
        out.extend_from_slice(&self.connection_id);
        out.extend_from_slice(number.last_chunk::<PACKET_NUMBER_BYTES>().context("a number has 8 bytes")?);
        out.push(FRAME_TYPE);
        out.extend_from_slice(datagram);
        let packet = out.get_mut(start..).context("just written")?;
        let (header, payload) = packet.split_at_mut(HEADER_BYTES);
        let mut nonce = [0; aead::NONCE_LEN];
        for (to, from) in nonce.iter_mut().rev().zip(number.iter().rev()) {
            *to = *from;
        }
        let tag = self
            .payload_key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&*header), payload)
            .map_err(|_| anyhow!("a packet cannot be sealed"))?;
        out.extend_from_slice(tag.as_ref());
        let packet = out.get_mut(start..).context("just written")?;
        self.protect(packet).context("a packet is too short")
    }

    /// Header protection (RFC 9001, section 5.4): the sample begins four bytes after the packet number.
    fn protect(&self, packet: &mut [u8]) -> Option<()> {
        let number_at = 1 + CONNECTION_ID_BYTES;
        let sample = packet.get(number_at + 4..number_at + 4 + 16)?;
        let mask = self.header_key.new_mask(sample).ok()?;
        *packet.first_mut()? ^= mask.first()? & 0x1f;
        for (byte, mask) in packet.get_mut(number_at..)?.iter_mut().zip(mask.get(1..=PACKET_NUMBER_BYTES)?) {
            *byte ^= mask;
        }
        Some(())
    }
}

/// Sends frames of `shape` to `receivers` for as long as `duration`, and measures this process. Meant to run as a
/// process of its own.
pub fn run(shape: Shape, receivers: &[SocketAddrV4], duration: Duration) -> anyhow::Result<Lean> {
    ensure!(receivers.len() <= MESSAGES_MAX, "at most {MESSAGES_MAX} receivers");
    let socket = UdpSocket::bind("127.0.0.1:0").context("no UDP port is free")?;
    let addresses: Vec<Option<SockaddrIn>> =
        receivers.iter().map(|address| Some(SockaddrIn::from(*address))).collect();
    let mut keys: Vec<Receiver> = (0..receivers.len()).map(Receiver::new).collect::<anyhow::Result<_>>()?;
    let datagram = vec![0x5a; shape.datagram_bytes];
    let packet_bytes = HEADER_BYTES + 1 + datagram.len() + TAG_BYTES;
    let batch_bytes = packet_bytes * usize::from(shape.burst);
    let segment = u16::try_from(packet_bytes)?;
    let control = [ControlMessage::UdpGsoSegments(&segment)];
    let mut headers: MultiHeaders<SockaddrIn> =
        MultiHeaders::preallocate(receivers.len(), Some(cmsg_space!(u16)));
    let mut packets = Vec::with_capacity(batch_bytes * receivers.len());

    let pid = std::process::id();
    let cpu_before = process::usage(pid)?.cpu;
    let began = Instant::now();
    let mut due = began;
    let mut sent = 0_u64;
    while began.elapsed() < duration {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // Late frames are not made up for: the limit is what a frame costs.
        due = (due + shape.interval).max(Instant::now());
        packets.clear();
        for receiver in &mut keys {
            for _ in 0..shape.burst {
                receiver.packet(&datagram, &mut packets)?;
            }
        }
        let batches: Vec<[IoSlice<'_>; 1]> =
            packets.chunks(batch_bytes).map(|batch| [IoSlice::new(batch)]).collect();
        let mut done = 0;
        while let (Some(batches @ [_, ..]), Some(addresses)) = (batches.get(done..), addresses.get(done..)) {
            let flags = MsgFlags::empty();
            match sendmmsg(socket.as_raw_fd(), &mut headers, batches, addresses, control, flags) {
                Ok(results) => done += results.count(),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("sendmmsg"),
            }
        }
        sent += u64::from(shape.burst) * receivers.len() as u64;
    }
    let cpu = process::usage(pid)?.cpu - cpu_before;
    ensure!(sent > 0, "the time was too short for a frame");
    // Far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let sent = sent as f64;
    Ok(Lean {
        cpu_us: cpu.as_secs_f64() * 1e6 / sent,
        datagrams_per_second: sent / began.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_can_be_opened_with_its_receivers_key_alone() {
        let datagram = vec![7; 1024];
        let mut receiver = Receiver::new(3).unwrap();
        let mut out = Vec::new();
        receiver.packet(&datagram, &mut out).unwrap();
        receiver.packet(&datagram, &mut out).unwrap();
        let len = HEADER_BYTES + 1 + 1024 + TAG_BYTES;
        assert_eq!(out.len(), 2 * len);
        let mut second = out[len..].to_vec();
        // Protection is its own inverse.
        receiver.protect(&mut second).unwrap();
        assert_eq!(second[..HEADER_BYTES], [&[0x41][..], &[3; 8], &[0, 1]].concat());
        let (header, payload) = second.split_at_mut(HEADER_BYTES);
        let nonce = || Nonce::assume_unique_for_key([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        let other = Receiver::new(4).unwrap();
        let mut copy = payload.to_vec();
        assert!(other.payload_key.open_in_place(nonce(), Aad::from(&*header), &mut copy).is_err());
        let opened = receiver.payload_key.open_in_place(nonce(), Aad::from(&*header), payload).unwrap();
        assert_eq!(opened[0], FRAME_TYPE);
        assert_eq!(opened[1..], datagram);
    }

    #[test]
    fn every_receiver_gets_every_datagram_of_a_frame() {
        let sockets: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<SocketAddrV4> = sockets
            .iter()
            .map(|socket| match socket.local_addr().unwrap() {
                std::net::SocketAddr::V4(address) => address,
                std::net::SocketAddr::V6(_) => unreachable!(),
            })
            .collect();
        let shape = Shape { burst: 4, interval: Duration::from_secs(1), datagram_bytes: 500, priority: 0 };
        let lean = run(shape, &addresses, Duration::from_millis(1)).unwrap();
        assert!(lean.cpu_us > 0.0);
        for socket in &sockets {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            for _ in 0..4 {
                let mut packet = [0; 2000];
                assert_eq!(socket.recv(&mut packet).unwrap(), HEADER_BYTES + 1 + 500 + TAG_BYTES);
            }
        }
    }
}
