-- The tables: the truth. models.py mirrors columns, types, nullability and keys; checks, indexes and
-- ON DELETE live here alone. One text for SQLite and PostgreSQL. Moments (TIMESTAMP) are UTC.
-- Nothing that opens a door is stored: only hashes of it, and nonces that are worthless without the
-- master secret.

CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY NOT NULL
);
INSERT INTO schema_version (version) VALUES (11);

-- A deleted user stays as an empty row (deleted_at set, everything personal NULL), so that history holds. former_name
-- is a keyed hash of its user name, which nobody gets again: programs may keep what was its own under that name.
-- `folded`, here and below, is what a search compares where a text is not all ASCII (rules/searching.py).
-- inviter_id is whose invite the account was created with, also when that account is gone (no foreign key: who registers
-- by an invite would lock that account after the invite, and who deletes it does so before); NULL for an invite of the
-- shell or an API key, or none. `budget` is how many people it may invite, such as 5/7d, NULL for the setting's.
-- `disabled_event` is the number of the event of the act that disabled a whole branch, this account among others.
CREATE TABLE users (
    id                TEXT PRIMARY KEY NOT NULL,
    username          TEXT UNIQUE CHECK (length(username) BETWEEN 2 AND 30),
    email             TEXT UNIQUE CHECK (length(email) <= 254),
    email_verified_at TIMESTAMP,
    display_name      TEXT,
    former_name       TEXT CHECK (length(former_name) = 64),
    password_hash     TEXT,
    admin_at          TIMESTAMP,
    created_at        TIMESTAMP NOT NULL,
    disabled_at       TIMESTAMP,
    deleted_at        TIMESTAMP,
    folded            TEXT,
    inviter_id        TEXT,
    budget            TEXT,
    disabled_event    BIGINT,
    CHECK (email IS NOT NULL OR email_verified_at IS NULL),
    CHECK (deleted_at IS NULL OR (username IS NULL AND email IS NULL AND password_hash IS NULL))
);
CREATE UNIQUE INDEX users_former_name ON users (former_name);
CREATE INDEX users_newest ON users (created_at, id);
CREATE INDEX users_of_inviter ON users (inviter_id, created_at) WHERE inviter_id IS NOT NULL;
CREATE INDEX users_disabled_together ON users (disabled_event) WHERE disabled_event IS NOT NULL;

-- One row for one signing in, by a program or a browser. A refresh token is <id>.<secret>.
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY NOT NULL,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_hash TEXT,
    parent_hash  TEXT,
    rotated_at   TIMESTAMP,
    created_at   TIMESTAMP NOT NULL,
    expires_at   TIMESTAMP NOT NULL
);
CREATE INDEX sessions_of_user ON sessions (user_id);

CREATE TABLE access_tokens (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TIMESTAMP NOT NULL
);
CREATE INDEX access_tokens_of_session ON access_tokens (session_id);
CREATE INDEX access_tokens_to_forget ON access_tokens (expires_at);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY NOT NULL,
    name         TEXT,
    secret_hash  TEXT NOT NULL CHECK (length(secret_hash) = 64),
    created_at   TIMESTAMP NOT NULL,
    last_used_at TIMESTAMP,
    expires_at   TIMESTAMP,
    may          TEXT NOT NULL DEFAULT 'create',
    preset       TEXT
);

-- Fields of an invite under a name, as JSON with the names and texts that rules/drafts.py reads. A key that is
-- bound to a preset keeps its name when the preset is deleted, and then creates nothing.
CREATE TABLE presets (
    name       TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 50),
    fields     TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- A deleted project stays as a row without a slug, so that history holds. join_url is where its guests go with their
-- token, if a program of the operator's own lets them in.
CREATE TABLE projects (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    slug        TEXT UNIQUE,
    description TEXT,
    is_public   BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  TIMESTAMP NOT NULL,
    deleted_at  TIMESTAMP,
    join_url    TEXT,
    CHECK (deleted_at IS NOT NULL OR slug IS NOT NULL)
);

-- Whose access has ended (ends_at) is no member; the row is deleted later. warned_at: when a mail said that it ends, or
-- it was found that none is to say so.
CREATE TABLE members (
    id         TEXT PRIMARY KEY NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at  TIMESTAMP NOT NULL,
    ends_at    TIMESTAMP CHECK (role <> 'owner' OR ends_at IS NULL),
    warned_at  TIMESTAMP,
    UNIQUE (project_id, user_id)
);
CREATE UNIQUE INDEX members_one_owner ON members (project_id) WHERE role = 'owner';
CREATE INDEX members_of_user ON members (user_id);
CREATE INDEX members_ending ON members (ends_at) WHERE ends_at IS NOT NULL;

