//! Becoming somebody: by a name in the open mode, by login and password, by an invitation. A cookie remembers the
//! browser; tokens, which alone are good for commands, are given out for it.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Answer, Api, SIGN_IN_SPAN, TOKEN_SPAN,
    input::{Body, Login, NewPassword, PersonName},
    problem::{Problem, Problems},
    who::{Agent, Caller, Client},
};
use crate::{
    clock::UnixMs,
    config::options::SignIn,
    id::{ParticipantId, RoomId, SignInId, UserId},
    password,
    scope::ScopeName,
    store::{
        sign_ins::{NewSignIn, SignIn as KeptSignIn},
        users::{User, UserKind},
    },
    token::{ApiToken, MediaToken, Sources},
};

/// The cookie's name where the browser speaks HTTPS: bound to this host alone (RFC 6265bis).
const COOKIE_HTTPS: &str = "__Host-roundtable";
/// The same on loopback without HTTPS.
const COOKIE_HTTP: &str = "roundtable";

/// How somebody can sign in here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ways {
    /// A name is enough.
    name: bool,
    /// By login and password.
    password: bool,
    /// Accounts can be made.
    sign_up: bool,
    /// There is no account yet: the first to be made looks after the others.
    is_first: bool,
}

/// A user as everybody may see them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// Who.
    #[schema(value_type = String)]
    pub id: UserId,
    /// What they are called.
    pub name: String,
    /// How they sign in.
    pub kind: UserKind,
}

impl From<&User> for Person {
    fn from(user: &User) -> Self {
        Person { id: user.id.clone(), name: user.name.clone(), kind: user.kind }
    }
}

/// Somebody is signed in.
#[derive(Debug, Serialize, ToSchema)]
pub struct SignedIn {
    /// Who.
    pub user: Person,
    /// They look after other users.
    pub is_admin: bool,
    /// This browser, among those of the user.
    #[schema(value_type = String)]
    pub sign_in: SignInId,
    /// Guests: the only room they may enter.
    #[schema(value_type = Option<String>)]
    pub room: Option<RoomId>,
    /// The bearer token for the API.
    pub token: String,
    /// When it ends; ask for another at half of its time.
    pub ends_at: UnixMs,
    /// Where the user is told of calls: the path of a MoQ session, whose track `inbox` in the namespace `relay` says
    /// everything; nothing for guests.
    pub inbox: Option<InboxAccess>,
}

/// The user's own scope, and the token for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboxAccess {
    /// `/me/<user>`.
    path: String,
    /// For SETUP.
    token: String,
}

/// A name, in the open mode.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ByName {
    /// What others see. The same name is the same user.
    #[schema(value_type = String, example = "Ada")]
    name: PersonName,
}

/// Login and password.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ByPassword {
    /// What was chosen at sign-up.
    #[schema(value_type = String, example = "ada")]
    login: Login,
    /// The password.
    password: String,
}

/// A new account.
#[derive(Debug, Deserialize, ToSchema)]
pub struct SignUp {
    /// What is typed to sign in.
    #[schema(value_type = String, example = "ada")]
    login: Login,
    /// What others see.
    #[schema(value_type = String, example = "Ada Lovelace")]
    name: PersonName,
    /// 8 to 256 characters.
    #[schema(value_type = String)]
    password: NewPassword,
}

/// An invitation, and who comes with it.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ByInvitation {
    /// The secret of the link.
    invitation: String,
    /// What others see.
    #[schema(value_type = String, example = "Ada")]
    name: PersonName,
}

type WithCookie<T> = Result<([(HeaderName, String); 1], Json<T>), Problem>;

/// How somebody can sign in here.
#[utoipa::path(get, path = "/api/sign-in", tag = "sign-in", responses((status = 200, body = Ways)))]
pub async fn ways(State(api): State<Arc<Api>>) -> Answer<Ways> {
    let is_open = api.sign_in == SignIn::Open;
    let is_first = !is_open && api.store.accounts_len().await? == 0;
    Ok(Json(Ways {
        name: is_open,
        password: !is_open,
        sign_up: !is_open && (api.sign_up || is_first),
        is_first,
    }))
}

/// Signs in by a name alone. Only in the open mode.
#[utoipa::path(post, path = "/api/sign-in/name", tag = "sign-in", request_body = ByName,
    responses((status = 200, body = SignedIn), Problems))]
