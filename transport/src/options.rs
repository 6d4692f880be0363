//! The options with which every command line tool of Roundtable finds its relay, and what to do when it does not.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use bytes::Bytes;
use roundtable_moqt::{
    Config, Role, Session,
    message::{Setup, Token},
};
use url::{Host, Url};

use crate::{
    client::{ClientConfig, ConnectError, connect},
    connection::Connection,
    tls::{CertificateHash, Trust},
};

/// Longest token that is read from a file, bytes.
const TOKEN_BYTES_MAX: u64 = 16 << 10;

/// Where the relay is, whom to believe and who we are. For `#[command(flatten)]`.
#[derive(Clone, clap::Args)]
pub struct ConnectOptions {
    /// The room: https://HOST:PORT/ROOM (WebTransport) or moqt://HOST:PORT/ROOM (raw QUIC)
    #[arg(long, env = "ROUNDTABLE_URL", value_name = "URL")]
    pub url: String,

    /// File with the token that lets us in; the token itself may stand in ROUNDTABLE_TOKEN
    #[arg(long, env = "ROUNDTABLE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,

    /// Believe the server whose certificate has this SHA-256 (may be given more than once). The relay prints it at
    /// its start and serves it at /certificate.sha256
    #[arg(long, env = "ROUNDTABLE_TLS_SHA256", value_name = "HEX", value_delimiter = ',')]
    pub tls_sha256: Vec<CertificateHash>,

    /// Believe any server. Needed for tests only: a relay on this machine (127.0.0.1, [::1], localhost) is believed
    /// anyway, as long as no hash is given
    #[arg(long, conflicts_with = "tls_sha256")]
    pub tls_disable_verify: bool,
}

/// Why there is no session, and what to do about it. The messages are whole: no source repeats a part of them.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The token's file.
    #[error("cannot read the token in {}: {reason}", .path.display())]
    TokenFile {
        /// As given.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// Not the file of a token.
    #[error("{} holds no token: it is empty, larger than 16 KiB or not text", .0.display())]
    NotAToken(PathBuf),
    /// No connection.
    #[error("{error}{}", hint(.error))]
    Connect {
        /// Why.
        error: ConnectError,
    },
}

impl From<ConnectError> for OptionsError {
    fn from(error: ConnectError) -> Self {
        OptionsError::Connect { error }
    }
}

/// What a person could do, as a second sentence.
fn hint(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Certificate(_) | ConnectError::Trust(_) => {
            ".\nThe relay prints the SHA-256 of its certificate at its start and serves it at /certificate.sha256: \
             pass it with --tls-sha256"
        }
        ConnectError::Refused { status: Some(404) } => {
            ".\nThe path of the URL names a room: one part of letters, digits, '-' and '_', no slash at the end"
        }
        ConnectError::Refused { .. } => {
            ".\nThe room may not exist, its name may not be allowed, or a token is needed (--token-file)"
        }
        _ => "",
    }
}

impl ConnectOptions {
    /// Dials, and makes the session that is to run on the connection. `name` is told to the server.
    pub async fn connect(&self, name: &'static str) -> Result<(Connection, Session), OptionsError> {
        let token = self.token()?;
        let config = ClientConfig { trust: self.trust(), ..ClientConfig::default() };
        let connection = connect(&self.url, &config).await?;
        let session = Session::new(session_config(&connection, token, name), Instant::now());
        Ok((connection, session))
    }

    /// Whom to believe: those named, those that an authority has signed, and whoever answers on this machine, since
    /// what is sent there does not leave it.
    pub fn trust(&self) -> Trust {
        if !self.tls_sha256.is_empty() {
            Trust::Pinned(self.tls_sha256.clone())
        } else if self.tls_disable_verify || self.names_this_machine() {
            Trust::Anyone
        } else {
            Trust::System
        }
    }

