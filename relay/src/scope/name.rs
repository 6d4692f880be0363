//! Names of scopes: what the path of a connection may be.

use std::{fmt, sync::Arc};

/// Longest id of a room, user or participant, bytes.
pub const ID_BYTES_MAX: usize = 64;

/// True for an id of a room, user or participant: 1 to 64 of `[A-Za-z0-9_-]`.
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_BYTES_MAX
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// One room or one user's own place: all that a session can see. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScopeName {
    /// `/<room>`
    Room(Arc<str>),
    /// `/me/<user>`
    User(Arc<str>),
}

impl ScopeName {
    /// The scope of a URI's path, taken literally: no percent-decoding, no trailing slash. A query must have
    /// been cut off. `None` is 404, or INVALID_PATH in raw QUIC.
    pub fn from_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix('/')?;
        match rest.strip_prefix("me/") {
            Some(user) => is_id(user).then(|| ScopeName::User(user.into())),
            None => (is_id(rest) && rest != "me").then(|| ScopeName::Room(rest.into())),
        }
    }

    /// The same for the PATH option of SETUP, which holds path and query; with the query's token, if there is one.
    pub fn from_path_and_query(bytes: &[u8]) -> Option<(Self, Option<String>)> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        Some((Self::from_path(path)?, query.and_then(token_of_query)))
    }
}

/// The token of a query, `token=…`. A token has no letters that would be written otherwise there.
pub fn token_of_query(query: &str) -> Option<String> {
    query.split('&').find_map(|pair| pair.strip_prefix("token=")).map(str::to_owned)
}

impl fmt::Display for ScopeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScopeName::Room(room) => write!(f, "/{room}"),
            ScopeName::User(user) => write!(f, "/me/{user}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_literally() {
        let room = |name: &str| Some(ScopeName::Room(name.into()));
        assert_eq!(ScopeName::from_path("/my-room_1"), room("my-room_1"));
        assert_eq!(ScopeName::from_path("/me/ada"), Some(ScopeName::User("ada".into())));
        let longest = "a".repeat(64);
        assert_eq!(ScopeName::from_path(&format!("/{longest}")), room(&longest));
        for path in [
            "",
            "/",
            "room",
            "/me",
            "/me/",
            "/a/",
            "/a/b",
            "/a%20b",
            "/me/a/b",
            "/a?b",
            "/ä",
            "/.session",
            "//a",
        ] {
            assert_eq!(ScopeName::from_path(path), None, "{path}");
        }
        assert_eq!(ScopeName::from_path(&format!("/{longest}a")), None);
    }

    #[test]
    fn the_path_option_may_have_a_query() {
        let room = |token: Option<&str>| Some((ScopeName::Room("room".into()), token.map(str::to_owned)));
        assert_eq!(ScopeName::from_path_and_query(b"/room?token=x"), room(Some("x")));
        assert_eq!(ScopeName::from_path_and_query(b"/room?a=b&token=x.y-z_&c"), room(Some("x.y-z_")));
        assert_eq!(ScopeName::from_path_and_query(b"/room?my-token=x"), room(None));
        assert_eq!(ScopeName::from_path_and_query(b"/room"), room(None));
        assert_eq!(ScopeName::from_path_and_query(b"/\xff"), None);
    }
}
