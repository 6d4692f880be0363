//! The Token structure of AUTHORIZATION TOKEN, in parameters and SETUP (draft 10.2.2).

use bytes::{Bytes, BytesMut};

use crate::{error::Violation, message::Token, vi64};

const DELETE: u64 = 0;
const REGISTER: u64 = 1;
const USE_ALIAS: u64 = 2;
const USE_VALUE: u64 = 3;

pub(super) const TOO_MANY: Violation =
    Violation::protocol("more authorization tokens than one message needs");

const UNREADABLE: Violation = Violation::key_value("an authorization token cannot be decoded");

pub(super) fn encode(token: &Token) -> BytesMut {
    let mut out = BytesMut::new();
    let mut integers = |values: &[u64]| values.iter().for_each(|value| vi64::put(&mut out, *value));
    match token {
        Token::Delete { alias } => integers(&[DELETE, *alias]),
        Token::UseAlias { alias } => integers(&[USE_ALIAS, *alias]),
        Token::Register { alias, token_type, value } => {
            integers(&[REGISTER, *alias, *token_type]);
            out.extend_from_slice(value);
        }
        Token::UseValue { token_type, value } => {
            integers(&[USE_VALUE, *token_type]);
            out.extend_from_slice(value);
        }
    }
    out
}

/// Decodes the whole of `bytes`.
pub(super) fn decode(mut bytes: Bytes) -> Result<Token, Violation> {
    let mut integer = || vi64::take(&mut bytes).ok_or(UNREADABLE);
    match integer()? {
        kind @ (DELETE | USE_ALIAS) => {
            let alias = integer()?;
            if !bytes.is_empty() {
                return Err(UNREADABLE);
            }
            Ok(if kind == DELETE { Token::Delete { alias } } else { Token::UseAlias { alias } })
        }
        REGISTER => {
            let (alias, token_type) = (integer()?, integer()?);
            Ok(Token::Register { alias, token_type, value: Bytes::copy_from_slice(&bytes) })
        }
        USE_VALUE => {
            let token_type = integer()?;
            Ok(Token::UseValue { token_type, value: Bytes::copy_from_slice(&bytes) })
        }
        _ => Err(UNREADABLE),
    }
}
