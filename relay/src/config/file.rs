//! The TOML file: its keys are the flags' names, its values are turned into command line arguments, so that a
//! setting is defined, parsed and explained in one place.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{ArgAction, ArgMatches, Command, parser::ValueSource};
use toml::{Table, Value};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or not ours to read.
    #[error("the configuration file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("the configuration file {} is not TOML: {source}", path.display())]
    NotToml {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key nobody knows.
    #[error("{}: unknown key `{key}`{}", path.display(), advice(suggestion.as_deref()))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// The nearest known one.
        suggestion: Option<String>,
    },
    /// A value of the wrong kind.
    #[error("{}: `{key}` must be {expected}", path.display())]
    WrongKind {
        /// Which file.
        path: PathBuf,
        /// Which key.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// A value that the setting does not take.
    #[error("{}: {reason}", path.display())]
    Value {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn advice(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(key) => format!("; did you mean `{key}`?"),
        None => {
            ". `roundtable-relay --help` lists them: a key is a flag without its dashes in front".to_owned()
        }
    }
}

/// The file's settings as arguments, without those that `given` (command line, environment) already decides.
pub fn arguments(path: &Path, command: &Command, given: &ArgMatches) -> Result<Vec<OsString>, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FileError::Unreadable { path: path.to_owned(), source })?;
    let table: Table = text
        .parse()
        .map_err(|source| FileError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
    let mut arguments = Vec::new();
    for (key, value) in table {
        let known = |argument: &&clap::Arg| argument.get_long() == Some(&key) && key != "config";
        let Some(argument) = command.get_arguments().find(known) else {
            let suggestion = nearest(&key, command);
            return Err(FileError::UnknownKey { path: path.to_owned(), key, suggestion });
        };
        let is_decided = matches!(
            given.value_source(argument.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        let values = texts(argument.get_action(), value).map_err(|expected| FileError::WrongKind {
            path: path.to_owned(),
            key: key.clone(),
            expected,
        })?;
        if !is_decided {
            arguments.extend(values.into_iter().map(|value| match value {
                Some(value) => OsString::from(format!("--{key}={value}")),
                None => OsString::from(format!("--{key}")),
            }));
        }
    }
    Ok(arguments)
}

/// What stands behind the flag, once per occurrence; `None` for a flag that stands alone.
fn texts(action: &ArgAction, value: Value) -> Result<Vec<Option<String>>, &'static str> {
    match (action, value) {
        (ArgAction::SetTrue, Value::Boolean(true)) => Ok(vec![None]),
        (ArgAction::SetTrue, Value::Boolean(false)) => Ok(Vec::new()),
        (ArgAction::SetTrue, _) => Err("true or false"),
        (ArgAction::Append, Value::Array(values)) => {
            values.into_iter().map(|value| text(value).map(Some)).collect()
        }
        (_, Value::Array(_)) => Err("one value, not a list"),
        (_, value) => Ok(vec![Some(text(value)?)]),
    }
}

fn text(value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err("a string or a number")
        }
    }
}

fn nearest(key: &str, command: &Command) -> Option<String> {
    const CLOSE_ENOUGH: f64 = 0.8;
    command
        .get_arguments()
        .filter_map(|argument| argument.get_long())
        .filter(|long| !["config", "help", "version"].contains(long))
        .map(|long| (strsim::jaro_winkler(key, long), long))
        .filter(|(similarity, _)| *similarity > CLOSE_ENOUGH)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, long)| long.to_owned())
}
