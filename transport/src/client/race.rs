//! Several addresses, one connection: the next is tried when the one before is slow or has failed.

use std::{future::Future, net::SocketAddr, time::Duration};

use tokio::task::JoinSet;

/// How long an attempt has before the next one begins beside it (RFC 8305 calls it connection attempt delay).
const HEAD_START: Duration = Duration::from_millis(200);

/// The first success, else the first attempt's error. `None` without addresses. The attempts that lose are dropped.
pub(super) async fn first_to_connect<T, E, F>(
    addresses: Vec<SocketAddr>,
    dial: impl Fn(SocketAddr) -> F,
) -> Option<Result<T, E>>
where
    F: Future<Output = Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut first_error = None;
    loop {
        let next = waiting.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            attempts.spawn(dial(address));
        }
        // Cancel-safe: joining loses nothing when the head start is over.
        let joined = if is_last {
            attempts.join_next().await
        } else {
            match tokio::time::timeout(HEAD_START, attempts.join_next()).await {
                Ok(joined) => joined,
                Err(_) => continue,
            }
        };
        match joined {
            Some(Ok(Ok(connection))) => return Some(Ok(connection)),
            Some(Ok(Err(error))) => first_error = first_error.or(Some(error)),
            // An attempt that panicked is as good as one that never answers.
            Some(Err(_)) => {}
            None if is_last => return first_error.map(Err),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[tokio::test]
    async fn a_silent_address_costs_its_successor_only_the_head_start() {
        let begin = std::time::Instant::now();
        let winner = first_to_connect(addresses(&[1, 2]), |address| async move {
            if address.port() == 1 {
                std::future::pending::<()>().await;
            }
            Ok::<_, ()>(address.port())
        });
        assert_eq!(winner.await, Some(Ok(2)));
        assert!(begin.elapsed() >= HEAD_START);
    }

    #[tokio::test]
    async fn a_slow_first_address_still_wins_over_a_refusing_second() {
        let winner = first_to_connect(addresses(&[1, 2]), |address| async move {
            if address.port() == 2 {
                return Err("refused");
            }
            tokio::time::sleep(HEAD_START * 3).await;
            Ok(address.port())
        });
        assert_eq!(winner.await, Some(Ok(1)));
    }

    #[tokio::test]
    async fn when_all_fail_the_first_error_is_told_at_once() {
        let begin = std::time::Instant::now();
        let failed =
            first_to_connect(addresses(&[1, 2]), |address| async move { Err::<(), _>(address.port()) });
        assert_eq!(failed.await, Some(Err(1)));
        assert!(begin.elapsed() < HEAD_START);
        let nothing = first_to_connect(addresses(&[]), |_| async { Err::<(), _>(()) });
        assert_eq!(nothing.await, None);
    }
}
