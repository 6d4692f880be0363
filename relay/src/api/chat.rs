//! Chat: said here, read on the track `chat` by everybody.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Answer, Api,
    input::{Asked, Body},
    problem::{Problem, Problems},
    who::InRoom,
};
use crate::{clock::UnixMs, store::messages::Message, token::Source};

/// Characters of a message.
const TEXT_CHARS_MAX: usize = 4000;

/// Something to say.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Say {
    /// Plain text, 1 to 4000 characters.
    text: String,
}

/// From where on.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Said {
    /// The number of the last message that is known.
    #[serde(default)]
    after: i64,
}

/// Says something to everybody in the room.
#[utoipa::path(post, path = "/api/rooms/{room}/chat", tag = "rooms", security(("media" = [])), request_body = Say,
    params(("room" = String, Path, description = "The room")), responses((status = 200, body = Message), Problems))]
pub async fn say(State(api): State<Arc<Api>>, in_room: InRoom, Body(form): Body<Say>) -> Answer<Message> {
    if in_room.seat.is_waiting || !in_room.seat.has(Source::Chat) {
        return Err(Problem::forbidden());
    }
    let text = form.text.trim();
    if text.is_empty() || text.chars().count() > TEXT_CHARS_MAX {
        return Err(Problem::invalid("a message has 1 to 4000 characters"));
    }
    let meeting = &in_room.meeting;
    api.rates.message(&meeting.id, &in_room.participant)?;
    let now = UnixMs::now();
    let said = meeting.say(now, &in_room.participant, text.to_owned());
    let (message, call) = said.ok_or_else(Problem::forbidden)?;
    let kept = meeting.read(|roster| roster.settings().chat_kept);
    if !kept.is_zero() {
        // Everybody has it by now; the history follows, in the order of the calls that it belongs to.
        api.meetings.journal().note(crate::store::calls::Entry::Said {
            room: meeting.id.clone(),
            call,
            message: message.clone(),
            until: now.after(kept),
        });
    }
    Ok(Json(message))
}

/// What was said and is remembered, for those who missed it on the track.
#[utoipa::path(get, path = "/api/rooms/{room}/chat", tag = "rooms", security(("media" = [])),
    params(("room" = String, Path, description = "The room"), Said),
    responses((status = 200, body = Vec<Message>), Problems))]
pub async fn said(in_room: InRoom, Asked(said): Asked<Said>) -> Answer<Vec<Message>> {
    if in_room.seat.is_waiting || !in_room.seat.subscribe {
        return Err(Problem::forbidden());
    }
    Ok(Json(in_room.meeting.said_after(said.after)))
}
