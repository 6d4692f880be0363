//! SETUP (draft 10.3): options as Key-Value-Pairs that fill the message.

use bytes::{Bytes, BytesMut};

use super::{TOKENS_MAX, token};
use crate::{
    error::{SessionError, Violation},
    message::{Setup, Token},
    properties::{Reader, VALUE_BYTES_MAX, Value, Writer},
};

const PATH: u64 = 0x01;
const AUTHORIZATION_TOKEN: u64 = 0x03;
const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
const AUTHORITY: u64 = 0x05;
const IMPLEMENTATION: u64 = 0x07;

pub(super) fn encode(setup: &Setup, out: &mut BytesMut) -> Option<()> {
    let mut options = Writer::new();
    let bytes = |options: &mut Writer, key: u64, value: &[u8]| {
        (value.len() <= VALUE_BYTES_MAX).then(|| {
            options.bytes(key, value);
        })
    };
    if let Some(path) = &setup.path {
        check_path(path).ok()?;
        bytes(&mut options, PATH, path)?;
    }
    if setup.authorization_tokens.len() > TOKENS_MAX {
        return None;
    }
    for one in &setup.authorization_tokens {
        check_token(one).ok()?;
        bytes(&mut options, AUTHORIZATION_TOKEN, &token::encode(one))?;
    }
    if let Some(size) = setup.max_auth_token_cache_size {
        options.integer(MAX_AUTH_TOKEN_CACHE_SIZE, size);
    }
    if let Some(authority) = &setup.authority {
        check_authority(authority).ok()?;
        bytes(&mut options, AUTHORITY, authority)?;
    }
    if let Some(implementation) = &setup.implementation {
        bytes(&mut options, IMPLEMENTATION, implementation)?;
    }
    out.extend_from_slice(&options.finish());
    Some(())
}

/// Decodes the whole of `payload`. Unknown options are ignored, and may repeat.
pub(super) fn decode(payload: &mut Bytes) -> Result<Setup, Violation> {
    let mut setup = Setup::default();
    for option in Reader::new(payload.split_off(0)) {
        let is_new = match option? {
            (PATH, Value::Bytes(path)) => {
                check_path(&path)?;
                setup.path.replace(Bytes::copy_from_slice(&path)).is_none()
            }
            (AUTHORIZATION_TOKEN, Value::Bytes(bytes)) => {
                let one = token::decode(bytes)?;
                check_token(&one)?;
                if setup.authorization_tokens.len() == TOKENS_MAX {
                    return Err(token::TOO_MANY);
                }
                setup.authorization_tokens.push(one);
                true
            }
            (MAX_AUTH_TOKEN_CACHE_SIZE, Value::Integer(size)) => {
                setup.max_auth_token_cache_size.replace(size).is_none()
            }
            (AUTHORITY, Value::Bytes(authority)) => {
                check_authority(&authority)?;
                setup.authority.replace(Bytes::copy_from_slice(&authority)).is_none()
            }
            (IMPLEMENTATION, Value::Bytes(name)) => {
                setup.implementation.replace(Bytes::copy_from_slice(&name)).is_none()
            }
            _ => true,
        };
        if !is_new {
            return Err(Violation::protocol("a SETUP option stands twice"));
        }
    }
    Ok(setup)
}

/// Nothing can be registered before SETUP, so nothing can be referred to in it (draft 10.2.2).
fn check_token(token: &Token) -> Result<(), Violation> {
    match token {
        Token::Delete { .. } | Token::UseAlias { .. } => {
            Err(Violation::protocol("a token alias is used in SETUP"))
        }
        Token::Register { .. } | Token::UseValue { .. } => Ok(()),
    }
}

/// `path-abempty [ "?" query ]` of RFC 3986.
fn check_path(path: &[u8]) -> Result<(), Violation> {
    let starts_well = matches!(path.first(), None | Some(b'/' | b'?'));
    if starts_well && is_uri_text(path, b":@/?") {
        return Ok(());
    }
    Err(Violation { code: SessionError::MalformedPath, reason: "PATH is no path of a URI" })
}

/// `authority` of RFC 3986, by its characters.
fn check_authority(authority: &[u8]) -> Result<(), Violation> {
    if !authority.is_empty() && is_uri_text(authority, b":@[]") {
        return Ok(());
    }
    Err(Violation { code: SessionError::MalformedAuthority, reason: "AUTHORITY is no authority of a URI" })
}

/// Unreserved characters, sub-delimiters, percent-encoded bytes and the `extra` ones.
fn is_uri_text(text: &[u8], extra: &[u8]) -> bool {
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => tail,
            (b'%', _) => return false,
            (one, tail) if one.is_ascii_alphanumeric() => tail,
            (one, tail) if b"-._~!$&'()*+,;=".contains(one) || extra.contains(one) => tail,
            _ => return false,
        };
    }
    true
}
