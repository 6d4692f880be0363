//! The peer's registered authorization tokens (draft 10.2.2, 10.3.1.3).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    error::{RequestErrorCode, SessionError, Violation},
    message::Token,
};

/// What an entry costs beside its value (draft 10.3.1.3).
const ENTRY_BYTES: u64 = 16;

/// Why a message's tokens cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The session ends.
    Session(Violation),
    /// The request or update is refused.
    Request(RequestErrorCode, &'static str),
}

#[derive(Debug)]
pub(super) struct Tokens {
    bytes_max: u64,
    bytes: u64,
    by_alias: BTreeMap<u64, (u64, Bytes)>,
}

impl Tokens {
    pub(super) fn new(bytes_max: u64) -> Self {
        Tokens { bytes_max, bytes: 0, by_alias: BTreeMap::new() }
    }

    /// Applies a message's tokens in order and gives back what they stand for, as values.
    pub(super) fn resolve(&mut self, tokens: Vec<Token>) -> Result<Vec<Token>, TokenError> {
        let mut values = Vec::with_capacity(tokens.len());
        for token in tokens {
            match token {
                Token::Delete { alias } => self.delete(alias).map_err(TokenError::Session)?,
                Token::Register { alias, token_type, value } => {
                    self.register(alias, token_type, &value).map_err(TokenError::Session)?;
                    values.push(Token::UseValue { token_type, value });
                }
                Token::UseAlias { alias } => {
                    let (token_type, value) =
                        self.by_alias.get(&alias).ok_or(TokenError::Session(UNKNOWN))?.clone();
                    values.push(Token::UseValue { token_type, value });
                }
                Token::UseValue { .. } => values.push(token),
            }
        }
        // Few by nature, and bounded by the message's length; every REGISTER has been applied by now.
        let repeats =
            values.iter().enumerate().any(|(index, token)| values.iter().take(index).any(|t| t == token));
        if repeats {
            return Err(TokenError::Request(
                RequestErrorCode::MalformedAuthToken,
                "the same token stands twice in one message",
            ));
        }
        Ok(values)
    }

    /// The same for SETUP, where what does not fit is used but not kept.
    pub(super) fn resolve_setup(&mut self, tokens: Vec<Token>) -> Result<Vec<Token>, Violation> {
        let mut values = Vec::with_capacity(tokens.len());
        for token in tokens {
            match token {
                Token::Delete { .. } | Token::UseAlias { .. } => {
                    return Err(Violation::protocol("SETUP refers to a token alias"));
                }
                Token::Register { alias, token_type, value } => {
                    if self.fits(&value) || self.by_alias.contains_key(&alias) {
                        self.register(alias, token_type, &value)?;
                    }
                    values.push(Token::UseValue { token_type, value });
                }
                Token::UseValue { .. } => values.push(token),
            }
        }
        Ok(values)
    }

    fn fits(&self, value: &Bytes) -> bool {
        self.bytes.saturating_add(cost(value)) <= self.bytes_max
    }

    fn register(&mut self, alias: u64, token_type: u64, value: &Bytes) -> Result<(), Violation> {
        if self.by_alias.contains_key(&alias) {
            return Err(Violation {
                code: SessionError::DuplicateAuthTokenAlias,
                reason: "a token alias was registered twice",
            });
        }
        if !self.fits(value) {
            return Err(Violation {
                code: SessionError::AuthTokenCacheOverflow,
                reason: "more tokens were registered than we keep",
            });
        }
        self.bytes += cost(value);
        // A copy, or the token would keep its whole message alive.
        self.by_alias.insert(alias, (token_type, Bytes::copy_from_slice(value)));
        Ok(())
    }

    fn delete(&mut self, alias: u64) -> Result<(), Violation> {
        let (_, value) = self.by_alias.remove(&alias).ok_or(UNKNOWN)?;
        self.bytes -= cost(&value);
        Ok(())
    }
}

/// The draft has no request error of this name: the one there is ends the session.
const UNKNOWN: Violation =
    Violation { code: SessionError::UnknownAuthTokenAlias, reason: "a token alias was never registered" };

fn cost(value: &Bytes) -> u64 {
    ENTRY_BYTES + value.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(alias: u64, value: &'static str) -> Token {
        Token::Register { alias, token_type: 0, value: Bytes::from(value) }
    }

    fn value(value: &'static str) -> Token {
        Token::UseValue { token_type: 0, value: Bytes::from(value) }
    }

    fn session_error(result: Result<Vec<Token>, TokenError>) -> SessionError {
        match result.unwrap_err() {
            TokenError::Session(violation) => violation.code,
            TokenError::Request(code, _) => panic!("refused with {code:?} only"),
        }
    }

    #[test]
    fn aliases_are_resolved_to_values() {
        let mut tokens = Tokens::new(100);
        assert_eq!(tokens.resolve(vec![register(1, "one")]).unwrap(), [value("one")]);
        assert_eq!(
            tokens.resolve(vec![Token::UseAlias { alias: 1 }, value("two")]).unwrap(),
            [value("one"), value("two")]
        );
        assert_eq!(tokens.resolve(vec![Token::Delete { alias: 1 }]).unwrap(), []);
        assert_eq!(
            session_error(tokens.resolve(vec![Token::UseAlias { alias: 1 }])),
            SessionError::UnknownAuthTokenAlias
        );
    }

    #[test]
    fn an_entry_costs_sixteen_bytes_and_its_value_until_it_is_deleted() {
        let mut tokens = Tokens::new(2 * 16 + 6);
        tokens.resolve(vec![register(1, "one"), register(2, "two")]).unwrap();
        tokens.resolve(vec![Token::Delete { alias: 1 }, register(3, "six")]).unwrap();
        assert_eq!(
            session_error(tokens.resolve(vec![register(4, "")])),
            SessionError::AuthTokenCacheOverflow
        );
    }

    #[test]
    fn an_alias_is_registered_once() {
        let mut tokens = Tokens::new(100);
        tokens.resolve(vec![register(1, "one")]).unwrap();
        assert_eq!(
            session_error(tokens.resolve(vec![register(1, "one")])),
            SessionError::DuplicateAuthTokenAlias
        );
    }

    #[test]
    fn the_same_token_twice_in_a_message_is_refused_but_registered() {
        let mut tokens = Tokens::new(100);
        assert!(matches!(
            tokens.resolve(vec![register(1, "one"), value("one")]),
            Err(TokenError::Request(RequestErrorCode::MalformedAuthToken, _))
        ));
        assert_eq!(tokens.resolve(vec![Token::UseAlias { alias: 1 }]).unwrap(), [value("one")]);
    }

    #[test]
    fn in_setup_what_does_not_fit_is_used_and_not_kept() {
        let mut tokens = Tokens::new(20);
        let values = tokens.resolve_setup(vec![register(1, "four"), register(2, "x")]).unwrap();
        assert_eq!(values, [value("four"), value("x")]);
        tokens.resolve(vec![Token::UseAlias { alias: 1 }]).unwrap();
        assert_eq!(
            session_error(tokens.resolve(vec![Token::UseAlias { alias: 2 }])),
            SessionError::UnknownAuthTokenAlias
        );
        assert_eq!(
            tokens.resolve_setup(vec![Token::UseAlias { alias: 1 }]).unwrap_err().code,
            SessionError::ProtocolViolation
        );
    }
}
