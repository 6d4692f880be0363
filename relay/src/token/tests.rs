use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::id::{ParticipantId, SignInId, UserId};

const NOW: UnixMs = UnixMs(1_800_000_000_000);

fn keys() -> Keys {
    Keys::new(TokenKey::from_bytes(&[1; 32]), vec![TokenKey::from_bytes(&[2; 32])])
}

fn media() -> MediaToken {
    MediaToken {
        scope: "/room".to_owned(),
        sub: ParticipantId::new("ada").unwrap(),
        name: "Ada".to_owned(),
        user: None,
        sign_in: None,
        publish: [Source::Microphone, Source::Chat].into_iter().collect(),
        subscribe: true,
        moderate: false,
        record: false,
        waiting: false,
        iat: NOW.seconds(),
        exp: NOW.seconds() + 600,
    }
}

fn read(token: &str) -> Result<(MediaToken, Signer), TokenError> {
    keys().read(token, NOW)
}

/// A token of any form, signed by the relay's key.
fn signed(header: &str, claims: &str) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let tag = hmac::sign(&keys().own.0, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

#[test]
fn a_token_says_afterwards_what_it_said_before() {
    let token = keys().sign(&media());
    assert_eq!(read(&token), Ok((media(), Signer::Relay)));
    let of_application = TokenKey::from_bytes(&[2; 32]).sign(&media());
    assert_eq!(read(&of_application), Ok((media(), Signer::Application)));
    assert_eq!(read(&TokenKey::from_bytes(&[3; 32]).sign(&media())), Err(TokenError::Signature));
}

#[test]
fn the_signature_is_that_of_the_standard() {
    // RFC 7515, A.1.
    let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
                 eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                 dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let key = TokenKey::from_bytes(&URL_SAFE_NO_PAD.decode(key).unwrap());
    assert!(jwt::take_apart(token).unwrap().is_by(&key.0));
    assert!(!jwt::take_apart(token).unwrap().is_by(&keys().own.0));
}

#[test]
fn an_application_says_no_more_than_it_must() {
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    let claims = r#"{"aud":"media","scope":"/room","sub":"bot","publish":["camera","other"],"iat":1800000000,"exp":1800000600,"extra":[1]}"#;
    let (media, _) = read(&signed(header, claims)).unwrap();
    assert_eq!(media.sub.as_str(), "bot");
    assert!(media.publish.has(Source::Other) && !media.publish.has(Source::Microphone));
    assert!(!media.subscribe && !media.moderate && !media.record, "what is not said is not granted");
}

#[test]
fn the_algorithm_is_never_the_tokens_choice() {
    let claims = serde_json::to_string(&serde_json::json!({
        "aud": "media", "scope": "/room", "sub": "ada", "iat": NOW.seconds(), "exp": NOW.seconds() + 60
    }))
    .unwrap();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
    ] {
        assert_eq!(read(&signed(header, &claims)), Err(TokenError::Algorithm), "{header}");
    }
    let unsigned =
        format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#), URL_SAFE_NO_PAD.encode(&claims));
    assert_eq!(read(&unsigned), Err(TokenError::Signature));
    assert!(read(&signed(r#"{"alg":"HS256"}"#, &claims)).is_ok());
}

#[test]
fn a_token_is_good_in_its_time_only() {
    let at =
        |iat: i64, exp: i64| MediaToken { iat: NOW.seconds() + iat, exp: NOW.seconds() + exp, ..media() };
    let read = |token: MediaToken| read(&keys().sign(&token)).map(drop);
    assert_eq!(read(at(-600, 1)), Ok(()));
    assert_eq!(read(at(-600, 0)), Err(TokenError::Expired));
    assert_eq!(read(at(10, 60)), Ok(()), "a clock may be a little ahead");
    assert_eq!(read(at(3600, 3660)), Err(TokenError::Times));
    assert_eq!(read(at(0, 24 * 3600)), Ok(()));
    assert_eq!(read(at(0, 24 * 3600 + 1)), Err(TokenError::Times));
    assert_eq!(read(at(i64::MIN / 2, i64::MAX / 2)), Err(TokenError::Times));
}

#[test]
fn a_token_for_one_thing_is_not_good_for_another() {
    let api = ApiToken {
        sub: UserId::new("ada").unwrap(),
        sign_in: SignInId::new("s").unwrap(),
        iat: NOW.seconds(),
        exp: NOW.seconds() + 60,
    };
    let token = keys().sign(&api);
    assert_eq!(read(&token), Err(TokenError::Audience));
    assert_eq!(keys().read::<ApiToken>(&token, NOW), Ok((api, Signer::Relay)));
    assert_eq!(keys().read::<ApiToken>(&keys().sign(&media()), NOW), Err(TokenError::Audience));
}

#[test]
fn what_is_no_token_is_refused() {
    let long = "a".repeat(10_000);
    for text in ["", ".", "..", "a.b.c", "a.b", "ä.b.c", &long] {
        assert_eq!(read(text), Err(TokenError::Malformed), "{text}");
    }
    for claims in ["", "[]", "{}", r#"{"aud":"media"}"#, r#"{"aud":"media","iat":"x","exp":1}"#] {
        assert_eq!(read(&signed(r#"{"alg":"HS256"}"#, claims)), Err(TokenError::Malformed), "{claims}");
    }
    let without_scope =
        format!(r#"{{"aud":"media","sub":"a","iat":{},"exp":{}}}"#, NOW.seconds(), NOW.seconds() + 9);
    assert_eq!(read(&signed(r#"{"alg":"HS256"}"#, &without_scope)), Err(TokenError::Malformed));
}

proptest! {
    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(at in 0usize..400, bit in 0u8..7) {
        let token = keys().sign(&media());
        let mut bytes = token.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assume!(changed != token);
            prop_assert!(read(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn no_text_makes_it_stumble(text in "\\PC{0,200}") {
        prop_assert!(read(&text).is_err());
    }
}

#[test]
fn the_key_lasts_and_nobody_else_reads_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token.key");
    let token = TokenKey::open(&path).unwrap().sign(&media());
    let again = Keys::new(TokenKey::open(&path).unwrap(), Vec::new());
    assert!(again.read::<MediaToken>(&token, NOW).is_ok());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::write(&path, "short").unwrap();
    assert!(matches!(TokenKey::open(&path), Err(KeyError::TooShort(_))));
}

#[test]
fn a_secret_of_an_application_is_long_enough() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "guess me\n").unwrap();
    assert!(matches!(TokenKey::of_application(&path), Err(KeyError::TooShort(_))));
    let secret = "0123456789abcdef0123456789abcdef";
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    let token = TokenKey::of_application(&path).unwrap().sign(&media());
    let keys = Keys::new(TokenKey::random().unwrap(), vec![TokenKey::from_bytes(secret.as_bytes())]);
    assert_eq!(keys.read::<MediaToken>(&token, NOW).unwrap().1, Signer::Application);
    assert!(matches!(TokenKey::of_application(&folder.path().join("none")), Err(KeyError::File { .. })));
}
