//! What the relay is told: one definition per setting ([`options::Options`]), from which come the flag, the
//! environment variable and the file's key; checked once here, so that the rest never sees a raw option.

pub mod file;
pub mod options;
pub mod units;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use clap::{CommandFactory as _, FromArgMatches as _};

use self::options::{LogFormat, Metrics, Options, PostgresUrl, PublicUrl, SignIn};
use crate::{command::Command, limits::Limits};

const QUIC_PORT: u16 = 4443;
const HTTP_PORT: u16 = 8080;
const METRICS_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Why the relay cannot be configured as asked. Every message says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A flag or variable is wrong, or help was asked for: print it, exit with its code.
    #[error(transparent)]
    Options(#[from] clap::Error),
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] file::FileError),
    /// A certificate without its key, or the other way round.
    #[error(
        "{given} is given without {missing}: a certificate is of no use without its key. Give both, or neither to have one made."
    )]
    HalfACertificate {
        /// The flag that is there.
        given: &'static str,
        /// The flag that is not.
        missing: &'static str,
    },
    /// Would let everybody on the network read the metrics.
    #[error(
        "--metrics {0} can be reached from other machines, and metrics ask nobody who they are: listen on loopback \
         (127.0.0.1, [::1]), or add --allow-open-beyond-loopback when everybody who can reach that address may read them."
    )]
    MetricsBeyondLoopback(SocketAddr),
    /// Would let everybody on the network in.
    #[error(
        "{flag} {address} can be reached from other machines, and this relay does not ask anybody who they are: \
         whoever reaches it can listen to every call.\nAsk them with --sign-in accounts, listen on loopback only \
         (127.0.0.1, [::1]), or add --allow-open-beyond-loopback when everybody who can reach that address may do \
         everything."
    )]
    OpenBeyondLoopback {
        /// The flag.
        flag: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A limit of zero would refuse everything.
    #[error("--{0} 0 would refuse everything; leave it out for the default")]
    ZeroLimit(&'static str),
}

/// Addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// Nobody asked for them: an address this machine does not have (no IPv6) is then no error.
    pub is_default: bool,
}

impl Listen {
    fn from_option(asked: Vec<SocketAddr>, default_port: u16) -> Self {
        if asked.is_empty() {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            Listen {
                addresses: loopback.map(|ip| SocketAddr::new(ip, default_port)).to_vec(),
                is_default: true,
            }
        } else {
            Listen { addresses: asked, is_default: false }
        }
    }
}

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// Made here, kept in the data folder, renewed in time.
    Own,
    /// Two PEM files, read again when they change.
    Given {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A filter as of `tracing-subscriber`.
    pub filter: String,
    /// For people or for machines.
    pub format: LogFormat,
}

/// Everything the relay needs to know, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// What to do instead of running a relay.
    pub command: Option<Command>,
    /// UDP: WebTransport and raw QUIC.
    pub quic: Listen,
    /// TCP: the page.
    pub http: Listen,
    /// TCP: metrics, for this machine's administrator.
    pub metrics: Option<Listen>,
    /// The data folder.
    pub data: PathBuf,
    /// A Postgres database, if not SQLite in the data folder.
    pub database: Option<PostgresUrl>,
    /// Who may come in.
    pub sign_in: SignIn,
    /// People may make accounts themselves.
    pub sign_up: bool,
    /// Files with secrets that applications share with the relay.
    pub token_secrets: Vec<PathBuf>,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// Other names and addresses under which people reach the page.
    pub public_urls: Vec<PublicUrl>,
    /// Peers that may speak plain HTTP to addresses beyond loopback. Empty: those are HTTPS.
    pub trusted_proxies: Vec<IpAddr>,
    /// How much of everything. Over a limit, what is new is refused and counted; what runs goes on.
    pub limits: Limits,
    /// Sessions from one address (one /64 of IPv6).
    pub sessions_per_address_max: usize,
    /// How long sessions are given to leave when the relay is told to stop.
    pub stop_timeout: Duration,
    /// Logging.
    pub log: Log,
    /// Print the bound addresses as one line of JSON on standard output.
    pub print_addresses: bool,
}

