//! What tokens say.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};
use utoipa::ToSchema;

use crate::{
    clock::UnixMs,
    id::{ParticipantId, SignInId, UserId},
};

/// Something that can stand in a token.
pub trait Claims: Serialize + DeserializeOwned {
    /// What it is good for: `aud`.
    const AUDIENCE: &'static str;

    /// When it was made, and when its time is over: `iat` and `exp`, in whole seconds.
    fn times(&self) -> (UnixMs, UnixMs);
}

/// Something that a participant can send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The track `audio`.
    Microphone,
    /// The tracks `camera` and `camera-low`.
    Camera,
    /// The track `screen`.
    Screen,
    /// The track `screen-audio`.
    ScreenAudio,
    /// Messages.
    Chat,
    /// Tracks of any name that the wire description does not know.
    Other,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 6] = [
        Source::Microphone,
        Source::Camera,
        Source::Screen,
        Source::ScreenAudio,
        Source::Chat,
        Source::Other,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of [`Source`]s; in JSON a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sources(u8);

impl Sources {
    /// Nothing.
    pub const NONE: Sources = Sources(0);
    /// What people have who may do as others do.
    pub const USUAL: Sources = Sources(
        Source::Microphone.bit()
            | Source::Camera.bit()
            | Source::Screen.bit()
            | Source::ScreenAudio.bit()
            | Source::Chat.bit(),
    );

    /// Holds this one.
    pub const fn has(self, source: Source) -> bool {
        self.0 & source.bit() != 0
    }

    /// The members, in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = Source> {
        Source::ALL.into_iter().filter(move |source| self.has(*source))
    }
}

impl FromIterator<Source> for Sources {
    fn from_iter<I: IntoIterator<Item = Source>>(sources: I) -> Self {
        Sources(sources.into_iter().fold(0, |bits, source| bits | source.bit()))
    }
}

impl Serialize for Sources {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Sources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Source>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Lets a session into one scope, as one participant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaToken {
    /// The scope's path: `/<room>` or `/me/<user>`.
    pub scope: String,
    /// The participant; in `/me/<user>` the user.
    pub sub: ParticipantId,
    /// What others see.
    #[serde(default)]
    pub name: String,
    /// The user behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// The sign-in behind it: the seat ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignInId>,
    /// What it may send.
    #[serde(default)]
    pub publish: Sources,
    /// It may see and hear the others.
    #[serde(default)]
    pub subscribe: bool,
    /// It may look after the others.
    #[serde(default)]
    pub moderate: bool,
    /// It may record.
    #[serde(default)]
    pub record: bool,
    /// It waits to be let in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waiting: bool,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// When its time is over, Unix seconds.
    pub exp: i64,
}

impl MediaToken {
    /// When it was made.
    pub const fn made_at(&self) -> UnixMs {
        UnixMs(self.iat.saturating_mul(1000))
    }

    /// When its time is over.
    pub const fn ends_at(&self) -> UnixMs {
        UnixMs(self.exp.saturating_mul(1000))
    }
}

impl Claims for MediaToken {
    const AUDIENCE: &'static str = "media";

    fn times(&self) -> (UnixMs, UnixMs) {
        (self.made_at(), self.ends_at())
    }
}

/// Stands for a sign-in in requests to the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// The user.
    pub sub: UserId,
    /// The sign-in.
    pub sign_in: SignInId,
    /// When it was made, Unix seconds.
    pub iat: i64,
    /// When its time is over, Unix seconds.
    pub exp: i64,
}

impl Claims for ApiToken {
    const AUDIENCE: &'static str = "api";

    fn times(&self) -> (UnixMs, UnixMs) {
        (UnixMs(self.iat.saturating_mul(1000)), UnixMs(self.exp.saturating_mul(1000)))
    }
}
