//! The one definition of every setting: `--some-name` is `ROUNDTABLE_SOME_NAME` is `some-name` in the file.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use super::units::{ByteSize, Span};
use crate::command::Command;

const ABOUT: &str = "The Roundtable relay: serves the page, carries the calls.

Started without a word it listens on this machine only, makes its own certificate and lets in
whoever sits at this machine. It prints where to point a browser.";

const EXAMPLES: &str = "\
Examples:
  roundtable-relay
      Try it: open http://127.0.0.1:8080 in a browser.
  roundtable-publisher --url https://127.0.0.1:4443/my-room film.webm
      Play a film into a room; without a file, a test card.
  roundtable-relay --listen 0.0.0.0:4443 --http 0.0.0.0:8443 \\
        --tls-cert fullchain.pem --tls-key privkey.pem \\
        --public-url https://meet.example.org:8443 --sign-in accounts
      Serve the people who have an account; the first to make one looks after the others.
  roundtable-relay --config relay.toml
      The same from a file: listen = [\"0.0.0.0:4443\"] and so on.
  roundtable-relay user add ada --name \"Ada Lovelace\"
      Make an account; the password comes from standard input.
  roundtable-relay token --room my-room --participant film
      Make a token that lets a tool in.

Every setting is also an environment variable and a key of the file: --cache-age is
ROUNDTABLE_CACHE_AGE and cache-age. Lists are separated by commas in a variable.
The command line wins over the environment, the environment over the file.";

/// Command line, environment and file, as they came.
#[derive(Debug, Clone, clap::Parser)]
#[command(subcommand_value_name = "COMMAND", args_conflicts_with_subcommands = false)]
#[command(name = "roundtable-relay", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 100)]
pub struct Options {
    /// What to do instead of running a relay.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Read settings from a TOML file.
    #[arg(long, env = "ROUNDTABLE_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Where calls arrive (UDP: WebTransport and QUIC); may repeat [default: 127.0.0.1:4443, [::1]:4443].
    #[arg(long, env = "ROUNDTABLE_LISTEN", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    #[arg(help_heading = "Addresses")]
    pub listen: Vec<SocketAddr>,

    /// Where the page is (TCP); may repeat [default: 127.0.0.1:8080, [::1]:8080]. HTTPS beyond loopback.
    #[arg(long, env = "ROUNDTABLE_HTTP", value_name = "ADDRESS:PORT", value_delimiter = ',')]
    #[arg(help_heading = "Addresses")]
    pub http: Vec<SocketAddr>,

    /// Where the metrics are (TCP), or `off` [default: 127.0.0.1:9464, given up when that is taken].
    #[arg(long, env = "ROUNDTABLE_METRICS", value_name = "ADDRESS:PORT|off")]
    #[arg(help_heading = "Addresses")]
    pub metrics: Option<Metrics>,

    /// An address under which people reach the page, such as https://meet.example.org; may repeat. Requests
    /// for other names than these, localhost and the addresses listened on are turned away.
    #[arg(long, env = "ROUNDTABLE_PUBLIC_URL", value_name = "URL", value_delimiter = ',')]
    #[arg(help_heading = "Addresses")]
    pub public_url: Vec<PublicUrl>,

    /// A reverse proxy that ends TLS for the page: may speak plain HTTP to addresses beyond loopback, and
    /// then nobody else may; may repeat.
    #[arg(long, env = "ROUNDTABLE_TRUSTED_PROXY", value_name = "IP", value_delimiter = ',')]
    #[arg(help_heading = "Addresses")]
    pub trusted_proxy: Vec<IpAddr>,

    /// Print one line of JSON with the addresses in use, once all are open.
    #[arg(long, env = "ROUNDTABLE_PRINT_ADDRESSES", help_heading = "Addresses")]
    pub print_addresses: bool,

    /// Listen beyond loopback although nobody is asked who they are (--sign-in open).
    #[arg(long, env = "ROUNDTABLE_ALLOW_OPEN_BEYOND_LOOPBACK", help_heading = "Security")]
    pub allow_open_beyond_loopback: bool,

    /// Who may come in: `open`, whoever reaches the relay and gives a name; or `accounts`, who has an account here.
    #[arg(long, env = "ROUNDTABLE_SIGN_IN", value_name = "HOW", default_value = "open")]
    #[arg(help_heading = "Security")]
    pub sign_in: SignIn,

    /// Let people make accounts themselves. The first account can always be made, and looks after the others.
    #[arg(long, env = "ROUNDTABLE_SIGN_UP", help_heading = "Security")]
    pub sign_up: bool,

    /// A file with a secret that an application shares with the relay, to make tokens of its own; may repeat.
    #[arg(long, env = "ROUNDTABLE_TOKEN_SECRET", value_name = "FILE", value_delimiter = ',')]
    #[arg(help_heading = "Security")]
    pub token_secret: Vec<PathBuf>,

    /// Certificate chain, PEM [default: one is made and renewed, and pinned by its hash].
    #[arg(long, env = "ROUNDTABLE_TLS_CERT", value_name = "FILE", help_heading = "Security")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate, PEM. Both files are read again when they change.
    #[arg(long, env = "ROUNDTABLE_TLS_KEY", value_name = "FILE", help_heading = "Security")]
    pub tls_key: Option<PathBuf>,

    /// Where everything that lasts is kept; one relay per folder.
    #[arg(long, env = "ROUNDTABLE_DATA", value_name = "DIR", default_value = "./roundtable-data")]
    #[arg(help_heading = "Data", global = true)]
    pub data: PathBuf,

    /// Where people, rooms and calls are kept, as postgres://USER:PASSWORD@HOST/DATABASE; better in the environment
    /// or the file than on the command line [default: SQLite in the data folder].
    #[arg(
        long,
        env = "ROUNDTABLE_DATABASE",
        value_name = "URL",
        hide_env_values = true,
        help_heading = "Data"
    )]
    pub database: Option<PostgresUrl>,

    /// Memory for the recent past of all tracks together.
    #[arg(long, env = "ROUNDTABLE_CACHE", value_name = "SIZE", default_value = "512MiB")]
    #[arg(help_heading = "Data")]
    pub cache: ByteSize,

    /// How long the recent past reaches back.
    #[arg(long, env = "ROUNDTABLE_CACHE_AGE", value_name = "TIME", default_value = "30s")]
    #[arg(help_heading = "Data")]
    pub cache_age: Span,

    /// Sessions of the whole relay.
    #[arg(long, env = "ROUNDTABLE_SESSIONS_MAX", value_name = "N", default_value_t = 10_000)]
    #[arg(help_heading = "Limits")]
    pub sessions_max: usize,

    /// Sessions from one address, or one /64 of IPv6. Loopback is not counted.
    #[arg(long, env = "ROUNDTABLE_SESSIONS_PER_ADDRESS_MAX", value_name = "N", default_value_t = 64)]
    #[arg(help_heading = "Limits")]
    pub sessions_per_address_max: usize,

    /// Sessions in one room.
    #[arg(long, env = "ROUNDTABLE_SESSIONS_PER_ROOM_MAX", value_name = "N", default_value_t = 2_000)]
    #[arg(help_heading = "Limits")]
    pub sessions_per_room_max: usize,

    /// Tracks in one room.
    #[arg(long, env = "ROUNDTABLE_TRACKS_PER_ROOM_MAX", value_name = "N", default_value_t = 20_000)]
    #[arg(help_heading = "Limits")]
    pub tracks_per_room_max: usize,

    /// How long sessions are given to leave when the relay is told to stop.
    #[arg(long, env = "ROUNDTABLE_STOP_TIMEOUT", value_name = "TIME", default_value = "3s")]
    #[arg(help_heading = "Limits")]
    pub stop_timeout: Span,

    /// What to log: error, warn, info, debug, trace, or a filter such as `info,roundtable_relay=debug`.
    /// RUST_LOG wins when set.
    #[arg(long, env = "ROUNDTABLE_LOG", value_name = "FILTER", default_value = "info", help_heading = "Log")]
    pub log: String,

    /// For people, or one JSON object a line; on standard error.
    #[arg(long, env = "ROUNDTABLE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    #[arg(help_heading = "Log")]
    pub log_format: LogFormat,
}