-- Where the app of a project answers that only its members may use; people are led to the first (`place`). An origin may
-- be that of several projects, under paths of their own.
CREATE TABLE origins (
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    origin     TEXT NOT NULL,
    place      INTEGER NOT NULL,
    PRIMARY KEY (project_id, origin)
);

-- With a pass a program of a member gets to the project's app. Browsers have passes too, which are signed and stored
-- nowhere.
CREATE TABLE passes (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name       TEXT CHECK (length(name) <= 100),
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP
);
CREATE INDEX passes_of_user ON passes (user_id);
CREATE INDEX passes_of_project ON passes (project_id);
CREATE INDEX passes_to_forget ON passes (expires_at) WHERE expires_at IS NOT NULL;

-- key_id is no foreign key: deleting a key leaves what it made as it is. `asked` is a fingerprint of the request that
-- created it with an Idempotency-Key, which gave the row its id. `created_event` is the number in `events`. `email` may
-- be "@example.org", for anyone with an address there. `access` is how long a guest stays in the project, in seconds;
-- `data` is JSON for the operator's programs. `waiting` is how many of its uses wait, lapses_at the first moment at which
-- one of these lapses. `message` is what the inviter says to the guest, who sees it; `note` is for the operator alone.
-- spent_at is since when its places count against the budget of the account that created it: since then, or since they
-- were last given again to one that had ended (rules/budgets.py).
CREATE TABLE invites (
    id              TEXT PRIMARY KEY NOT NULL,
    nonce           TEXT NOT NULL,
    token_hash      TEXT NOT NULL UNIQUE CHECK (length(token_hash) = 64),
    mail_token_hash TEXT UNIQUE CHECK (length(mail_token_hash) = 64),
    legacy_hash     TEXT UNIQUE CHECK (length(legacy_hash) = 64),
    name            TEXT CHECK (length(name) <= 100),
    email           TEXT CHECK (length(email) <= 254),
    project_id      TEXT REFERENCES projects (id),
    role            TEXT NOT NULL CHECK (role IN ('admin', 'member')),
    plan            TEXT NOT NULL,
    redirect_url    TEXT,
    note            TEXT,
    makes_admin     BOOLEAN NOT NULL DEFAULT FALSE,
    max_uses        INTEGER NOT NULL CHECK (max_uses >= 1),
    uses            INTEGER NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND max_uses),
    created_at      TIMESTAMP NOT NULL,
    expires_at      TIMESTAMP,
    revoked_at      TIMESTAMP,
    made_by         TEXT NOT NULL,
    maker_id        TEXT REFERENCES users (id),
    key_id          TEXT,
    folded          TEXT,
    made_by_folded  TEXT,
    asked           TEXT CHECK (length(asked) = 64),
    created_event   BIGINT,
    access          BIGINT CHECK (access > 0),
    data            TEXT CHECK (length(data) <= 2048),
    approve         BOOLEAN NOT NULL DEFAULT FALSE,
    waiting         INTEGER NOT NULL DEFAULT 0 CHECK (waiting BETWEEN 0 AND uses),
    lapses_at       TIMESTAMP,
    message         TEXT CHECK (length(message) <= 500),
    spent_at        TIMESTAMP,
    CHECK (NOT makes_admin OR (max_uses = 1 AND expires_at IS NOT NULL))
);
CREATE INDEX invites_newest ON invites (created_at, id);
CREATE INDEX invites_open ON invites (expires_at) WHERE revoked_at IS NULL AND uses < max_uses;
CREATE INDEX invites_for_address ON invites (email) WHERE email IS NOT NULL;
CREATE INDEX invites_of_project ON invites (project_id, created_at) WHERE project_id IS NOT NULL;
CREATE INDEX invites_of_maker ON invites (maker_id, created_at, id) WHERE maker_id IS NOT NULL;
CREATE INDEX invites_used ON invites (maker_id, spent_at) WHERE spent_at IS NOT NULL AND uses > 0;
CREATE INDEX invites_unused ON invites (maker_id, spent_at, expires_at)
    WHERE spent_at IS NOT NULL AND uses = 0 AND revoked_at IS NULL;
CREATE INDEX invites_unused_until ON invites (maker_id, expires_at, spent_at)
    WHERE spent_at IS NOT NULL AND uses = 0 AND revoked_at IS NULL;
CREATE INDEX invites_lapsing ON invites (lapses_at) WHERE lapses_at IS NOT NULL;

