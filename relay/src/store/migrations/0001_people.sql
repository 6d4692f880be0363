-- Times are Unix milliseconds, truths are 0 and 1, so that the same statements run on SQLite and Postgres.

CREATE TABLE users (
    id TEXT PRIMARY KEY NOT NULL,
    -- named: by a name alone, in the open mode; account: login and password; external: OpenID Connect; guest: by invitation.
    kind TEXT NOT NULL,
    -- What is typed to sign in, lower case.
    login TEXT UNIQUE,
    name TEXT NOT NULL,
    -- The name in lower case, for search.
    name_folded TEXT NOT NULL,
    -- argon2id, as a PHC string.
    password TEXT,
    issuer TEXT,
    subject TEXT,
    is_admin BIGINT NOT NULL,
    made_at BIGINT NOT NULL,
    disabled_at BIGINT,
    UNIQUE (issuer, subject)
);
CREATE INDEX users_by_name ON users (name_folded);

-- A browser that somebody signed in with.
CREATE TABLE sign_ins (
    id TEXT PRIMARY KEY NOT NULL,
    -- SHA-256 of the cookie's secret: who reads this table cannot sign in with it.
    secret_hash TEXT NOT NULL UNIQUE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Guests: the only room they may enter.
    room_id TEXT,
    agent TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL
);
CREATE INDEX sign_ins_by_user ON sign_ins (user_id);
CREATE INDEX sign_ins_by_end ON sign_ins (ends_at);

CREATE TABLE rooms (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT,
    -- meeting: made to meet in; call: made by ringing somebody.
    kind TEXT NOT NULL,
    owner_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    password TEXT,
    has_lobby BIGINT NOT NULL,
    is_locked BIGINT NOT NULL,
    capacity BIGINT NOT NULL,
    -- How long chat is kept; 0: for as long as somebody is there.
    chat_kept_ms BIGINT NOT NULL,
    made_at BIGINT NOT NULL
);
CREATE INDEX rooms_by_owner ON rooms (owner_id);

-- Who is a host whenever they come.
CREATE TABLE room_hosts (
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    PRIMARY KEY (room_id, user_id)
);

-- Who may not come back: a participant (as in a token) or a user, until then (0: for good).
CREATE TABLE room_bans (
    room_id TEXT NOT NULL,
    -- participant or user.
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    banned_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, kind, subject)
);

CREATE TABLE invitations (
    id TEXT PRIMARY KEY NOT NULL,
    secret_hash TEXT NOT NULL UNIQUE,
    room_id TEXT NOT NULL REFERENCES rooms (id) ON DELETE CASCADE,
    made_by TEXT REFERENCES users (id) ON DELETE SET NULL,
    made_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    -- NULL: any number.
    uses_left BIGINT
);
CREATE INDEX invitations_by_room ON invitations (room_id);

-- A room that was rung or met in, from the first to come to the last to leave.
CREATE TABLE calls (
    id TEXT PRIMARY KEY NOT NULL,
    room_id TEXT NOT NULL,
    room_name TEXT,
    -- call: somebody was rung; meeting.
    kind TEXT NOT NULL,
    caller_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    started_at BIGINT NOT NULL,
    -- NULL while it goes on.
    ended_at BIGINT,
    -- 1: the relay ended before it did; ended_at is when it was last known to go on.
    is_interrupted BIGINT NOT NULL
);
CREATE INDEX calls_by_room ON calls (room_id, started_at);
CREATE INDEX calls_going_on ON calls (ended_at);

-- What a call is in somebody's history.
CREATE TABLE call_users (
    call_id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- placed, received or attended.
    part TEXT NOT NULL,
    -- received: ringing, accepted, declined, busy, no-answer, cancelled or interrupted.
    outcome TEXT,
    at BIGINT NOT NULL,
    outcome_at BIGINT,
    -- Deleted from this user's history.
    hidden_at BIGINT,
    PRIMARY KEY (call_id, user_id)
);
CREATE INDEX call_users_by_user ON call_users (user_id, at);

-- Who was there, and when. Whoever comes back has a row more.
CREATE TABLE attendance (
    id TEXT PRIMARY KEY NOT NULL,
    call_id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    participant_id TEXT NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    name TEXT NOT NULL,
    name_folded TEXT NOT NULL,
    joined_at BIGINT NOT NULL,
    left_at BIGINT
);
CREATE INDEX attendance_by_call ON attendance (call_id);
CREATE INDEX attendance_by_user ON attendance (user_id);
CREATE INDEX attendance_going_on ON attendance (left_at);

CREATE TABLE messages (
    room_id TEXT NOT NULL,
    -- Ascending, not dense; the group on the chat track.
    number BIGINT NOT NULL,
    call_id TEXT REFERENCES calls (id) ON DELETE SET NULL,
    participant_id TEXT NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE SET NULL,
    name TEXT NOT NULL,
    text TEXT NOT NULL,
    sent_at BIGINT NOT NULL,
    -- When it is to be forgotten.
    ends_at BIGINT NOT NULL,
    PRIMARY KEY (room_id, number)
);
CREATE INDEX messages_by_call ON messages (call_id);
CREATE INDEX messages_by_end ON messages (ends_at);

CREATE TABLE recordings (
    id TEXT PRIMARY KEY NOT NULL,
    call_id TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    room_id TEXT NOT NULL,
    started_by TEXT REFERENCES users (id) ON DELETE SET NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    -- running, finished or interrupted.
    state TEXT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE INDEX recordings_by_call ON recordings (call_id);

-- One row: when the relay was last known to run.
CREATE TABLE heartbeat (
    id BIGINT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);