/// Who may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum SignIn {
    /// Whoever reaches the relay, by a name alone.
    Open,
    /// Who has an account.
    Accounts,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Where the metrics are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metrics {
    /// Nowhere.
    Off,
    /// Here.
    At(SocketAddr),
}

impl FromStr for Metrics {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Metrics::Off),
            address => address.parse().map(Metrics::At).map_err(|_| "expected ADDRESS:PORT or `off`"),
        }
    }
}

/// The scope of a token: a room by its name, or any path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopePath(pub String);

impl FromStr for ScopePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = if text.starts_with('/') { text.to_owned() } else { format!("/{text}") };
        let is_scope = crate::scope::ScopeName::from_path(&path).is_some();
        is_scope.then_some(ScopePath(path)).ok_or("expected a room: 1 to 64 of A-Z a-z 0-9 _ -")
    }
}

/// Where a Postgres database is, and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(pub String);

impl std::fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("postgres://…")
    }
}

impl FromStr for PostgresUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_one = text.starts_with("postgres://") || text.starts_with("postgresql://");
        is_one.then(|| PostgresUrl(text.to_owned())).ok_or("expected postgres://USER:PASSWORD@HOST/DATABASE")
    }
}

/// An address under which people reach the page: scheme, host, port, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    /// True for https.
    pub is_https: bool,
    /// Lower case; an IPv6 address without its brackets.
    pub host: String,
    /// As written, or the scheme's own.
    pub port: u16,
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            "expected a URL such as https://meet.example.org or http://192.0.2.1:8080, without a path";
        let (is_https, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(wrong);
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = crate::doors::split_authority(rest).ok_or(wrong)?;
        Ok(PublicUrl { is_https, host, port: port.unwrap_or(if is_https { 443 } else { 80 }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_scheme_host_and_port() {
        let url: PublicUrl = "https://Meet.Example.org/".parse().unwrap();
        assert_eq!(url, PublicUrl { is_https: true, host: "meet.example.org".into(), port: 443 });
        let url: PublicUrl = "http://[::1]:81".parse().unwrap();
        assert_eq!(url, PublicUrl { is_https: false, host: "::1".into(), port: 81 });
        for wrong in ["meet.example.org", "ftp://a", "https://a/b", "https://", "https://u@a", "https://a:x"]
        {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
    }
}
