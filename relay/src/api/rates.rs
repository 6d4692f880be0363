//! How often anybody may do anything. By address for who is not known yet (loopback is not counted: a proxy or a
//! test may stand for many there), by account and room always.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::problem::Problem;
use crate::{
    id::{ParticipantId, RoomId, UserId},
    rate::{Limiter, Rate, network},
};

const fn rate(burst: u32, interval_ms: u64) -> Rate {
    Rate { burst, interval: Duration::from_millis(interval_ms) }
}

/// Requests from one address.
const REQUESTS: Rate = rate(400, 20);
/// Tries to sign in from one address.
const SIGN_INS: Rate = rate(20, 6_000);
/// Wrong passwords for one account.
const PASSWORDS: Rate = rate(10, 30_000);
/// Joins from one address.
const JOINS: Rate = rate(60, 1_000);
/// Joins of one room.
const JOINS_OF_ROOM: Rate = rate(300, 50);
/// Wrong passwords for one room.
const ROOM_PASSWORDS: Rate = rate(20, 10_000);
/// Calls that one user places.
const CALLS: Rate = rate(10, 3_000);
/// Rooms and invitations that one user makes.
const MADE: Rate = rate(30, 10_000);
/// Messages of one participant.
const MESSAGES: Rate = rate(20, 500);

/// All of it.
#[derive(Debug)]
pub struct Rates {
    requests: Limiter<IpAddr>,
    sign_ins: Limiter<IpAddr>,
    passwords: Limiter<String>,
    joins: Limiter<IpAddr>,
    joins_of_room: Limiter<RoomId>,
    room_passwords: Limiter<RoomId>,
    calls: Limiter<UserId>,
    made: Limiter<UserId>,
    messages: Limiter<(RoomId, ParticipantId)>,
}

impl Default for Rates {
    fn default() -> Self {
        Rates {
            requests: Limiter::new(REQUESTS),
            sign_ins: Limiter::new(SIGN_INS),
            passwords: Limiter::new(PASSWORDS),
            joins: Limiter::new(JOINS),
            joins_of_room: Limiter::new(JOINS_OF_ROOM),
            room_passwords: Limiter::new(ROOM_PASSWORDS),
            calls: Limiter::new(CALLS),
            made: Limiter::new(MADE),
            messages: Limiter::new(MESSAGES),
        }
    }
}

fn by_address(limiter: &Limiter<IpAddr>, client: IpAddr) -> Result<(), Problem> {
    if client.is_loopback() {
        return Ok(());
    }
    limiter.take(Instant::now(), network(client)).map_err(Problem::too_often)
}

impl Rates {
    /// Any request.
    pub fn request(&self, client: IpAddr) -> Result<(), Problem> {
        by_address(&self.requests, client)
    }

    /// A try to become somebody.
    pub fn sign_in(&self, client: IpAddr) -> Result<(), Problem> {
        by_address(&self.sign_ins, client)
    }

    /// A password for an account; [`Rates::password_was_right`] takes it back.
    pub fn password(&self, login: &str) -> Result<(), Problem> {
        self.passwords.take(Instant::now(), login.to_owned()).map_err(Problem::too_often)
    }

    /// It was nobody guessing.
    pub fn password_was_right(&self, login: &str) {
        self.passwords.give_back(&login.to_owned());
    }

    /// Coming into a room.
    pub fn join(&self, client: IpAddr, room: &RoomId) -> Result<(), Problem> {
        by_address(&self.joins, client)?;
        self.joins_of_room.take(Instant::now(), room.clone()).map_err(Problem::too_often)
    }

    /// A password for a room; [`Rates::room_password_was_right`] takes it back.
    pub fn room_password(&self, room: &RoomId) -> Result<(), Problem> {
        self.room_passwords.take(Instant::now(), room.clone()).map_err(Problem::too_often)
    }

    /// It was nobody guessing.
    pub fn room_password_was_right(&self, room: &RoomId) {
        self.room_passwords.give_back(room);
    }

    /// Ringing somebody.
    pub fn call(&self, user: &UserId) -> Result<(), Problem> {
        self.calls.take(Instant::now(), user.clone()).map_err(Problem::too_often)
    }

    /// Making something that lasts.
    pub fn make(&self, user: &UserId) -> Result<(), Problem> {
        self.made.take(Instant::now(), user.clone()).map_err(Problem::too_often)
    }

    /// Saying something.
    pub fn message(&self, room: &RoomId, participant: &ParticipantId) -> Result<(), Problem> {
        let key = (room.clone(), participant.clone());
        self.messages.take(Instant::now(), key).map_err(Problem::too_often)
    }
}
