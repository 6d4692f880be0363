//! One side of a session, driven for real and told what to do by a test.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use roundtable_moqt::{
    Event, ObjectDatagram, Session,
    message::RequestId,
    session::{Config, Role},
};
use roundtable_transport::{App, Connection, DatagramSender, Ended, Io, connect, drive};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use super::{Server, soon};

type Command = Box<dyn FnOnce(&mut Io<'_>) + Send>;
/// Called in every poll until it is done.
pub type Writer = Box<dyn FnMut(&mut Io<'_>) -> Poll<()> + Send>;

#[derive(Debug)]
pub enum Seen {
    Event(Event),
    Datagram(ObjectDatagram),
    Drained,
}

pub struct Peer {
    commands: mpsc::UnboundedSender<Command>,
    writers: mpsc::UnboundedSender<Writer>,
    seen: mpsc::UnboundedReceiver<Seen>,
    pub datagrams: DatagramSender,
    pub driver: JoinHandle<Ended>,
}

struct Puppet {
    commands: mpsc::UnboundedReceiver<Command>,
    writers: mpsc::UnboundedReceiver<Writer>,
    writer: Option<Writer>,
    seen: mpsc::UnboundedSender<Seen>,
}

impl App for Puppet {
    fn handle_event(&mut self, _io: &mut Io<'_>, event: Event) {
        let _ = self.seen.send(Seen::Event(event));
    }

    fn handle_datagram(&mut self, _io: &mut Io<'_>, _request: RequestId, datagram: ObjectDatagram) {
        let _ = self.seen.send(Seen::Datagram(datagram));
    }

    fn datagrams_drained(&mut self, _io: &mut Io<'_>) {
        let _ = self.seen.send(Seen::Drained);
    }

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        while let Poll::Ready(command) = self.commands.poll_recv(cx) {
            match command {
                Some(command) => command(io),
                // The test let go of its end: the app is done.
                None => return Poll::Ready(()),
            }
        }
        if let Poll::Ready(Some(writer)) = self.writers.poll_recv(cx) {
            self.writer = Some(writer);
        }
        if let Some(writer) = &mut self.writer
            && writer(io).is_ready()
        {
            self.writer = None;
        }
        Poll::Pending
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_timeout(&mut self, _io: &mut Io<'_>) {}
}

impl Peer {
    pub fn run(connection: Connection, role: Role) -> Self {
        let mut config = Config::new(role, connection.carrier());
        if let Some(target) = connection.setup_target() {
            config.setup.path = Some(target.path.clone());
            config.setup.authority = Some(target.authority.clone());
        }
        let (commands, commands_in) = mpsc::unbounded_channel();
        let (writers, writers_in) = mpsc::unbounded_channel();
        let (seen_out, seen) = mpsc::unbounded_channel();
        let mut app = Puppet { commands: commands_in, writers: writers_in, writer: None, seen: seen_out };
        let datagrams = connection.datagrams();
        let session = Session::new(config, Instant::now());
        let driver = tokio::spawn(async move { drive(connection, session, &mut app).await });
        Peer { commands, writers, seen, datagrams, driver }
    }

    /// Does something with the session, in its task.
    pub async fn call<T: Send + 'static>(&self, what: impl FnOnce(&mut Io<'_>) -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let command: Command = Box::new(move |io| drop(answer.send(what(io))));
        assert!(self.commands.send(command).is_ok(), "the driver has ended");
        soon("a call", answered).await.unwrap()
    }

    /// Does something in every poll.
    pub fn write(&self, writer: impl FnMut(&mut Io<'_>) -> Poll<()> + Send + 'static) {
        assert!(self.writers.send(Box::new(writer)).is_ok(), "the driver has ended");
        // Something has to wake it the first time.
        assert!(self.commands.send(Box::new(|_| {})).is_ok(), "the driver has ended");
    }

    pub async fn seen(&mut self) -> Seen {
        soon("something to happen", self.seen.recv()).await.expect("the driver has ended")
    }

    /// The next event; datagrams before it are dropped.
    pub async fn event(&mut self) -> Event {
        loop {
            if let Seen::Event(event) = self.seen().await {
                return event;
            }
        }
    }

    /// The next datagram; events before it are dropped.
    pub async fn datagram(&mut self) -> ObjectDatagram {
        loop {
            if let Seen::Datagram(datagram) = self.seen().await {
                return datagram;
            }
        }
    }

    pub async fn ended(self) -> Ended {
        let Peer { commands, driver, .. } = self;
        let ended = soon("the driver's end", driver).await.unwrap();
        drop(commands);
        ended
    }

    /// The app is done.
    pub async fn end(self) -> Ended {
        drop(self.commands);
        soon("the driver's end", self.driver).await.unwrap()
    }
}

/// Client and server, both SETUPs exchanged.
pub async fn pair(server: &Server, scheme: &str) -> (Peer, Peer) {
    let url = server.url(scheme, "/room");
    let config = server.client();
    let serving = async { server.endpoint.accept().await.unwrap().accept().await.unwrap() };
    let (client, served) =
        soon("a connection", async { tokio::join!(Box::pin(connect(&url, &config)), serving) }).await;
    let mut client = Peer::run(client.unwrap(), Role::Client);
    let mut served = Peer::run(served, Role::Server);
    for peer in [&mut client, &mut served] {
        let event = peer.event().await;
        assert!(matches!(event, Event::Ready(_)), "{event:?}");
    }
    (client, served)
}
