//! Which streams have something to do. A connection may have hundreds, and its task wakes for every batch of
//! datagrams: it must not ask them all.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use roundtable_moqt::StreamId;

/// What a waker stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Token {
    /// A stream of the session, both halves.
    Stream(StreamId),
    /// A stream of the peer whose WebTransport header has not come whole.
    Header(u64),
    /// The CONNECT stream.
    Farewell,
}

/// Makes wakers for streams and collects whom they woke.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Each token at most once, in the order they were woken.
    woken: VecDeque<Arc<StreamWaker>>,
    task: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct StreamWaker {
    token: Token,
    is_queued: AtomicBool,
    shared: Arc<Shared>,
}

impl Wake for StreamWaker {
    fn wake(self: Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut state = self.shared.lock();
            state.woken.push_back(self.clone());
            state.task.clone()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Wakes {
    /// A waker for `token`. All its clones together queue it once.
    pub(super) fn waker(&self, token: Token) -> Waker {
        Arc::new(StreamWaker { token, is_queued: AtomicBool::new(false), shared: self.shared.clone() }).into()
    }

    /// The task to wake when a stream wakes.
    pub(super) fn set_task(&self, waker: &Waker) {
        let mut state = self.shared.lock();
        if !state.task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            state.task = Some(waker.clone());
        }
    }

    /// The next one that was woken. From now on it can be woken again.
    pub(super) fn take(&self) -> Option<Token> {
        let woken = self.shared.lock().woken.pop_front()?;
        woken.is_queued.store(false, Ordering::Release);
        Some(woken.token)
    }

    /// True when some are left.
    pub(super) fn any(&self) -> bool {
        !self.shared.lock().woken.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_queued_once_until_it_is_taken() {
        let wakes = Wakes::default();
        let (one, two) = (Token::Stream(StreamId(1)), Token::Header(2));
        let (waker_one, waker_two) = (wakes.waker(one), wakes.waker(two));
        waker_two.wake_by_ref();
        waker_one.wake_by_ref();
        waker_two.wake_by_ref();
        assert_eq!([wakes.take(), wakes.take(), wakes.take()], [Some(two), Some(one), None]);
        waker_two.wake();
        assert!(wakes.any());
        assert_eq!([wakes.take(), wakes.take()], [Some(two), None]);
    }
}
