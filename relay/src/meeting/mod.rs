//! The people in rooms while they are there: who may come in, who does, and what everybody is told of it.
//!
//! - [`Meetings`]: all of them; sessions and the API come here.
//! - [`Meeting`]: one room's, with its people's sessions and the tracks the relay publishes about them.
//! - [`roster`]: who is here and may do what, as a value. [`bans`]: who may not come back.
//! - [`snapshot`]: what those tracks say.
//!
//! Locks are taken in this order, each for a moment, none across an await: the list of meetings, bans, one meeting,
//! its scope.

pub mod bans;
mod chat;
mod meetings;
mod one;
pub mod roster;
pub mod snapshot;

use std::{collections::BTreeSet, time::Duration};

use roundtable_moqt::SessionError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::{
    meetings::{Admitted, Denied, Meetings, Place, Policy},
    one::Meeting,
    roster::Roster,
};
use crate::{
    clock::UnixMs,
    id::{ParticipantId, UserId},
    token::Source,
};

/// What somebody is to the others in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Looks after the others, and says who else does.
    Host,
    /// Looks after the others.
    CoHost,
    /// One of the others.
    Member,
}

/// How a room is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What people call it.
    pub name: Option<String>,
    /// Whose it is.
    pub owner: Option<UserId>,
    /// Who else is a host whenever they come.
    pub hosts: BTreeSet<UserId>,
    /// Something must be known to come in.
    pub has_password: bool,
    /// People wait until somebody lets them in.
    pub has_lobby: bool,
    /// Nobody new comes in.
    pub is_locked: bool,
    /// Participants at once.
    pub capacity: usize,
    /// How long chat is kept; zero: for as long as somebody is there.
    pub chat_kept: Duration,
}

/// Participants of a room that nobody has set otherwise.
pub const CAPACITY_DEFAULT: u32 = 500;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            name: None,
            owner: None,
            hosts: BTreeSet::new(),
            has_password: false,
            has_lobby: false,
            is_locked: false,
            capacity: CAPACITY_DEFAULT as usize,
            chat_kept: Duration::ZERO,
        }
    }
}

impl Settings {
    /// Not everybody may come in who knows where it is.
    pub fn is_guarded(&self) -> bool {
        self.has_password || self.has_lobby || self.is_locked
    }
}

/// Something that a participant is asked to do itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ask {
    /// Ascending: what is not larger than one seen before has been seen before.
    pub number: u64,
    /// What.
    #[serde(flatten)]
    pub kind: AskKind,
    /// Who asks.
    #[schema(value_type = String)]
    pub by: ParticipantId,
    /// When.
    pub at: UnixMs,
}

/// What a participant can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum AskKind {
    /// To stop sending this.
    Stop {
        /// What.
        source: Source,
    },
    /// To send this, if its person wants to.
    Start {
        /// What.
        source: Source,
    },
    /// To take its hand down.
    LowerHand,
}

/// Why a seat was taken away. The session's end says so, in these words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// A moderator did.
    Removed,
    /// A moderator did, before they were let in.
    NotLetIn,
    /// A moderator ended it for all.
    Ended,
    /// Their token was not renewed.
    Expired,
    /// They said that they leave, or their sessions did not come back.
    Left,
    /// They signed out, or were locked out.
    SignedOut,
}

impl Cut {
    /// How a session ends because of it.
    pub const fn code(self) -> SessionError {
        match self {
            Cut::Removed | Cut::NotLetIn | Cut::SignedOut => SessionError::Unauthorized,
            Cut::Expired => SessionError::ExpiredAuthToken,
            Cut::Ended | Cut::Left => SessionError::NoError,
        }
    }

    /// The same for people. Clients may compare these words: docs/wire.md lists them.
    pub const fn reason(self) -> &'static str {
        match self {
            Cut::Removed => "removed from the room",
            Cut::NotLetIn => "not let in",
            Cut::Ended => "ended for everybody",
            Cut::Expired => "the token's time is over",
            Cut::Left => "left",
            Cut::SignedOut => "signed out",
        }
    }
}

#[cfg(test)]
mod tests;