impl Config {
    /// Reads command line and environment, then the file they name, in this order of precedence.
    pub fn load(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, ConfigError> {
        let mut arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
        // The variable of a flag follows from its name; the help says so once.
        let command = Options::command().mut_args(|argument| argument.hide_env(true));
        let mut matches = command.clone().try_get_matches_from(&arguments)?;
        if let Some(path) = matches.get_one::<PathBuf>("config").cloned() {
            // Before a subcommand, which knows some settings only.
            arguments.splice(1..1, file::arguments(&path, &command, &matches)?);
            matches = command.try_get_matches_from(&arguments).map_err(|source| file::FileError::Value {
                path,
                reason: source.render().to_string().trim_start_matches("error: ").trim_end().to_owned(),
            })?;
        }
        Self::check(Options::from_arg_matches(&matches)?)
    }

    fn check(options: Options) -> Result<Self, ConfigError> {
        let certificate = match (options.tls_cert, options.tls_key) {
            (None, None) => CertificateSource::Own,
            (Some(certificate), Some(key)) => CertificateSource::Given { certificate, key },
            (Some(_), None) => {
                return Err(ConfigError::HalfACertificate { given: "--tls-cert", missing: "--tls-key" });
            }
            (None, Some(_)) => {
                return Err(ConfigError::HalfACertificate { given: "--tls-key", missing: "--tls-cert" });
            }
        };
        let quic = Listen::from_option(options.listen, QUIC_PORT);
        let http = Listen::from_option(options.http, HTTP_PORT);
        let metrics = match options.metrics {
            None => Some(Listen { addresses: vec![METRICS_DEFAULT], is_default: true }),
            Some(Metrics::Off) => None,
            Some(Metrics::At(address)) => Some(Listen { addresses: vec![address], is_default: false }),
        };
        if !options.allow_open_beyond_loopback {
            if options.sign_in == SignIn::Open {
                refuse_beyond_loopback("--listen", &quic)?;
                refuse_beyond_loopback("--http", &http)?;
            }
            if let Some(address) = metrics.as_ref().and_then(beyond_loopback) {
                return Err(ConfigError::MetricsBeyondLoopback(address));
            }
        }
        let limits = Limits {
            cache_bytes_max: usize::try_from(options.cache.0).unwrap_or(usize::MAX),
            cache_age_max: options.cache_age.0,
            sessions_max: not_zero("sessions-max", options.sessions_max)?,
            sessions_per_scope_max: not_zero("sessions-per-room-max", options.sessions_per_room_max)?,
            tracks_per_scope_max: not_zero("tracks-per-room-max", options.tracks_per_room_max)?,
            ..Limits::default()
        };
        Ok(Config {
            command: options.command,
            quic,
            http,
            metrics,
            data: options.data,
            database: options.database,
            sign_in: options.sign_in,
            sign_up: options.sign_up,
            token_secrets: options.token_secret,
            certificate,
            public_urls: options.public_url,
            trusted_proxies: options.trusted_proxy,
            limits,
            sessions_per_address_max: not_zero("sessions-per-address-max", options.sessions_per_address_max)?,
            stop_timeout: options.stop_timeout.0,
            log: Log { filter: options.log, format: options.log_format },
            print_addresses: options.print_addresses,
        })
    }
}

fn beyond_loopback(listen: &Listen) -> Option<SocketAddr> {
    listen.addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()).copied()
}

fn refuse_beyond_loopback(flag: &'static str, listen: &Listen) -> Result<(), ConfigError> {
    match beyond_loopback(listen) {
        Some(address) => Err(ConfigError::OpenBeyondLoopback { flag, address }),
        None => Ok(()),
    }
}

