//! How the rest of the relay reaches a session: orders for its task, objects for its connection.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use roundtable_forward::track::Gap;
use roundtable_moqt::{
    FullTrackName, Location, Namespace, PublishDoneCode, SessionError,
    message::{RequestError, RequestId, RequestOk},
};

use super::fill::Fill;
use crate::{
    fanout::{Outlet, Subscriber, Track},
    rights::Rights,
    room::{LinkId, SessionId},
};

/// Something for a session's task to do.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are those of room::Command")]
pub enum Order {
    // ---- to a publisher
    SubscribeUpstream {
        link: LinkId,
        name: FullTrackName,
        track: Arc<Track>,
        new_group: Option<u64>,
    },
    UpdateUpstream {
        link: LinkId,
        forward: Option<bool>,
        new_group: Option<u64>,
    },
    CancelUpstream {
        link: LinkId,
    },
    /// A range that the publisher's datagrams left out.
    Repair {
        link: LinkId,
        gap: Gap,
    },
    /// A range that a subscriber FETCHes and the cache does not have.
    Fill(Arc<Fill>),
    /// TRACK_STATUS of another session.
    AskStatus {
        name: FullTrackName,
        asker: SessionId,
        request: RequestId,
    },

    // ---- to a subscriber
    AcceptSubscribe {
        link: LinkId,
        track: Arc<Track>,
        largest: Option<Location>,
    },
    RefuseSubscribe {
        link: LinkId,
        error: RequestError,
    },
    Offer {
        link: LinkId,
        name: FullTrackName,
        track: Arc<Track>,
        subscriber: Arc<Subscriber>,
        forward: bool,
        largest: Option<Location>,
    },
    EndSubscription {
        link: LinkId,
        code: PublishDoneCode,
    },
    PublishBlocked {
        request: RequestId,
        name: FullTrackName,
    },
    Namespace {
        request: RequestId,
        namespace: Namespace,
    },
    NamespaceDone {
        request: RequestId,
        namespace: Namespace,
    },
    /// What the publisher said to [`Order::AskStatus`].
    AnswerStatus {
        request: RequestId,
        answer: Result<RequestOk, RequestError>,
    },

    // ---- to everybody
    /// What it may do has changed: what it may not do any more ends.
    RightsChanged,
    GoAway {
        uri: Arc<str>,
        timeout: Duration,
    },
    Close {
        code: SessionError,
        reason: &'static str,
    },
}

/// A session as others see it.
#[derive(Debug)]
pub struct Handle {
    /// Its name.
    pub id: SessionId,
    /// Its connection's way out.
    pub outlet: Arc<Outlet>,
    rights: RwLock<Rights>,
    orders: Mutex<VecDeque<Order>>,
    orders_max: usize,
    has_overflowed: AtomicBool,
}

impl Handle {
    /// A session with an empty mailbox for `orders_max` orders.
    pub fn new(id: SessionId, outlet: Arc<Outlet>, orders_max: usize) -> Self {
        Handle {
            id,
            outlet,
            rights: RwLock::new(Rights::Nothing),
            orders: Mutex::default(),
            orders_max,
            has_overflowed: AtomicBool::new(false),
        }
    }

    /// What the session may do now; nothing until it has said who it is.
    pub fn rights(&self) -> Rights {
        self.rights.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// It may do this from now on. What it has begun already is for [`Order::RightsChanged`].
    pub fn set_rights(&self, rights: Rights) {
        *self.rights.write().unwrap_or_else(PoisonError::into_inner) = rights;
    }

    /// Leaves the task an order. False when its mailbox is full: orders are never lost silently, so the session ends.
    pub fn send(&self, order: Order) -> bool {
        let mut orders = self.orders();
        let has_room = orders.len() < self.orders_max;
        if has_room {
            orders.push_back(order);
        } else {
            self.has_overflowed.store(true, Ordering::Relaxed);
        }
        drop(orders);
        self.outlet.wake();
        has_room
    }

    /// The next order; for the task alone.
    pub(super) fn take(&self) -> Option<Order> {
        self.orders().pop_front()
    }

    /// More is to be done.
    pub(super) fn has_orders(&self) -> bool {
        !self.orders().is_empty()
    }

    /// Orders were lost.
    pub(super) fn has_overflowed(&self) -> bool {
        self.has_overflowed.load(Ordering::Relaxed)
    }

    fn orders(&self) -> MutexGuard<'_, VecDeque<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
