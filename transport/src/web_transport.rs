//! WebTransport over HTTP/3, the server's side: SETTINGS, the CONNECT request, and the end of a session.
//!
//! One connection carries one session, and its CONNECT is the first request, stream 0; so its quarter id is 0 too.
//! Frames, headers and capsules are read and written by web-transport-proto, which bounds their length.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use quinn::VarInt;
use roundtable_moqt::SessionError;
use tokio::io::AsyncReadExt as _;
use web_transport_proto::{
    Capsule, ConnectError, ConnectRequest, ConnectResponse, Frame, Http3CapsuleReader, Settings,
    SettingsError, StreamUni, VarInt as Http3Int,
    http::{Method, StatusCode},
};

use crate::codes::{CodeSpace, http3};

/// Unidirectional streams of the client that may come before its control stream: QPACK's two, and GREASE.
const EARLY_STREAMS_MAX: usize = 8;
/// How long a client that is turned away may take to read why.
const REFUSED_WAIT_MAX: Duration = Duration::from_secs(1);
/// The page for who asks for one.
const NOT_A_PAGE: &[u8] = b"This port serves Media over QUIC over WebTransport. There are no pages here.\n";

/// A client's CONNECT, unanswered.
pub(crate) struct Request {
    quic: quinn::Connection,
    pub(crate) connect: ConnectRequest,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    critical: CriticalStreams,
}

/// Streams whose end would be the end of the connection (RFC 9114, section 6.2.1).
struct CriticalStreams {
    _ours: quinn::SendStream,
    _theirs: quinn::RecvStream,
    /// QPACK's, if they came early.
    _early: Vec<quinn::RecvStream>,
}

/// An accepted session, beside its streams and datagrams.
pub(crate) struct Session {
    quic: quinn::Connection,
    /// The CONNECT stream: its end is the session's.
    send: Mutex<Option<quinn::SendStream>>,
    receive: Mutex<Option<quinn::RecvStream>>,
    _critical: CriticalStreams,
}

/// The peer ended the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    pub(crate) code: SessionError,
    pub(crate) reason: String,
}

/// Why there is no [`Request`]. The client has been told, and the connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("the connection was lost: {0}")]
    Lost(#[from] quinn::ConnectionError),
    #[error("SETTINGS: {0}")]
    Settings(#[from] SettingsError),
    #[error("the control stream is missing")]
    NoControlStream,
    #[error("not a WebTransport request, answered with {status}: {source}")]
    Refused { status: StatusCode, source: ConnectError },
    #[error("request: {0}")]
    Malformed(ConnectError),
}

/// Reads a client's SETTINGS and its first request. What is not WebTransport gets an HTTP answer where that is
/// possible, else HTTP/3's error code. Dropping the future leaves the connection open: that is the caller's.
pub(crate) async fn read_request(quic: quinn::Connection) -> Result<Request, RequestError> {
    let (critical, (mut send, mut receive)) =
        tokio::try_join!(exchange_settings(&quic), first_request(&quic))
            .inspect_err(|error| quic.close(error.close_code(), b""))?;
    match ConnectRequest::read(&mut receive).await {
        Ok(connect) => Ok(Request { quic, connect, send, receive, critical }),
        Err(source) => {
            let Some(status) = status_of(&source) else {
                let error = RequestError::Malformed(source);
                quic.close(error.close_code(), b"");
                return Err(error);
            };
            // Whoever asks for a page gets one; an answer to HEAD has none.
            let is_get = matches!(source, ConnectError::WrongMethod(Some(Method::GET)));
            if answer(&mut send, status, if is_get { NOT_A_PAGE } else { &[] }).await.is_ok() {
                leave_first(&quic).await;
            }
            quic.close(http3::NO_ERROR, b"");
            Err(RequestError::Refused { status, source })
        }
    }
}

async fn exchange_settings(quic: &quinn::Connection) -> Result<CriticalStreams, RequestError> {
    let (ours, (theirs, early)) = tokio::try_join!(send_settings(quic), read_settings(quic))?;
    Ok(CriticalStreams { _ours: ours, _theirs: theirs, _early: early })
}

async fn send_settings(quic: &quinn::Connection) -> Result<quinn::SendStream, RequestError> {
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut control = quic.open_uni().await?;
    settings.write(&mut control).await?;
    Ok(control)
}

/// The client's control stream; others may come before it.
async fn read_settings(
    quic: &quinn::Connection,
) -> Result<(quinn::RecvStream, Vec<quinn::RecvStream>), RequestError> {
    let mut early = Vec::new();
    while early.len() < EARLY_STREAMS_MAX {
        let mut stream = quic.accept_uni().await?;
        let Ok(stream_type) = Http3Int::read(&mut stream).await else { continue };
        if StreamUni(stream_type) == StreamUni::CONTROL {
            // Read again, from here: the reader wants to see the type itself.
            let control_type: &[u8] = &[0];
            let _ = Settings::read(&mut control_type.chain(&mut stream)).await?;
            return Ok((stream, early));
        }
        early.push(stream);
    }
    Err(RequestError::NoControlStream)
}

async fn first_request(
    quic: &quinn::Connection,
) -> Result<(quinn::SendStream, quinn::RecvStream), RequestError> {
    Ok(quic.accept_bi().await?)
}

/// What to say to a request that is none of WebTransport's. `None` when it is no request at all.
fn status_of(error: &ConnectError) -> Option<StatusCode> {
    match error {
        ConnectError::WrongMethod(Some(Method::GET | Method::HEAD)) => Some(StatusCode::NOT_FOUND),
        ConnectError::WrongMethod(_) => Some(StatusCode::METHOD_NOT_ALLOWED),
        ConnectError::WrongProtocol(_) => Some(StatusCode::NOT_IMPLEMENTED),
        ConnectError::WrongScheme(_)
        | ConnectError::WrongAuthority
        | ConnectError::WrongPath
        | ConnectError::InvalidMethod
        | ConnectError::InvalidUrl(_)
        | ConnectError::InvalidProtocol
        | ConnectError::InvalidHttpHeaderName
        | ConnectError::InvalidHttpHeaderValue => Some(StatusCode::BAD_REQUEST),
        ConnectError::FieldSectionTooLarge => Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        _ => None,
    }
}

impl RequestError {
    fn close_code(&self) -> VarInt {
        match self {
            RequestError::Settings(SettingsError::UnexpectedFrame(_)) => http3::MISSING_SETTINGS,
            RequestError::Settings(_) => http3::SETTINGS_ERROR,
            RequestError::NoControlStream => http3::STREAM_CREATION,
            RequestError::Malformed(ConnectError::UnexpectedFrame(_)) => http3::FRAME_UNEXPECTED,
            RequestError::Malformed(ConnectError::QpackError(_)) => http3::QPACK_FAILED,
            RequestError::Malformed(_) => http3::FRAME_ERROR,
            RequestError::Refused { .. } | RequestError::Lost(_) => http3::NO_ERROR,
        }
    }
}

async fn answer(send: &mut quinn::SendStream, status: StatusCode, page: &[u8]) -> Result<(), ConnectError> {
    ConnectResponse::new(status).write(send).await?;
    if !page.is_empty() {
        send.write_all(&data_frame(page)).await.map_err(std::io::Error::from)?;
    }
    let _ = send.finish();
    Ok(())
}

/// An answer is still on its way, and a close would overtake it: the client goes first, if it does so soon.
async fn leave_first(quic: &quinn::Connection) {
    let _ = tokio::time::timeout(REFUSED_WAIT_MAX, quic.closed()).await;
}

fn data_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Frame::DATA.encode(&mut frame);
    // Payloads are short texts of ours.
    Http3Int::from_u32(u32::try_from(payload.len()).unwrap_or(0)).encode(&mut frame);
    frame.extend_from_slice(payload);
    frame
}

