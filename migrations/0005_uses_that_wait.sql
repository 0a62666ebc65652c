-- What an invite gives for a while, what it has for programs, and whether somebody must say yes.
ALTER TABLE invites ADD COLUMN access BIGINT CHECK (access > 0);
ALTER TABLE invites ADD COLUMN data TEXT CHECK (length(data) <= 2048);
ALTER TABLE invites ADD COLUMN approve BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE invites ADD COLUMN waiting INTEGER NOT NULL DEFAULT 0 CHECK (waiting BETWEEN 0 AND uses);
ALTER TABLE invites ADD COLUMN lapses_at TIMESTAMP;
CREATE INDEX invites_lapsing ON invites (lapses_at) WHERE lapses_at IS NOT NULL;

ALTER TABLE members ADD COLUMN ends_at TIMESTAMP CHECK (role <> 'owner' OR ends_at IS NULL);
ALTER TABLE members ADD COLUMN warned_at TIMESTAMP;
CREATE INDEX members_ending ON members (ends_at) WHERE ends_at IS NOT NULL;

ALTER TABLE projects ADD COLUMN join_url TEXT;

-- A use may wait, and be released; what there is is done. An account may use an invite again once its use was released.
-- (Checks and unique columns cannot be changed, so that the table is built anew.)
CREATE TABLE redemptions_anew (
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
INSERT INTO redemptions_anew (id, invite_id, user_id, redeemed_at)
SELECT id, invite_id, user_id, redeemed_at FROM redemptions;
DROP TABLE redemptions;
ALTER TABLE redemptions_anew RENAME TO redemptions;
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

-- Mail says how an approval ended, and that an access ends soon.
CREATE TABLE outbox_anew (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('invite', 'code', 'known', 'reset', 'approved', 'denied', 'ending')),
    recipient  TEXT NOT NULL,
    invite_id  TEXT REFERENCES invites (id),
    code_id    TEXT REFERENCES codes (id) ON DELETE SET NULL,
    user_id    TEXT REFERENCES users (id),
    project_id TEXT REFERENCES projects (id),
    created_at TIMESTAMP NOT NULL,
    due_at     TIMESTAMP,
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_at    TIMESTAMP,
    dropped_at TIMESTAMP,
    last_error TEXT
);
INSERT INTO outbox_anew (
    id, kind, recipient, invite_id, code_id, user_id,
    created_at, due_at, attempts, sent_at, dropped_at, last_error
)
SELECT id, kind, recipient, invite_id, code_id, user_id,
    created_at, due_at, attempts, sent_at, dropped_at, last_error
FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_anew RENAME TO outbox;
CREATE INDEX outbox_due ON outbox ((kind = 'invite'), due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (created_at);
CREATE INDEX outbox_of_invite ON outbox (invite_id) WHERE invite_id IS NOT NULL;
CREATE INDEX outbox_of_code ON outbox (code_id) WHERE code_id IS NOT NULL;
