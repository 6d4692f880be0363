//! The command line.

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher as _, Hasher as _},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Parser, ValueEnum};
use roundtable_media::names::{RELAY_NAMESPACE, TrackName};
use roundtable_transport::{ConnectOptions, OptionsError, options::parse_duration};

use crate::input::Origin;

/// Longest name of a participant, bytes (docs/wire.md, "Scopes and names").
const NAME_BYTES_MAX: usize = 64;

/// Publishes a file, a pipe or a test card into a Roundtable room
#[derive(Debug, Parser)]
#[command(name = "roundtable-publisher", version)]
pub struct Options {
    /// Where the room is.
    #[command(flatten)]
    pub connect: ConnectOptions,

    /// What to publish: WebM or Matroska (VP8, VP9, AV1, H.264, Opus) or MP4 (H.264, AV1, VP9, Opus, AAC); - reads
    /// a pipe: `ffmpeg -re -i FILM -f webm - | roundtable-publisher --url URL -`. Nothing is encoded again: the
    /// first track of picture and the first of sound are sent as they are. Without a FILE, a test card
    pub file: Option<PathBuf>,

    /// Play the file again and again, without a break in its time
    #[arg(long = "loop")]
    pub is_loop: bool,

    /// Who we are in the room: letters, digits, '-' and '_'. When it is not said, what the token says, or a name made
    /// from the file's
    #[arg(long, env = "ROUNDTABLE_NAME", value_name = "NAME", value_parser = participant_name)]
    pub name: Option<String>,

    /// What the picture and its sound are to the others
    #[arg(long = "as", value_name = "WHAT", default_value = "camera")]
    pub role: Role,

    /// How long a relay that was lost is looked for, to go on where we were; 0 gives up at once
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub reconnect: Duration,

    /// Say everything as JSON, one object a line
    #[arg(long)]
    pub json: bool,

    /// Say more: -v what happens, -vv every detail (RUST_LOG says it finer)
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What the media is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Tracks camera and audio
    Camera,
    /// Tracks screen and screen-audio
    Screen,
}

impl Role {
    /// The track of the picture.
    pub const fn video(self) -> TrackName {
        match self {
            Role::Camera => TrackName::Camera,
            Role::Screen => TrackName::Screen,
        }
    }

    /// The track of the sound.
    pub const fn audio(self) -> TrackName {
        match self {
            Role::Camera => TrackName::Audio,
            Role::Screen => TrackName::ScreenAudio,
        }
    }
}

impl Options {
    /// Where the media comes from.
    pub fn origin(&self) -> Origin {
        match &self.file {
            None => Origin::TestCard,
            Some(path) if path == Path::new("-") => Origin::Pipe,
            Some(path) => Origin::File(path.clone()),
        }
    }

    /// The name in the room: as given, or the token's, or the file's with a few random letters, so that two do not
    /// meet.
    pub fn participant(&self) -> Result<String, OptionsError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        if let Some(name) = self.connect.token()?.and_then(|token| name_in_token(&token)) {
            return Ok(name);
        }
        let stem = match self.origin() {
            Origin::TestCard => "test-card".into(),
            Origin::Pipe => "pipe".into(),
            Origin::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let random = RandomState::new().build_hasher().finish() & 0xffff;
        Ok(format!("{}-{random:04x}", plain(&stem)))
    }
}

/// Whom a token is for (docs/wire.md, "Tokens"). Whether it is good is the relay's to say.
fn name_in_token(token: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    let claims = token.split(|byte| *byte == b'.').nth(1)?;
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    participant_name(&claims.sub).ok()
}

/// The letters of a file's name that a participant's may have.
fn plain(stem: &str) -> String {
    let is_allowed = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_' || *letter == '-';
    let letters = stem.chars().map(|letter| if is_allowed(&letter) { letter } else { '-' });
    let name: String = letters.take(NAME_BYTES_MAX - 8).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "film".to_owned() } else { name.to_owned() }
}

fn participant_name(text: &str) -> Result<String, String> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > NAME_BYTES_MAX || !text.bytes().all(is_allowed) {
        return Err("a name is 1 to 64 letters, digits, '-' and '_'".to_owned());
    }
    if text == RELAY_NAMESPACE {
        return Err("this name is the relay's own".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["publisher", "--url", "https://127.0.0.1/room"], rest].concat())
    }

    #[test]
    fn a_name_that_the_wire_forbids_is_refused() {
        for name in ["", "relay", "a/b", "a b", "\u{e4}", &"x".repeat(65)] {
            assert!(parse(&["--name", name]).is_err(), "{name:?}");
        }
        assert_eq!(parse(&["--name", "Ann_1-x"]).unwrap().participant().unwrap(), "Ann_1-x");
    }

    #[test]
    fn a_name_made_from_the_file_is_allowed_and_never_the_same() {
        for (file, start) in
            [("/films/Big Buck.mp4", "Big-Buck-"), ("\u{e4}\u{e4}.webm", "film-"), ("-", "pipe-")]
        {
            let options = parse(&[file]).unwrap();
            let name = options.participant().unwrap();
            assert!(name.starts_with(start), "{name}");
            assert_eq!(participant_name(&name), Ok(name.clone()));
        }
        let options = parse(&[]).unwrap();
        assert!(options.participant().unwrap().starts_with("test-card-"));
        let names: std::collections::BTreeSet<_> = (0..20).map(|_| options.participant().unwrap()).collect();
        assert!(names.len() > 10);
        let long = parse(&[&format!("{}.mp4", "x".repeat(90))]).unwrap().participant().unwrap();
        assert_eq!(participant_name(&long), Ok(long.clone()));
    }

    #[test]
    fn a_token_says_who_we_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        let name_with = |token: String| {
            std::fs::write(&file, token).unwrap();
            parse(&["--token-file", file.to_str().unwrap(), "film.mp4"]).unwrap().participant().unwrap()
        };
        let claims = |json: &str| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(json));
        assert_eq!(name_with(claims(r#"{"aud":"media","sub":"ann"}"#)), "ann");
        for token in
            [claims(r#"{"sub":"a/b"}"#), claims("{}"), "an opaque one".to_owned(), "a.b.c".to_owned()]
        {
            assert!(name_with(token).starts_with("film-"));
        }
    }

    #[test]
    fn a_file_a_pipe_and_nothing_are_told_apart() {
        assert_eq!(parse(&["film.mp4"]).unwrap().origin(), Origin::File("film.mp4".into()));
        assert_eq!(parse(&["-"]).unwrap().origin(), Origin::Pipe);
        assert_eq!(parse(&[]).unwrap().origin(), Origin::TestCard);
        assert_eq!(parse(&["--as", "screen"]).unwrap().role.audio(), TrackName::ScreenAudio);
    }
}