impl Request {
    /// Lets the client in, in the protocol it offered.
    pub(crate) async fn accept(mut self, protocol: &str) -> Result<Session, ConnectError> {
        let response = ConnectResponse::new(StatusCode::OK).with_protocol(protocol);
        response.write(&mut self.send).await?;
        Ok(Session {
            quic: self.quic,
            send: Mutex::new(Some(self.send)),
            receive: Mutex::new(Some(self.receive)),
            _critical: self.critical,
        })
    }

    /// Turns the client away, and waits, but not for long, until it has read why.
    pub(crate) async fn refuse(mut self, status: StatusCode) {
        let answered = ConnectResponse::new(status).write(&mut self.send).await;
        if answered.is_ok() && self.send.finish().is_ok() {
            leave_first(&self.quic).await;
        }
        self.quic.close(http3::NO_ERROR, b"");
    }
}

impl Session {
    pub(crate) fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    /// Completes when the client ends the session on the CONNECT stream, in whatever way. `None` the second time.
    pub(crate) fn farewell(&self) -> Option<impl Future<Output = Farewell> + Send + 'static> {
        let receive = self.receive.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(async move {
            let mut capsules = Http3CapsuleReader::new(receive);
            loop {
                match capsules.read().await {
                    Ok(Some(Capsule::CloseWebTransportSession { code, reason })) => {
                        return Farewell { code: SessionError::from_code(code.into()), reason };
                    }
                    // Others are not for us, or not yet known.
                    Ok(Some(_)) => {}
                    // The end without a word is the end without an error (draft-ietf-webtrans-http3, section 5).
                    Ok(None) => return Farewell { code: SessionError::NoError, reason: String::new() },
                    Err(error) => {
                        return Farewell { code: SessionError::InternalError, reason: error.to_string() };
                    }
                }
            }
        })
    }

    /// Ends the session with a code where a browser looks for it, on the CONNECT stream, and closes QUIC when the
    /// client has, or has had the time to.
    pub(crate) async fn close(&self, code: SessionError, reason: &str) {
        let close_code = CodeSpace::WebTransport.write(code.code());
        let send = self.send.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut send) = send {
            let code = u32::try_from(code.code()).unwrap_or(u32::MAX);
            let mut capsule = Vec::new();
            Capsule::CloseWebTransportSession { code, reason: cut(reason).to_owned() }.encode(&mut capsule);
            let goodbye = async {
                // An error means that the client is gone already.
                if send.write_all(&data_frame(&capsule)).await.is_ok() && send.finish().is_ok() {
                    self.quic.closed().await;
                }
            };
            let patience = (self.quic.rtt() * 3).max(Duration::from_millis(100));
            let _ = tokio::time::timeout(patience, goodbye).await;
        }
        self.quic.close(close_code, reason.as_bytes());
    }
}

/// A close message has at most 1024 bytes (draft-ietf-webtrans-http3, section 5).
fn cut(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(1024)).unwrap_or_default()
}