fn not_zero(name: &'static str, value: usize) -> Result<usize, ConfigError> {
    if value == 0 { Err(ConfigError::ZeroLimit(name)) } else { Ok(value) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(arguments: &[&str]) -> Result<Config, ConfigError> {
        Config::load(["roundtable-relay"].iter().chain(arguments))
    }

    fn load_file(text: &str, arguments: &[&str]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("relay.toml");
        std::fs::write(&path, text).unwrap();
        let mut all = vec!["--config", path.to_str().unwrap()];
        all.extend(arguments);
        load(&all).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_it_listens_on_loopback_of_both_families() {
        let config = load(&[]).unwrap();
        let addresses: Vec<String> = config.quic.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:4443", "[::1]:4443"]);
        let addresses: Vec<String> = config.http.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["127.0.0.1:8080", "[::1]:8080"]);
        assert!(config.quic.is_default && config.http.is_default);
        assert_eq!(config.certificate, CertificateSource::Own);
        assert_eq!(config.data, PathBuf::from("./roundtable-data"));
    }

    #[test]
    fn listening_beyond_loopback_must_be_said_twice() {
        for flag in ["--listen", "--http", "--metrics"] {
            let error = load(&[flag, "0.0.0.0:4443"]).unwrap_err().to_string();
            assert!(error.contains("--allow-open-beyond-loopback"), "{error}");
            assert!(error.contains(flag), "{error}");
            assert!(load(&[flag, "[::ffff:192.0.2.1]:4443"]).is_err());
            assert!(load(&[flag, "0.0.0.0:4443", "--allow-open-beyond-loopback"]).is_ok());
        }
        assert!(load(&["--listen", "0.0.0.0:4443", "--sign-in", "accounts"]).is_ok());
        let error = load(&["--metrics", "0.0.0.0:9464", "--sign-in", "accounts"]).unwrap_err().to_string();
        assert!(error.contains("--metrics"), "metrics ask nobody who they are: {error}");
        assert!(load(&["--listen", "127.0.0.2:4443", "--listen", "[::ffff:127.0.0.1]:4443"]).is_ok());
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let error = load(&["--tls-cert", "cert.pem"]).unwrap_err().to_string();
        assert!(error.starts_with("--tls-cert is given without --tls-key"), "{error}");
        assert!(load(&["--tls-cert", "cert.pem", "--tls-key", "key.pem"]).is_ok());
    }

    #[test]
    fn a_key_of_the_file_is_a_flag_and_the_command_line_wins() {
        let config = load_file(
            "listen = [\"127.0.0.1:1000\", \"127.0.0.1:1001\"]\ncache = \"64MiB\"\ncache-age = \"1m\"\n\
             sessions-max = 7\nprint-addresses = true\nlog-format = \"json\"\n",
            &["--cache", "1kB"],
        )
        .unwrap();
        assert_eq!(config.quic.addresses.len(), 2);
        assert!(!config.quic.is_default);
        assert_eq!(config.limits.cache_bytes_max, 1000);
        assert_eq!(config.limits.cache_age_max, Duration::from_secs(60));
        assert_eq!(config.limits.sessions_max, 7);
        assert!(config.print_addresses);
        assert_eq!(config.log.format, LogFormat::Json);
    }

    #[test]
    fn certificate_and_key_may_come_from_different_places() {
        let config = load_file("tls-key = \"key.pem\"", &["--tls-cert", "cert.pem"]).unwrap();
        assert!(matches!(config.certificate, CertificateSource::Given { .. }));
    }

    #[test]
    fn an_unknown_key_is_an_error_that_suggests_the_nearest() {
        let error = load_file("lissten = [\"127.0.0.1:1\"]", &[]).unwrap_err();
        assert!(error.contains("unknown key `lissten`"), "{error}");
        assert!(error.contains("did you mean `listen`"), "{error}");
        let error = load_file("tls_cert = \"a\"", &[]).unwrap_err();
        assert!(error.contains("did you mean `tls-cert`"), "{error}");
        let error = load_file("zzz = 1", &[]).unwrap_err();
        assert!(error.contains("--help"), "{error}");
    }

    #[test]
    fn a_wrong_value_in_the_file_names_file_and_key() {
        let error = load_file("listen = [\"nonsense\"]", &[]).unwrap_err();
        assert!(error.contains("relay.toml") && error.contains("listen"), "{error}");
        let error = load_file("listen = { a = 1 }", &[]).unwrap_err();
        assert!(error.contains("listen"), "{error}");
        let error = load_file("print-addresses = \"maybe\"", &[]).unwrap_err();
        assert!(error.contains("true or false"), "{error}");
        let error = load_file("data = [\"a\", \"b\"]", &[]).unwrap_err();
        assert!(error.contains("one value"), "{error}");
        let error = load_file("not toml", &[]).unwrap_err();
        assert!(error.contains("relay.toml"), "{error}");
    }

    #[test]
    fn a_file_cannot_name_another_file_and_a_missing_one_is_an_error() {
        assert!(load_file("config = \"other.toml\"", &[]).is_err());
        let error = load(&["--config", "/nonexistent/relay.toml"]).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/relay.toml"), "{error}");
    }

    #[test]
    fn a_limit_of_zero_is_refused() {
        assert!(matches!(load(&["--sessions-max", "0"]), Err(ConfigError::ZeroLimit("sessions-max"))));
    }

    #[test]
    fn every_setting_is_flag_variable_and_key_of_one_name() {
        for argument in Options::command().get_arguments() {
            let long = argument.get_long().unwrap();
            if ["help", "version"].contains(&long) {
                continue;
            }
            let variable = format!("ROUNDTABLE_{}", long.to_uppercase().replace('-', "_"));
            assert_eq!(argument.get_env().unwrap().to_str(), Some(variable.as_str()));
            assert!(argument.get_help().is_some(), "--{long} is explained");
        }
        Options::command().debug_assert();
    }
}