-- One row for one use. An invite's `uses` is always the number of its rows here that are not released.
--
-- A use may wait: 'held' for a program, the one with this key, which calls the guest `subject`; for the 'proof' of an
-- address; for somebody's 'approval'. It waits from `since` until it is done, or released: by who took it ('released'),
-- by a no ('denied'), since its invite was revoked ('revoked'), or since nobody completed it before `until` ('lapsed').
-- From `until` on it counts no more, though it is released only when the next one wants it. `asked` is a fingerprint of
-- the request that took it with an Idempotency-Key, which gave the row its id.
CREATE TABLE redemptions (
    id          TEXT PRIMARY KEY NOT NULL,
    invite_id   TEXT NOT NULL REFERENCES invites (id),
    user_id     TEXT REFERENCES users (id),
    state       TEXT NOT NULL DEFAULT 'done'
        CHECK (state IN ('held', 'proof', 'approval', 'done', 'released', 'denied', 'revoked', 'lapsed')),
    redeemed_at TIMESTAMP,
    released_at TIMESTAMP,
    since       TIMESTAMP,
    until       TIMESTAMP,
    key_id      TEXT,
    subject     TEXT CHECK (length(subject) BETWEEN 1 AND 200),
    asked       TEXT CHECK (length(asked) = 64),
    CHECK ((state = 'done') = (redeemed_at IS NOT NULL)),
    CHECK ((state IN ('released', 'denied', 'revoked', 'lapsed')) = (released_at IS NOT NULL))
);
CREATE UNIQUE INDEX redemptions_once ON redemptions (invite_id, user_id) WHERE released_at IS NULL;
CREATE UNIQUE INDEX redemptions_of_subject ON redemptions (invite_id, key_id, subject)
    WHERE subject IS NOT NULL AND state NOT IN ('released', 'denied', 'revoked');
CREATE INDEX redemptions_waiting ON redemptions (invite_id) WHERE redeemed_at IS NULL AND released_at IS NULL;
CREATE INDEX redemptions_of_key ON redemptions (key_id)
    WHERE key_id IS NOT NULL AND redeemed_at IS NULL AND released_at IS NULL;
CREATE INDEX redemptions_lapsing ON redemptions (until)
    WHERE until IS NOT NULL AND redeemed_at IS NULL AND released_at IS NULL;
CREATE INDEX redemptions_of_user ON redemptions (user_id);
CREATE INDEX redemptions_newest ON redemptions (redeemed_at);

-- Six-digit codes sent by mail; the code is derived from the nonce. `client` is who got it right.
CREATE TABLE codes (
    id         TEXT PRIMARY KEY NOT NULL,
    purpose    TEXT NOT NULL CHECK (purpose IN ('register', 'verify')),
    email      TEXT NOT NULL,
    user_id    TEXT REFERENCES users (id) ON DELETE CASCADE,
    nonce      TEXT NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    used_at    TIMESTAMP,
    client     TEXT,
    UNIQUE (purpose, email)
);

-- Where events are sent. The secret is derived from `nonce` as links are, and the former one, which signs as well until a
-- day after rotated_at, from `former_nonce`; a hash says under which master secret. `types` are those that were asked for,
-- and families of them, with commas between; NULL is all, as with project_id. `seen` is the number of the last event that
-- deliveries were written for, `kept` that of the last one before it was enabled again, which nobody sends by itself.
-- `busy_until`: somebody sends one of its deliveries until then. `why` is "gone" or "failing" if nobody disabled it but
-- the service itself.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY NOT NULL,
    url           TEXT NOT NULL CHECK (length(url) <= 2000),
    types         TEXT,
    project_id    TEXT REFERENCES projects (id),
    is_private    BOOLEAN NOT NULL DEFAULT FALSE,
    nonce         TEXT NOT NULL,
    secret_hash   TEXT NOT NULL CHECK (length(secret_hash) = 64),
    former_nonce  TEXT,
    former_hash   TEXT CHECK (length(former_hash) = 64),
    rotated_at    TIMESTAMP,
    created_at    TIMESTAMP NOT NULL,
    disabled_at   TIMESTAMP,
    why           TEXT CHECK (why IN ('gone', 'failing')),
    seen          BIGINT NOT NULL,
    kept          BIGINT NOT NULL DEFAULT 0,
    busy_until    TIMESTAMP,
    tried_at      TIMESTAMP,
    failing_since TIMESTAMP,
    CHECK (disabled_at IS NOT NULL OR why IS NULL)
);

