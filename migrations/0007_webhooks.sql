-- Events are sent to webhooks, one row for each that is to be sent.
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

-- Mail says that a webhook was disabled. (Checks cannot be changed, so that the table is built anew.)
CREATE TABLE outbox_anew (
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
    last_error TEXT
);
INSERT INTO outbox_anew (
    id, kind, recipient, invite_id, code_id, user_id, project_id,
    created_at, due_at, attempts, sent_at, dropped_at, last_error
)
SELECT id, kind, recipient, invite_id, code_id, user_id, project_id,
    created_at, due_at, attempts, sent_at, dropped_at, last_error
FROM outbox;
DROP TABLE outbox;
ALTER TABLE outbox_anew RENAME TO outbox;
CREATE INDEX outbox_due ON outbox ((kind = 'invite'), due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (created_at);
CREATE INDEX outbox_of_invite ON outbox (invite_id) WHERE invite_id IS NOT NULL;
CREATE INDEX outbox_of_code ON outbox (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX outbox_of_webhook ON outbox (webhook_id) WHERE webhook_id IS NOT NULL;
