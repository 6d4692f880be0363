//! What a client sends before it has a session: HTTP/3's SETTINGS and CONNECT, and the capsules that follow.
//! They are read by web-transport-proto, on which `roundtable-transport` builds.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
};

use web_transport_proto::{ConnectRequest, Http3CapsuleReader, Settings};

/// The first byte says which stream it is.
pub fn request(data: &[u8]) {
    let Some((first, mut stream)) = data.split_first() else { return };
    match first % 3 {
        0 => drop(now(Settings::read(&mut stream))),
        1 => {
            let Ok(request) = now(ConnectRequest::read(&mut stream)) else { return };
            let mut wire = Vec::new();
            if request.encode(&mut wire).is_ok() {
                let again =
                    now(ConnectRequest::read(&mut wire.as_slice())).expect("what was read can be written");
                assert_eq!((again.url, again.protocols), (request.url, request.protocols));
            }
        }
        _ => {
            let mut capsules = Http3CapsuleReader::new(stream);
            while let Ok(Some(_)) = now(capsules.read()) {}
        }
    }
}

/// Bytes that are all here are read without waiting.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("it waits for bytes that do not come")
}
