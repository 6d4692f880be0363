//! The link between sockets: a thread that takes datagrams, asks the lanes, and passes on what has arrived.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
};

use super::{
    impairment::Impairment,
    lane::{Counters, Lane},
};

/// Clients at once; datagrams of more are ignored.
const CLIENTS_MAX: usize = 1024;
/// A client that has been quiet this long is forgotten; QUIC's keep-alives come far more often.
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Datagrams of a client that wait for its task.
const QUEUE_MAX: usize = 4096;
/// Datagrams taken from a socket before others have their turn.
const BATCH_MAX: usize = 64;
/// Asked of the kernel, which may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;
/// Nothing on UDP is longer.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From those who talk to the link to the one behind it.
    Up,
    /// Back.
    Down,
}

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Settings {
    /// To the one behind it.
    pub up: Impairment,
    /// Back.
    pub down: Impairment,
}

impl Settings {
    /// The same both ways.
    pub fn both(impairment: Impairment) -> Self {
        Settings { up: impairment, down: impairment }
    }
}

/// A running link. It ends when dropped.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    control: watch::Sender<Control>,
    totals: Arc<Mutex<Totals>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Control {
    settings: Settings,
    /// Counts how often clients got a new address.
    rebinds: u64,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    up: Counters,
    down: Counters,
}

impl Link {
    /// A link on `listen` (port 0 takes a free one) to `target`. Each client has the link for itself: its own
    /// decisions, its own queues, and its own address towards the target.
    pub fn start(listen: SocketAddr, target: SocketAddr, settings: Settings, seed: u64) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let front = {
            // Sockets belong to the runtime that they are made in.
            let _inside = runtime.enter();
            Arc::new(bind(listen)?)
        };
        let address = front.local_addr()?;
        let (control, seen) = watch::channel(Control { settings, rebinds: 0, is_over: false });
        let totals = Arc::default();
        let proxy = Proxy {
            front,
            target,
            seed,
            control: seen,
            totals: Arc::clone(&totals),
            clients: HashMap::new(),
        };
        let thread = std::thread::Builder::new()
            .name("link".to_owned())
            .spawn(move || runtime.block_on(proxy.run()))?;
        Ok(Link { address, control, totals, thread: Some(thread) })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, one way.
    pub fn set(&self, direction: Direction, impairment: Impairment) {
        self.control.send_modify(|control| match direction {
            Direction::Up => control.settings.up = impairment,
            Direction::Down => control.settings.down = impairment,
        });
    }

    /// From now on, both ways.
    pub fn set_both(&self, impairment: Impairment) {
        self.control.send_modify(|control| control.settings = Settings::both(impairment));
    }

    /// Every client has another address from now on as the target sees it, as if a NAT had forgotten it. What
    /// still goes to the old one is lost.
    pub fn rebind(&self) {
        self.control.send_modify(|control| control.rebinds += 1);
    }