-- One row for one event that one webhook is to be told of; what it is told is composed from `events` when it is sent, so
-- that no name stays here. due_at is NULL once it is sent, or failed at its last try, or while the webhook is disabled.
CREATE TABLE deliveries (
    id           TEXT PRIMARY KEY NOT NULL,
    webhook_id   TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event        BIGINT NOT NULL,
    type         TEXT NOT NULL,
    happened_at  TIMESTAMP NOT NULL,
    created_at   TIMESTAMP NOT NULL,
    due_at       TIMESTAMP,
    attempts     INTEGER NOT NULL DEFAULT 0,
    sent_at      TIMESTAMP,
    status       INTEGER,
    milliseconds INTEGER,
    last_error   TEXT,
    UNIQUE (webhook_id, event)
);
CREATE INDEX deliveries_due ON deliveries (webhook_id, due_at, event) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_newest ON deliveries (created_at, event);

-- Letters to be mailed, without the links and codes that they will have in them. due_at is NULL once one is
-- sent, or dropped since it is no longer so, or (with a last_error) since its server refuses it for good; it is put
-- off while somebody tries to send it, which is until `busy_until` at most. sender_id is the account that had an
-- invitation mailed, no foreign key: so that to write a mail locks nobody.
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL
        CHECK (kind IN ('invite', 'code', 'known', 'reset', 'approved', 'denied', 'ending', 'webhook')),
    recipient  TEXT NOT NULL,
    invite_id  TEXT REFERENCES invites (id),
    code_id    TEXT REFERENCES codes (id) ON DELETE SET NULL,
    user_id    TEXT REFERENCES users (id),
    project_id TEXT REFERENCES projects (id),
    webhook_id TEXT REFERENCES webhooks (id) ON DELETE SET NULL,
    created_at TIMESTAMP NOT NULL,
    due_at     TIMESTAMP,
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_at    TIMESTAMP,
    dropped_at TIMESTAMP,
    last_error TEXT,
    sender_id  TEXT,
    busy_until TIMESTAMP
);
-- In the order in which they are sent: codes and resets, for which people wait, before invitations.
CREATE INDEX outbox_due ON outbox ((kind = 'invite'), due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (created_at);
CREATE INDEX outbox_of_invite ON outbox (invite_id) WHERE invite_id IS NOT NULL;
CREATE INDEX outbox_of_code ON outbox (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX outbox_of_webhook ON outbox (webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX outbox_of_sender ON outbox (sender_id, created_at) WHERE sender_id IS NOT NULL;

-- Addresses to which no invitation is mailed, since their people want none. Each is a keyed hash: who reads this table
-- learns of nobody.
CREATE TABLE blocked_addresses (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    blocked_at TIMESTAMP NOT NULL
);
CREATE INDEX blocked_addresses_newest ON blocked_addresses (blocked_at);

-- Tries at a secret, spent before the secret is looked at: ('login', a user's id), ...
CREATE TABLE counters (
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL,
    spent   INTEGER NOT NULL,
    since   TIMESTAMP NOT NULL,
    PRIMARY KEY (purpose, subject)
);
CREATE INDEX counters_to_forget ON counters (since);

-- What happened, one row each, in the unit in which it happened: the timeline, the page of what happened and
-- GET /v1/events read nothing else. `number` is the order in which units were committed, as far as database.settled()
-- says. No foreign keys: a row says what was, also of what is gone. `actor` is a name as it was then, "a deleted
-- account" once that is erased; `facts` is JSON without names, addresses or anything that opens a door.
-- (On PostgreSQL the number is a BIGINT GENERATED BY DEFAULT AS IDENTITY: database/schema.py.)
-- What is told most often is in few indexes, since each costs a create or an accept some per cent (`python
-- bench/beside.py CHECKOUT`): that an invite was created is found by its `created_event`, what people did themselves
-- by their `user_id`, and what happens all the time in passing.
CREATE TABLE events (
    number     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at         TIMESTAMP NOT NULL,
    type       TEXT NOT NULL,
    actor      TEXT NOT NULL,
    actor_id   TEXT,
    invite_id  TEXT,
    project_id TEXT,
    user_id    TEXT,
    facts      TEXT
);
CREATE INDEX events_of_type ON events (type, number) WHERE type NOT IN ('invite.created', 'invite.used', 'user.created');
CREATE INDEX events_of_actor ON events (actor_id, number) WHERE user_id IS NULL OR user_id <> actor_id;
CREATE INDEX events_of_invite ON events (invite_id, number) WHERE type <> 'invite.created';
CREATE INDEX events_of_project ON events (project_id, number) WHERE project_id IS NOT NULL;
CREATE INDEX events_of_user ON events (user_id, number) WHERE user_id IS NOT NULL;
