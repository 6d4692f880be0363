//! A publication's place on one session. A publication can move to another session while this one is still open,
//! so that those who watch through both miss nothing: that is how GOAWAY is followed.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use roundtable_moqt::{
    Event, ObjectDatagram, Parameters, PublishDoneCode, RequestErrorCode, Session, SessionError,
    message::{RequestError, RequestId, RequestOk},
};
use roundtable_transport::{App, Connection, Ended, Io, drive};
use tokio::sync::{mpsc, oneshot};

use crate::publication::{Left, Publication};

/// News and commands that wait; each kind comes at most once a session.
const WAITING_MAX: usize = 4;

/// News of a session.
pub enum News {
    /// The relay knows our tracks and our namespace.
    Announced,
    /// The relay is leaving: whoever goes on does so at this URI, or at the same one.
    GoAway(Option<String>),
    /// The session is over, and the publication back if it has not been handed over.
    Ended(Option<Box<Publication>>, Ended),
}

enum Command {
    HandOver(oneshot::Sender<Box<Publication>>),
    SayGoodbye,
}

/// A session with a publication on it, driven by a task of its own.
pub struct Seat {
    news: mpsc::Receiver<News>,
    commands: mpsc::Sender<Command>,
}

impl Seat {
    /// Begins to publish on a session.
    pub fn take(publication: Box<Publication>, connection: Connection, session: Session) -> Self {
        let (news_in, news) = mpsc::channel(WAITING_MAX);
        let (commands, commands_out) = mpsc::channel(WAITING_MAX);
        let mut sitter = Sitter {
            publication: Some(publication),
            left: None,
            news: news_in.clone(),
            commands: commands_out,
            has_told_announced: false,
        };
        tokio::spawn(async move {
            let ended = drive(connection, session, &mut sitter).await;
            // Nobody listens any more when this fails.
            let _ = news_in.send(News::Ended(sitter.publication, ended)).await;
        });
        Seat { news, commands }
    }

    /// What happens next; `None` after [`News::Ended`]. Cancel-safe.
    pub async fn news(&mut self) -> Option<News> {
        self.news.recv().await
    }

    /// Takes the publication off the session, which stays as it is. `None` when the session is over already:
    /// [`News::Ended`] has it.
    pub async fn hand_over(&self) -> Option<Box<Publication>> {
        let (sender, receiver) = oneshot::channel();
        self.commands.send(Command::HandOver(sender)).await.ok()?;
        receiver.await.ok()
    }

    /// Takes back what was left here of a publication that was handed over, and ends the session.
    pub fn say_goodbye(&self) {
        // A session that does not take it is over.
        let _ = self.commands.try_send(Command::SayGoodbye);
    }
}

/// What runs on the session.
struct Sitter {
    publication: Option<Box<Publication>>,
    /// Of a publication that was handed over.
    left: Option<Left>,
    news: mpsc::Sender<News>,
    commands: mpsc::Receiver<Command>,
    has_told_announced: bool,
}

impl Sitter {
    fn obey(&mut self, io: &mut Io<'_>, command: Command) {
        match command {
            Command::HandOver(to) => {
                let Some(mut publication) = self.publication.take() else { return };
                self.left = Some(publication.detach());
                if let Err(publication) = to.send(publication) {
                    // Nobody waits for it any more: it is offered again here.
                    self.publication = Some(publication);
                }
            }
            Command::SayGoodbye => {
                if let Some(left) = self.left.take() {
                    left.say_goodbye(io.session, PublishDoneCode::GoingAway);
                }
                io.session.close(SessionError::NoError, "");
            }
        }
    }

    /// The publication is elsewhere: what the relay still asks here.
    fn handle_event_alone(io: &mut Io<'_>, event: Event) {
        let refuse = |session: &mut Session, request: RequestId| {
            let error = RequestError::new(RequestErrorCode::GoingAway, "the publisher has moved");
            // Fails only when the request is gone.
            let _ = session.reject(request, error);
        };
        match event {
            Event::Update { update, .. } => {
                let parameters = Parameters::default();
                // Fails only when the request is gone.
                let _ = io.session.accept_update(update, RequestOk { parameters, ..RequestOk::default() });
            }
            Event::Fetch(request, _) => refuse(io.session, request),
            Event::Subscribe(request, _) | Event::TrackStatus(request, _) => refuse(io.session, request),
            _ => {}
        }
    }
}

impl App for Sitter {
    fn handle_event(&mut self, io: &mut Io<'_>, event: Event) {
        if let Event::GoAway(None, goaway) = &event {
            let uri = String::from_utf8(goaway.uri.to_vec()).ok().filter(|uri| !uri.is_empty());
            // There is room for every kind of news; without a listener nobody moves.
            let _ = self.news.try_send(News::GoAway(uri));
        }
        match &mut self.publication {
            Some(publication) => publication.handle_event(io, event),
            None => Self::handle_event_alone(io, event),
        }
    }

    fn handle_datagram(&mut self, io: &mut Io<'_>, request: RequestId, datagram: ObjectDatagram) {
        if let Some(publication) = &mut self.publication {
            publication.handle_datagram(io, request, datagram);
        }
    }

    fn datagrams_drained(&mut self, io: &mut Io<'_>) {
        if let Some(publication) = &mut self.publication {
            publication.datagrams_drained(io);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, io: &mut Io<'_>) -> Poll<()> {
        while let Poll::Ready(Some(command)) = self.commands.poll_recv(cx) {
            self.obey(io, command);
        }
        if io.session.is_closed() {
            return Poll::Ready(());
        }
        if let Some(left) = &mut self.left {
            left.poll(cx);
        }
        let Some(publication) = &mut self.publication else { return Poll::Pending };
        let poll = publication.poll(cx, io);
        if publication.is_announced() && !std::mem::replace(&mut self.has_told_announced, true) {
            // There is room for every kind of news; without a listener nobody needs it.
            let _ = self.news.try_send(News::Announced);
        }
        poll
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.publication.as_ref()?.poll_timeout()
    }

    fn handle_timeout(&mut self, io: &mut Io<'_>) {
        if let Some(publication) = &mut self.publication {
            publication.handle_timeout(io);
        }
    }
}