    /// What happened so far, all clients together.
    pub fn counters(&self, direction: Direction) -> Counters {
        let totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        match direction {
            Direction::Up => totals.up,
            Direction::Down => totals.down,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.control.send_modify(|control| control.is_over = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The side that clients talk to.
struct Proxy {
    front: Arc<UdpSocket>,
    target: SocketAddr,
    seed: u64,
    control: watch::Receiver<Control>,
    totals: Arc<Mutex<Totals>>,
    clients: HashMap<SocketAddr, mpsc::Sender<Bytes>>,
}

impl Proxy {
    async fn run(mut self) {
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        let mut clients_seen = 0;
        loop {
            tokio::select! {
                changed = self.control.changed() => {
                    if changed.is_err() || self.control.borrow_and_update().is_over {
                        return;
                    }
                }
                // An error is a word of ICMP about an earlier datagram: nothing of ours.
                received = self.front.recv_from(&mut buffer) => {
                    let Ok((len, from)) = received else { continue };
                    self.pass(buffer.get(..len).unwrap_or_default(), from, &mut clients_seen);
                }
            }
        }
    }

    fn pass(&mut self, data: &[u8], from: SocketAddr, clients_seen: &mut u64) {
        let is_known = self.clients.get(&from).is_some_and(|client| !client.is_closed());
        if !is_known {
            self.clients.retain(|_, client| !client.is_closed());
            if self.clients.len() >= CLIENTS_MAX {
                return;
            }
            let Ok(client) = self.meet(from, *clients_seen) else { return };
            *clients_seen += 1;
            self.clients.insert(from, client);
        }
        let Some(client) = self.clients.get(&from) else { return };
        if client.try_send(Bytes::copy_from_slice(data)).is_err() {
            self.totals.lock().unwrap_or_else(PoisonError::into_inner).up.overrun += 1;
        }
    }

    fn meet(&self, address: SocketAddr, number: u64) -> io::Result<mpsc::Sender<Bytes>> {
        let (sender, from_client) = mpsc::channel(QUEUE_MAX);
        let settings = self.control.borrow().settings;
        let client = Client {
            address,
            front: Arc::clone(&self.front),
            target: self.target,
            back: bind_towards(self.target)?,
            from_client,
            control: self.control.clone(),
            rebinds: self.control.borrow().rebinds,
            up: Lane::new(settings.up, self.seed, number * 2),
            down: Lane::new(settings.down, self.seed, number * 2 + 1),
            totals: Arc::clone(&self.totals),
            buffer: vec![0; DATAGRAM_BYTES_MAX],
        };
        tokio::spawn(client.run());
        Ok(sender)
    }
}

/// One client: both lanes, and the socket that is its address towards the target.
struct Client {
    address: SocketAddr,
    front: Arc<UdpSocket>,
    target: SocketAddr,
    back: UdpSocket,
    from_client: mpsc::Receiver<Bytes>,
    control: watch::Receiver<Control>,
    rebinds: u64,
    up: Lane,
    down: Lane,
    totals: Arc<Mutex<Totals>>,
    buffer: Vec<u8>,
}

/// What a turn of a client waits for.
enum Woken {
    Changed,
    FromClient(Bytes),
    FromTarget,
    Due,
    Over,
}

impl Client {
    async fn run(mut self) {
        let mut heard = Instant::now();
        loop {
            self.deliver(Instant::now()).await;
            match self.wait(heard).await {
                Woken::Changed => self.change(),
                Woken::FromClient(data) => {
                    heard = Instant::now();
                    self.up.handle_datagram(heard, data);
                    for _ in 1..BATCH_MAX {
                        let Ok(data) = self.from_client.try_recv() else { break };
                        self.up.handle_datagram(heard, data);
                    }
                }
                Woken::FromTarget => {
                    heard = Instant::now();
                    for _ in 0..BATCH_MAX {
                        let Ok(len) = self.back.try_recv(&mut self.buffer) else { break };
                        let data = self.buffer.get(..len).unwrap_or_default();
                        self.down.handle_datagram(heard, Bytes::copy_from_slice(data));
                    }
                }
                Woken::Due => {}
                Woken::Over => return,
            }
        }
    }

    async fn wait(&mut self, heard: Instant) -> Woken {
        let idle = heard + IDLE_MAX;
        let due = [self.up.poll_timeout(), self.down.poll_timeout()].into_iter().flatten().min();
        let until = due.map_or(idle, |due| due.min(idle));
        tokio::select! {
            biased;
            changed = self.control.changed() => if changed.is_ok() { Woken::Changed } else { Woken::Over },
            () = tokio::time::sleep_until(until.into()) => if due.is_some() { Woken::Due } else { Woken::Over },
            data = self.from_client.recv() => data.map_or(Woken::Over, Woken::FromClient),
            _ = self.back.readable() => Woken::FromTarget,
        }
    }

    /// Passes on what has arrived. What the kernel does not take is lost, as everywhere.
    async fn deliver(&mut self, now: Instant) {
        while let Some(data) = self.up.poll_transmit(now) {
            let _ = self.back.send(&data).await;
        }
        while let Some(data) = self.down.poll_transmit(now) {
            let _ = self.front.send_to(&data, self.address).await;
        }
        let (up, down) = (self.up.take_counters(), self.down.take_counters());
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.up.add(up);
        totals.down.add(down);
    }

    fn change(&mut self) {
        let control = *self.control.borrow_and_update();
        self.up.set(control.settings.up);
        self.down.set(control.settings.down);
        if control.rebinds != self.rebinds {
            self.rebinds = control.rebinds;
            if let Ok(back) = bind_towards(self.target) {
                self.back = back;
            }
        }
    }
}

/// A socket of ours that speaks to the target alone.
fn bind_towards(target: SocketAddr) -> io::Result<UdpSocket> {
    let ip = match target.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_loopback() => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = open(SocketAddr::new(ip, 0))?;
    socket.connect(&target.into())?;
    UdpSocket::from_std(socket.into())
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    UdpSocket::from_std(open(address)?.into())
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    fn socket() -> UdpSocket {
        let socket = UdpSocket::bind(LOOPBACK).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// A target and a link to it.
    fn world(settings: Settings) -> (UdpSocket, Link) {
        let target = socket();
        let link = Link::start(LOOPBACK, target.local_addr().unwrap(), settings, 1).unwrap();
        (target, link)
    }

    fn take(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 2048];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        (buffer[..len].to_vec(), from)
    }

    #[test]
    fn datagrams_of_several_clients_go_there_and_back() {
        let (target, link) = world(Settings::default());
        let clients = [socket(), socket(), socket()];
        for round in 0..20u8 {
            for (number, client) in clients.iter().enumerate() {
                client.send_to(&[round, number as u8], link.address()).unwrap();
                let (data, from) = take(&target);
                assert_eq!(data, [round, number as u8]);
                assert_ne!(from, client.local_addr().unwrap());
                target.send_to(&[round, number as u8, 1], from).unwrap();
                assert_eq!(take(client), (vec![round, number as u8, 1], link.address()));
            }
        }
    }

    #[test]
    fn delay_and_loss_happen_in_real_time_and_are_counted() {
        let delay = Duration::from_millis(30);
        let (target, link) = world(Settings::both(Impairment::delay(delay)));
        let client = socket();
        let began = Instant::now();
        client.send_to(b"there", link.address()).unwrap();
        let (_, from) = take(&target);
        assert!(began.elapsed() >= delay);
        target.send_to(b"back", from).unwrap();
        take(&client);
        assert!(began.elapsed() >= delay * 2);

        link.set(Direction::Up, Impairment::blackout());
        client.send_to(b"lost", link.address()).unwrap();
        let patience = Instant::now() + Duration::from_secs(10);
        while link.counters(Direction::Up).lost < 1 {
            assert!(Instant::now() < patience, "{:?}", link.counters(Direction::Up));
            std::thread::yield_now();
        }
        target.send_to(b"back", from).unwrap();
        assert_eq!(take(&client).0, b"back", "the other way still works");
    }

    #[test]
    fn a_client_gets_another_address_when_its_nat_forgets_it() {
        let (target, link) = world(Settings::default());
        let client = socket();
        client.send_to(b"1", link.address()).unwrap();
        let (_, before) = take(&target);
        link.rebind();
        client.send_to(b"2", link.address()).unwrap();
        let (data, after) = take(&target);
        assert_eq!(data, b"2");
        assert_ne!(before, after);
        target.send_to(b"3", after).unwrap();
        assert_eq!(take(&client).0, b"3");
    }
}