    fn names_this_machine(&self) -> bool {
        match self.parsed_url().as_ref().and_then(Url::host) {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
    }

    /// The URL by the rules of `https`, which hold for `moqt` as well.
    fn parsed_url(&self) -> Option<Url> {
        let (_, rest) = self.url.split_once("://")?;
        Url::parse(&format!("https://{rest}")).ok()
    }

    /// The token, if one was given.
    pub fn token(&self) -> Result<Option<Bytes>, OptionsError> {
        let Some(path) = &self.token_file else {
            let token = std::env::var("ROUNDTABLE_TOKEN").unwrap_or_default();
            return Ok(Some(token.trim().to_owned()).filter(|token| !token.is_empty()).map(Bytes::from));
        };
        let fail = |reason| OptionsError::TokenFile { path: path.clone(), reason };
        if fs::metadata(path).map_err(fail)?.len() > TOKEN_BYTES_MAX {
            return Err(OptionsError::NotAToken(path.clone()));
        }
        let text = String::from_utf8(fs::read(path).map_err(fail)?);
        match text.as_deref().map(str::trim) {
            Ok(token) if !token.is_empty() => Ok(Some(Bytes::from(token.to_owned()))),
            _ => Err(OptionsError::NotAToken(path.clone())),
        }
    }
}

/// Reads a length of time as command lines have it: 90, 90s, 5m, 1.5h, 250ms.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("{other:?} is no unit of time: write ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_| "write a number, such as 90, 5m or 1.5h".to_owned())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

fn session_config(connection: &Connection, token: Option<Bytes>, name: &'static str) -> Config {
    let target = connection.setup_target();
    let setup = Setup {
        path: target.map(|target| target.path.clone()),
        authority: target.map(|target| target.authority.clone()),
        authorization_tokens: token
            .map(|value| Token::UseValue { token_type: 0, value })
            .into_iter()
            .collect(),
        implementation: Some(format!("{name} {}", env!("CARGO_PKG_VERSION")).into()),
        ..Setup::default()
    };
    Config { setup, ..Config::new(Role::Client, connection.carrier()) }
}

impl std::fmt::Debug for ConnectOptions {
    /// The URL may hold a token, so only its beginning is shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("url", &self.url.split('?').next())
            .field("token_file", &self.token_file)
            .field("tls_sha256", &self.tls_sha256)
            .field("tls_disable_verify", &self.tls_disable_verify)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tempfile::tempdir;

    use super::*;

    #[derive(clap::Parser)]
    struct Tool {
        #[command(flatten)]
        connect: ConnectOptions,
    }

    fn options(arguments: &[&str]) -> ConnectOptions {
        Tool::try_parse_from([&["tool"], arguments].concat()).unwrap().connect
    }

    #[test]
    fn a_relay_on_this_machine_is_believed_and_others_are_not() {
        for url in ["https://127.0.0.1:4443/room", "moqt://[::1]:4443/room", "https://localhost/room"] {
            assert!(matches!(options(&["--url", url]).trust(), Trust::Anyone), "{url}");
        }
        for url in ["https://example.net/room", "moqt://192.0.2.1/room", "https://localhost.example/"] {
            assert!(matches!(options(&["--url", url]).trust(), Trust::System), "{url}");
        }
    }

    #[test]
    fn a_hash_is_pinned_even_on_this_machine() {
        let hash = "ab".repeat(32);
        let pinned = options(&["--url", "https://127.0.0.1/room", "--tls-sha256", &hash]);
        assert!(matches!(pinned.trust(), Trust::Pinned(hashes) if hashes == [CertificateHash([0xab; 32])]));
        let both = ["tool", "--url", "https://a/", "--tls-sha256", &hash, "--tls-disable-verify"];
        assert!(Tool::try_parse_from(both).is_err());
        assert!(Tool::try_parse_from(["tool", "--url", "https://a/", "--tls-sha256", "abc"]).is_err());
    }

    #[test]
    fn times_are_read_with_their_units() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "h", "5 d", "-1", "1e400"] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_error_says_everything_once() {
        use std::error::Error as _;
        let unreadable =
            options(&["--url", "https://a/", "--token-file", "/nowhere/token"]).token().unwrap_err();
        let unreachable = ConnectError::Unreachable { host: "a".into(), port: 443 };
        for error in [unreadable, unreachable.into()] {
            assert!(error.source().is_none(), "{error}");
        }
    }

    #[test]
    fn the_token_comes_from_its_file() {
        let folder = tempdir().unwrap();
        let file = folder.path().join("token");
        let with_file = options(&["--url", "https://a/", "--token-file", file.to_str().unwrap()]);
        assert!(matches!(with_file.token(), Err(OptionsError::TokenFile { .. })));
        fs::write(&file, "secret\n").unwrap();
        assert_eq!(with_file.token().unwrap(), Some(Bytes::from_static(b"secret")));
        fs::write(&file, " \n").unwrap();
        assert!(matches!(with_file.token(), Err(OptionsError::NotAToken(_))));
        assert!(!format!("{:?}", options(&["--url", "https://a/room?token=secret"])).contains("secret"));
    }
}