pub async fn by_name(
    State(api): State<Arc<Api>>,
    client: Client,
    agent: Agent,
    Body(form): Body<ByName>,
) -> WithCookie<SignedIn> {
    if api.sign_in != SignIn::Open {
        return Err(Problem::forbidden().with_detail("this relay asks for an account"));
    }
    api.rates.sign_in(client.ip)?;
    let user = api.store.named_user(UnixMs::now(), &form.name.0).await?;
    api.signed_in(user, None, client, agent).await
}

/// Signs in by login and password.
#[utoipa::path(post, path = "/api/sign-in/password", tag = "sign-in", request_body = ByPassword,
    responses((status = 200, body = SignedIn), Problems))]
pub async fn by_password(
    State(api): State<Arc<Api>>,
    client: Client,
    agent: Agent,
    Body(form): Body<ByPassword>,
) -> WithCookie<SignedIn> {
    api.rates.sign_in(client.ip)?;
    let user = api.password_of(&form.login, form.password).await?;
    api.signed_in(user, None, client, agent).await
}

/// Makes an account and signs in. The first account can always be made, and looks after the others.
#[utoipa::path(post, path = "/api/sign-up", tag = "sign-in", request_body = SignUp,
    responses((status = 200, body = SignedIn), Problems))]
pub async fn sign_up(
    State(api): State<Arc<Api>>,
    client: Client,
    agent: Agent,
    Body(form): Body<SignUp>,
) -> WithCookie<SignedIn> {
    api.rates.sign_in(client.ip)?;
    if api.sign_in == SignIn::Open {
        return Err(Problem::forbidden().with_detail("this relay asks for a name alone"));
    }
    if !api.sign_up && api.store.accounts_len().await? > 0 {
        return Err(Problem::forbidden().with_detail("accounts are made by an administrator here"));
    }
    let hash = password::hash(form.password.0).await?;
    let user = api.store.insert_account(UnixMs::now(), &form.login.0, &form.name.0, &hash, false).await?;
    tracing::info!(is_admin = user.is_admin, "an account was made");
    api.signed_in(user, None, client, agent).await
}

/// Comes as a guest, into the room of the invitation alone. Each call uses the invitation up by one.
#[utoipa::path(post, path = "/api/sign-in/invitation", tag = "sign-in", request_body = ByInvitation,
    responses((status = 200, body = SignedIn), Problems))]
pub async fn by_invitation(
    State(api): State<Arc<Api>>,
    client: Client,
    agent: Agent,
    Body(form): Body<ByInvitation>,
) -> WithCookie<SignedIn> {
    api.rates.sign_in(client.ip)?;
    let now = UnixMs::now();
    let invitation = api.store.use_invitation(now, &form.invitation).await?.ok_or_else(|| {
        let title = "this invitation is not good any more; ask for another";
        Problem::new(StatusCode::FORBIDDEN, "urn:roundtable:invitation", title)
    })?;
    let user = api.store.insert_guest(now, &form.name.0).await?;
    api.signed_in(user, Some(&invitation.room), client, agent).await
}

/// A token for whom the browser's cookie remembers. Good for nothing by itself on a foreign page, which neither may
/// send this request nor could read the answer.
#[utoipa::path(post, path = "/api/sign-in/token", tag = "sign-in",
    responses((status = 200, body = SignedIn), Problems))]
pub async fn token(State(api): State<Arc<Api>>, client: Client, headers: HeaderMap) -> WithCookie<SignedIn> {
    let now = UnixMs::now();
    let secret = cookie(&headers, client.is_https).ok_or_else(Problem::signed_out)?;
    let sign_in = api.store.use_sign_in(now, secret, SIGN_IN_SPAN).await?.ok_or_else(Problem::signed_out)?;
    let user = api.store.user(&sign_in.user).await?.filter(|user| user.disabled_at.is_none());
    let user = user.ok_or_else(Problem::signed_out)?;
    let cookie = set_cookie(secret, client.is_https, &sign_in, now);
    Ok(([(header::SET_COOKIE, cookie)], Json(api.tokens(&user, &sign_in, now))))
}

/// Signs this browser out: its sessions end at once.
#[utoipa::path(delete, path = "/api/sign-in/token", tag = "sign-in", security(("api" = [])),
    responses((status = 204), Problems))]
