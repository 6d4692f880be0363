//! What the binary does besides running a relay: looking after users, and making tokens.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context as _, ensure};

use crate::{
    api::input::{Login, NewPassword, PersonName},
    clock::UnixMs,
    config::{
        Config,
        options::{PostgresUrl, ScopePath},
        units::Span,
    },
    data::DataFolder,
    id::ParticipantId,
    password,
    store::{Place, Store},
    token::{MediaToken, Source, TOKEN_SPAN_MAX, TokenKey},
};

/// What to do instead of running a relay.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Look after the accounts of --sign-in accounts. The relay may run or not.
    #[command(subcommand)]
    User(UserCommand),
    /// Make a token that lets a tool or an application into a room.
    Token(TokenCommand),
}

/// About accounts.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum UserCommand {
    /// Make an account. The password is the first line of standard input.
    Add {
        /// What is typed to sign in.
        login: String,
        /// What others see [default: the login].
        #[arg(long)]
        name: Option<String>,
        /// They look after the others. The first account does anyway.
        #[arg(long)]
        admin: bool,
    },
    /// Give an account another password, the first line of standard input; signs out every browser.
    Password {
        /// What is typed to sign in.
        login: String,
    },
    /// List all users.
    List,
}

/// A token.
#[derive(Debug, Clone, clap::Args)]
pub struct TokenCommand {
    /// The room: my-room, or any other path as it stands in the URL, such as /me/ada.
    #[arg(long, value_name = "ROOM")]
    room: ScopePath,
    /// Who comes: the namespace that it publishes in.
    #[arg(long, value_name = "ID")]
    participant: String,
    /// What others see [default: the participant].
    #[arg(long)]
    name: Option<String>,
    /// What it may send: microphone, camera, screen, screen-audio, chat, other; `none` for nothing.
    #[arg(long, value_name = "SOURCES", value_delimiter = ',')]
    #[arg(default_value = "microphone,camera,screen,screen-audio,chat")]
    publish: Vec<String>,
    /// It sees and hears nobody.
    #[arg(long)]
    no_subscribe: bool,
    /// It looks after the others.
    #[arg(long)]
    moderate: bool,
    /// It may record.
    #[arg(long)]
    record: bool,
    /// How long it is good, at most a day.
    #[arg(long, value_name = "TIME", default_value = "10m")]
    good_for: Span,
    /// Sign with an application's secret of this file instead of the relay's key in the data folder.
    #[arg(long, value_name = "FILE")]
    secret: Option<PathBuf>,
}

/// Where a configuration keeps its database.
pub fn place(config: &Config, data: &DataFolder) -> Place {
    match &config.database {
        Some(PostgresUrl(url)) => Place::Postgres(url.clone()),
        None => Place::File(data.database()),
    }
}

/// Does it.
pub fn run(config: &Config, command: Command) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("no async runtime")?;
    match command {
        Command::User(command) => runtime.block_on(user(config, command)),
        Command::Token(command) => token(config, command),
    }
}

async fn user(config: &Config, command: UserCommand) -> anyhow::Result<()> {
    // A relay may hold the folder's lock; the database is made for several.
    let data = DataFolder::shared(&config.data)?;
    let store = Store::open(&place(config, &data)).await?;
    match command {
        UserCommand::Add { login, name, admin } => {
            let login = Login::new(&login).context("a login is 1 to 64 of a-z 0-9 . _ @ + -")?;
            let name = PersonName::new(name.as_deref().unwrap_or(&login.0))
                .context("a name has 1 to 64 characters on one line")?;
            let hash = password::hash(new_password()?.0).await?;
            let made = store.insert_account(UnixMs::now(), &login.0, &name.0, &hash, admin).await;
            let user = match made {
                Err(crate::store::StoreError::Taken) => {
                    anyhow::bail!("there is an account `{}` already", login.0)
                }
                made => made?,
            };
            let what = if user.is_admin { "an administrator" } else { "an account" };
            say(&format!("{} ({}) has {what} now.", user.name, login.0));
        }
        UserCommand::Password { login } => {
            let account = match Login::new(&login) {
                Some(login) => store.account(&login.0).await?,
                None => None,
            };
            let (user, _) = account.with_context(|| format!("there is no account `{login}`"))?;
            let hash = password::hash(new_password()?.0).await?;
            store.set_password(&user.id, &hash).await?;
            say(&format!("{} has a new password.", user.name));
        }
        UserCommand::List => {
            for user in store.all_users(i64::MAX).await? {
                let login = user.login.as_deref().unwrap_or("-");
                let state = match (user.disabled_at, user.is_admin) {
                    (Some(_), _) => "locked out",
                    (None, true) => "administrator",
                    (None, false) => "",
                };
                say(format!("{login}\t{}\t{}\t{state}", user.name, user.kind.word()).trim_end());
            }
        }
    }
    store.close().await;
    Ok(())
}

fn new_password() -> anyhow::Result<NewPassword> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // Nobody may be there to read it.
        let _ = write!(std::io::stderr(), "Password (it is shown as you type): ");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("the password cannot be read from standard input")?;
    NewPassword::new(line.trim_end_matches(['\r', '\n'])).context("a password has 8 to 256 characters")
}

fn token(config: &Config, command: TokenCommand) -> anyhow::Result<()> {
    let key = match &command.secret {
        Some(path) => TokenKey::of_application(path)?,
        None => TokenKey::open(&DataFolder::shared(&config.data)?.token_key())?.by_hand(),
    };
    let participant =
        ParticipantId::new(&command.participant).context("a participant is 1 to 64 of A-Z a-z 0-9 _ -")?;
    ensure!(command.good_for.0 <= TOKEN_SPAN_MAX, "a token is good for a day at most");
    let sources = command.publish.iter().filter(|source| *source != "none");
    let publish = sources.map(|word| source(word)).collect::<anyhow::Result<_>>()?;
    let now = UnixMs::now();
    let token = MediaToken {
        scope: command.room.0,
        name: command.name.unwrap_or_else(|| participant.to_string()),
        sub: participant,
        user: None,
        sign_in: None,
        publish,
        subscribe: !command.no_subscribe,
        moderate: command.moderate,
        record: command.record,
        waiting: false,
        iat: now.seconds(),
        exp: now.after(command.good_for.0).seconds(),
    };
    say(&key.sign(&token));
    Ok(())
}

fn source(word: &str) -> anyhow::Result<Source> {
    let value = serde_json::Value::String(word.to_owned());
    serde_json::from_value(value).with_context(|| {
        format!("`{word}` is nothing to send: microphone, camera, screen, screen-audio, chat, other")
    })
}

fn say(line: &str) {
    // Standard output may be gone; there is nobody else to tell.
    let _ = writeln!(std::io::stdout(), "{line}");
}
