//! The Roundtable relay: parse, load, run.

use std::{io::Write as _, process::ExitCode};

use roundtable_relay::{
    command,
    config::{Config, ConfigError},
    start,
};

fn main() -> ExitCode {
    let config = match Config::load(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Options(message)) => message.exit(),
        Err(error) => return failed(&error.into(), 2),
    };
    let done = match config.command.clone() {
        Some(command) => command::run(&config, command),
        None => start::run(config),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, 1),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    // Standard error may be gone; there is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    ExitCode::from(code)
}
