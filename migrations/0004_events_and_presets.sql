-- What a key may do, and the preset that it is bound to. A key that exists creates, as it did.
ALTER TABLE api_keys ADD COLUMN may TEXT NOT NULL DEFAULT 'create';
ALTER TABLE api_keys ADD COLUMN preset TEXT;

CREATE TABLE presets (
    name       TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 50),
    fields     TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL
);

-- The fingerprint of a request with an Idempotency-Key.
ALTER TABLE invites ADD COLUMN asked TEXT CHECK (length(asked) = 64);
ALTER TABLE invites ADD COLUMN created_event BIGINT;

-- What happened; upkeep/backfill.py tells what is known of before, and makes the indexes after that: so it takes half
-- the time.
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
