//! The form of a token: three parts in base64url with dots between, the last signs the first two.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::TOKEN_SPAN_MAX;
use crate::clock::UnixMs;

/// Longer texts are no tokens.
const TOKEN_BYTES_MAX: usize = 4096;
/// How far an application's clock may be ahead of ours, seconds.
const SKEW_SECONDS_MAX: i64 = 30;

/// Why a token lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// No JSON Web Token, or without what it must say.
    #[error("this is no token")]
    Malformed,
    /// Signed otherwise than by HS256.
    #[error("the token is signed in a way that is not accepted")]
    Algorithm,
    /// Signed by nobody we believe.
    #[error("the token is not signed by this relay, or by somebody it knows")]
    Signature,
    /// Too late.
    #[error("the token's time is over")]
    Expired,
    /// Too early, or good for too long.
    #[error("the token's times are wrong")]
    Times,
    /// Good for something else.
    #[error("the token is meant for something else")]
    Audience,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
    /// Extensions that must be understood; there are none.
    crit: Option<Vec<String>>,
}

/// What every token says, whatever else it does.
#[derive(Serialize, Deserialize)]
struct Envelope {
    aud: String,
    iat: i64,
    exp: i64,
    nbf: Option<i64>,
}

pub(super) fn sign(key: &hmac::Key, audience: &str, claims: &impl super::claims::Claims) -> String {
    let header = r#"{"alg":"HS256","typ":"JWT"}"#;
    let (issued, ends) = claims.times();
    let envelope =
        Envelope { aud: audience.to_owned(), iat: issued.seconds(), exp: ends.seconds(), nbf: None };
    // Both are structs of texts and numbers, which cannot fail to be objects.
    let mut object = serde_json::to_value(claims).unwrap_or_default();
    if let (Some(all), Ok(serde_json::Value::Object(envelope))) =
        (object.as_object_mut(), serde_json::to_value(envelope))
    {
        all.extend(envelope.into_iter().filter(|(_, value)| !value.is_null()));
    }
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(object.to_string(), &mut token);
    let tag = hmac::sign(key, token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

/// A token that is formed well; nothing it says is believed yet.
pub(super) struct Signed<'a> {
    signed: &'a str,
    claims: Vec<u8>,
    tag: Vec<u8>,
}

pub(super) fn take_apart(token: &str) -> Result<Signed<'_>, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let (signed, tag) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed);
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
    // What signs is decided here, never by the token (RFC 8725, 3.1).
    if header.alg != "HS256" || header.crit.is_some() {
        return Err(TokenError::Algorithm);
    }
    Ok(Signed { signed, claims: decode(claims)?, tag: decode(tag)? })
}

impl Signed<'_> {
    /// In constant time.
    pub(super) fn is_by(&self, key: &hmac::Key) -> bool {
        hmac::verify(key, self.signed.as_bytes(), &self.tag).is_ok()
    }

    /// Only after [`Signed::is_by`].
    pub(super) fn claims<T: DeserializeOwned>(&self, now: UnixMs, audience: &str) -> Result<T, TokenError> {
        let envelope: Envelope = serde_json::from_slice(&self.claims).map_err(|_| TokenError::Malformed)?;
        let Envelope { aud, iat, exp, nbf } = envelope;
        if aud != audience {
            return Err(TokenError::Audience);
        }
        let now = now.seconds();
        if exp <= now {
            return Err(TokenError::Expired);
        }
        let span_max = i64::try_from(TOKEN_SPAN_MAX.as_secs()).unwrap_or(i64::MAX);
        let begins = iat.max(nbf.unwrap_or(iat));
        if begins > now.saturating_add(SKEW_SECONDS_MAX) || exp.saturating_sub(iat) > span_max {
            return Err(TokenError::Times);
        }
        serde_json::from_slice(&self.claims).map_err(|_| TokenError::Malformed)
    }
}