pub async fn sign_out(
    State(api): State<Arc<Api>>,
    client: Client,
    caller: Caller,
) -> Result<(StatusCode, [(HeaderName, String); 1]), Problem> {
    api.end_sign_in(&caller.user.id, &caller.sign_in.id).await?;
    let cookie =
        format!("{}=; Path=/; Max-Age=0{}", cookie_name(client.is_https), attributes(client.is_https));
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]))
}

impl Api {
    /// The account of this login, if the password is right. Takes as long if there is none, and as long however
    /// wrong it is; too many wrong ones for one account have to wait.
    pub(super) async fn password_of(&self, login: &Login, password: String) -> Result<User, Problem> {
        self.rates.password(&login.0)?;
        let account = self.store.account(&login.0).await?;
        let hash = account.as_ref().map(|(_, hash)| hash.clone());
        let is_right = password::is_right(password, hash).await;
        match account {
            Some((user, _)) if is_right && user.disabled_at.is_none() => {
                self.rates.password_was_right(&login.0);
                Ok(user)
            }
            Some(_) | None => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "urn:roundtable:wrong-password",
                "login and password do not go together",
            )),
        }
    }

    async fn signed_in(
        &self,
        user: User,
        room: Option<&RoomId>,
        client: Client,
        Agent(agent): Agent,
    ) -> WithCookie<SignedIn> {
        const GUEST_SPAN: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
        let now = UnixMs::now();
        let span = if room.is_some() { GUEST_SPAN } else { SIGN_IN_SPAN };
        let made = self.store.insert_sign_in(now, &user.id, room, &agent, span).await?;
        let NewSignIn { sign_in, secret } = made;
        let cookie = set_cookie(&secret, client.is_https, &sign_in, now);
        Ok(([(header::SET_COOKIE, cookie)], Json(self.tokens(&user, &sign_in, now))))
    }

    fn tokens(&self, user: &User, sign_in: &KeptSignIn, now: UnixMs) -> SignedIn {
        let ends_at = now.after(TOKEN_SPAN);
        let (iat, exp) = (now.seconds(), ends_at.seconds());
        let keys = self.meetings.keys();
        let token = keys.sign(&ApiToken { sub: user.id.clone(), sign_in: sign_in.id.clone(), iat, exp });
        let inbox =
            ParticipantId::new(user.id.as_str()).filter(|_| user.kind != UserKind::Guest).map(|sub| {
                let path = ScopeName::User(user.id.text()).to_string();
                let token = keys.sign(&MediaToken {
                    scope: path.clone(),
                    sub,
                    name: user.name.clone(),
                    user: Some(user.id.clone()),
                    sign_in: Some(sign_in.id.clone()),
                    publish: Sources::NONE,
                    subscribe: true,
                    moderate: false,
                    record: false,
                    waiting: false,
                    iat,
                    exp,
                });
                InboxAccess { path, token }
            });
        SignedIn {
            user: Person::from(user),
            is_admin: user.is_admin,
            sign_in: sign_in.id.clone(),
            room: sign_in.room.clone(),
            token,
            ends_at,
            inbox,
        }
    }

    /// A browser is signed out, and what it has open ends.
    pub(super) async fn end_sign_in(&self, user: &UserId, sign_in: &SignInId) -> Result<(), Problem> {
        if !self.store.delete_sign_in(user, sign_in).await? {
            return Err(Problem::not_found("there is no such sign-in"));
        }
        self.meetings.sign_out(UnixMs::now(), user, Some(sign_in));
        Ok(())
    }
}

fn cookie_name(is_https: bool) -> &'static str {
    if is_https { COOKIE_HTTPS } else { COOKIE_HTTP }
}

fn attributes(is_https: bool) -> &'static str {
    if is_https { "; HttpOnly; SameSite=Strict; Secure" } else { "; HttpOnly; SameSite=Strict" }
}

fn set_cookie(secret: &str, is_https: bool, sign_in: &KeptSignIn, now: UnixMs) -> String {
    let seconds = sign_in.ends_at.since(now).as_secs();
    format!("{}={secret}; Path=/; Max-Age={seconds}{}", cookie_name(is_https), attributes(is_https))
}

fn cookie(headers: &HeaderMap, is_https: bool) -> Option<&str> {
    let name = cookie_name(is_https);
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(found, value)| (found == name).then_some(value))
}
