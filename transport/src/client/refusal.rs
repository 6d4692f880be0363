//! Why a WebTransport server said no.

use web_transport_proto::{ConnectError, ConnectRequest, ConnectResponse, Settings};

use super::Attempt;
use crate::{MOQT_PROTOCOL, tls::H3_PROTOCOL};

/// The HTTP status of the refusal, by asking again and reading no further than the status.
pub(super) async fn status(attempt: &Attempt) -> Option<u16> {
    let (quic, _endpoint) = attempt.quinn(H3_PROTOCOL).await.ok()?;
    let mut settings = Settings::default();
    settings.enable_webtransport(1);
    let mut control = quic.open_uni().await.ok()?;
    settings.write(&mut control).await.ok()?;
    let (mut send, mut receive) = quic.open_bi().await.ok()?;
    let request = ConnectRequest::new(attempt.target.url.clone()).with_protocol(MOQT_PROTOCOL);
    request.write(&mut send).await.ok()?;
    match ConnectResponse::read(&mut receive).await {
        Err(ConnectError::WrongStatus(Some(status)) | ConnectError::ErrorStatus(status)) => {
            Some(status.as_u16())
        }
        _ => None,
    }
}
