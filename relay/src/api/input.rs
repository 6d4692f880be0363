//! What requests may hold: parsed once into types that cannot be wrong, refused as problem documents.

use axum::{
    Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned, de::Error as _};

use super::problem::Problem;

/// A JSON body.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        match Json::from_request(request, state).await {
            Ok(Json(value)) => Ok(Body(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// The parameters of the path. What cannot be an id names nothing.
#[derive(Debug)]
pub struct At<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(At(value)),
            Err(_) => Err(Problem::not_found("there is no such thing")),
        }
    }
}

/// The query.
#[derive(Debug)]
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Asked(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// Text of one line, without space around it: `LEN` characters at most, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<const LEN: usize>(pub String);

impl<const LEN: usize> Line<LEN> {
    /// `None` when it is too long, empty, or has characters that are not to be seen.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_line = !text.is_empty()
            && text.chars().count() <= LEN
            && !text.chars().any(|letter| letter.is_control() || is_unseen(letter));
        is_line.then(|| Line(text.to_owned()))
    }
}

/// Changes the direction of what follows, or is nothing at all: good for looking like somebody else.
fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl<'de, const LEN: usize> Deserialize<'de> for Line<LEN> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Line::new(&text)
            .ok_or_else(|| D::Error::custom(format!("expected 1 to {LEN} characters on one line")))
    }
}

/// What people are called.
pub type PersonName = Line<64>;
/// What rooms are called.
pub type RoomName = Line<100>;

/// What is typed to sign in: 1 to 64 of `[a-z0-9._@+-]`, in lower case whatever was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login(pub String);

impl Login {
    /// `None` when it cannot be one.
    pub fn new(text: &str) -> Option<Self> {
        let login = text.trim().to_lowercase();
        let is_login = (1..=64).contains(&login.len())
            && login
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._@+-".contains(&byte));
        is_login.then_some(Login(login))
    }
}

impl<'de> Deserialize<'de> for Login {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Login::new(&text).ok_or_else(|| D::Error::custom("a login is 1 to 64 of a-z 0-9 . _ @ + -"))
    }
}

/// A password that somebody chooses: 8 to 256 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct NewPassword(pub String);

impl NewPassword {
    /// `None` when it is too short, or absurdly long.
    pub fn new(text: &str) -> Option<Self> {
        (8..=256).contains(&text.len()).then(|| NewPassword(text.to_owned()))
    }
}

impl std::fmt::Debug for NewPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewPassword")
    }
}

impl<'de> Deserialize<'de> for NewPassword {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        NewPassword::new(&text).ok_or_else(|| D::Error::custom("a password has 8 to 256 characters"))
    }
}

/// A field that can be left out, be set, or be emptied with `null`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// Left out: as it is.
    #[default]
    Keep,
    /// `null`: nothing.
    Clear,
    /// This.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Change::Clear, Change::Set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_that_can_be_seen() {
        assert_eq!(PersonName::new("  Ada Lovelace "), Some(Line("Ada Lovelace".to_owned())));
        assert!(PersonName::new("Čeněk 👋").is_some());
        for wrong in ["", "   ", "a\nb", "a\u{202e}b", "a\u{200b}b", &"x".repeat(65)] {
            assert_eq!(PersonName::new(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_login_has_one_form() {
        assert_eq!(
            Login::new(" Ada.Lovelace@Example.org "),
            Some(Login("ada.lovelace@example.org".to_owned()))
        );
        for wrong in ["", "~ada", "a b", "a/b", &"a".repeat(65)] {
            assert_eq!(Login::new(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_field_left_out_is_not_one_that_is_null() {
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            field: Change<u8>,
        }
        let field = |text: &str| serde_json::from_str::<Form>(text).unwrap().field;
        assert_eq!(field("{}"), Change::Keep);
        assert_eq!(field(r#"{"field":null}"#), Change::Clear);
        assert_eq!(field(r#"{"field":7}"#), Change::Set(7));
    }
}
