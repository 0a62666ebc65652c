BEGIN TRANSACTION;
CREATE TABLE access_tokens (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TIMESTAMP NOT NULL
);
INSERT INTO "access_tokens" VALUES('f1b0291068ede14a9175a2178255813db175c0508f724a32f6372729b1dcc69a','a1f3cc52-926d-4140-aa8c-61b404f52421','2026-03-25 22:00:00.000000');
CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY NOT NULL,
    name         TEXT,
    secret_hash  TEXT NOT NULL CHECK (length(secret_hash) = 64),
    created_at   TIMESTAMP NOT NULL,
    last_used_at TIMESTAMP,
    expires_at   TIMESTAMP
);
INSERT INTO "api_keys" VALUES('CaH1NPr_','laptop','36da027a2fd4beb0a4ce3ce19fef059871384e8040095a41a9468da92d7c334f','2026-03-25 21:00:00.000000',NULL,NULL);
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
INSERT INTO "codes" VALUES('76492914-2e8c-4ee6-9a06-4fddbcd3f7b0','verify','bob@example.org','657cd7a8-7ef5-43f8-aa9a-f6644f801eba','cae6d0b7b226c86759370d5bb52f525c',0,'2026-03-25 21:00:00.000000','2026-03-25 21:10:00.000000',NULL,NULL);
CREATE TABLE counters (
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL,
    spent   INTEGER NOT NULL,
    since   TIMESTAMP NOT NULL,
    PRIMARY KEY (purpose, subject)
);
INSERT INTO "counters" VALUES('verify mail in 1m','bob@example.org',1,'2026-03-25 21:00:00.000000');
INSERT INTO "counters" VALUES('verify mail in 1d','bob@example.org',1,'2026-03-25 21:00:00.000000');
INSERT INTO "counters" VALUES('login','5c9977fc-e188-43c4-8a7f-0821eba7b010',1,'2026-03-25 21:00:00.000000');
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
    CHECK (NOT makes_admin OR (max_uses = 1 AND expires_at IS NOT NULL))
);
INSERT INTO "invites" VALUES('2ea62186-3224-4d3d-86ee-5cc248a7c36f','9f7cd5faf3740b030349290f46005f50','2ea860fe19ab768bf54e09c1a901fb51d35992f14dd90598a0544ae6d10691b4',NULL,NULL,NULL,NULL,'4cd96829-f390-4a08-9815-051e1a581c66','member','solo',NULL,NULL,0,2,1,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'alice','5c9977fc-e188-43c4-8a7f-0821eba7b010',NULL);
INSERT INTO "invites" VALUES('518a6efa-584f-471c-a9c0-cef6b49e5be8','fc6ae5e7a7d0307b67a17a88d9b97796','70b59f9ee7b9f111d1350becdd94540612bf678a81d37228d8bf075f11d557d6','1eaa1798e9b22b428422963b6800601d33839499c67cd9cda4c011ead62a9270',NULL,NULL,'erin@example.org',NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL);
INSERT INTO "invites" VALUES('e54d796b-badf-489c-a386-ebda753cc86b','6253db4eb3ec3a23b6fe96e8321d3a2c','507fe67512ee9d05596f458c5a9bc44354c24e47548c95b2f13e1df4d3c4cc4d',NULL,NULL,'Anne',NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000','2026-03-25 21:00:00.000000','shell',NULL,NULL);
INSERT INTO "invites" VALUES('e33d2f53-e844-437f-b4e7-305274b2f2df','6851aa6d291f419c5921b7954b684b82','b2ba77f21a07f65c969ea1e7db7c8f012d8a9bca803c7a24340825cbc7b064a5',NULL,NULL,'José',NULL,NULL,'member','solo',NULL,NULL,0,1,1,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL);
INSERT INTO "invites" VALUES('1dc09d2a-6f82-4053-927d-24fdf0f3f95e','502fd8d8fccfc0d4f962afcce17d46e6','bddbc264cc186ecc2e065aed5a3c9fa5ef3e04dae86f7a25eb0f76a90ea6bcf8',NULL,NULL,'李小龙',NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000',NULL,NULL,'shell',NULL,NULL);
INSERT INTO "invites" VALUES('74481b38-3dc4-48ff-93ba-45de3dc727d1','6ac5906571bec0e8db62f57c0f135ccf','96b11b1e1167b7128d127acf0f7c31e477f9562a19f96ea33b5cb1914d6d4dd4',NULL,'fb7f117aba2d754658e7427fad875106954e75d511ffcb301a9e3f7261b69854',NULL,NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL);
CREATE TABLE members (
    id         TEXT PRIMARY KEY NOT NULL,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role       TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    joined_at  TIMESTAMP NOT NULL,
    UNIQUE (project_id, user_id)
);
INSERT INTO "members" VALUES('3d18a9f0-f9c2-425b-ab4d-20f4bcf950b7','4cd96829-f390-4a08-9815-051e1a581c66','5c9977fc-e188-43c4-8a7f-0821eba7b010','owner','2026-03-25 21:00:00.000000');
INSERT INTO "members" VALUES('74c84220-f802-4b0d-b5c7-6afe6791378c','4cd96829-f390-4a08-9815-051e1a581c66','657cd7a8-7ef5-43f8-aa9a-f6644f801eba','member','2026-03-25 21:00:00.000000');
CREATE TABLE outbox (
    id         TEXT PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('invite', 'code', 'known', 'reset')),
    recipient  TEXT NOT NULL,
    invite_id  TEXT REFERENCES invites (id),
    code_id    TEXT REFERENCES codes (id) ON DELETE SET NULL,
    user_id    TEXT REFERENCES users (id),
    created_at TIMESTAMP NOT NULL,
    due_at     TIMESTAMP,
    attempts   INTEGER NOT NULL DEFAULT 0,
    sent_at    TIMESTAMP,
    dropped_at TIMESTAMP,
    last_error TEXT
);
INSERT INTO "outbox" VALUES('e33e1c28-a23b-4ced-b1b7-eb78f396bdd7','invite','erin@example.org','518a6efa-584f-471c-a9c0-cef6b49e5be8',NULL,NULL,'2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',0,NULL,NULL,NULL);
INSERT INTO "outbox" VALUES('06943d3e-5a0f-4a6a-8bb2-6fc33e64f842','code','bob@example.org',NULL,'76492914-2e8c-4ee6-9a06-4fddbcd3f7b0','657cd7a8-7ef5-43f8-aa9a-f6644f801eba','2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',0,NULL,NULL,NULL);
CREATE TABLE projects (
    id          TEXT PRIMARY KEY NOT NULL,
    name        TEXT NOT NULL,
    slug        TEXT UNIQUE,
    description TEXT,
    is_public   BOOLEAN NOT NULL DEFAULT FALSE,
    created_at  TIMESTAMP NOT NULL,
    deleted_at  TIMESTAMP,
    CHECK (deleted_at IS NOT NULL OR slug IS NOT NULL)
);
INSERT INTO "projects" VALUES('4cd96829-f390-4a08-9815-051e1a581c66','Tea Garden','tea-garden',NULL,0,'2026-03-25 21:00:00.000000',NULL);
CREATE TABLE redemptions (
    id          TEXT PRIMARY KEY NOT NULL,
    invite_id   TEXT NOT NULL REFERENCES invites (id),
    user_id     TEXT REFERENCES users (id),
    redeemed_at TIMESTAMP NOT NULL,
    UNIQUE (invite_id, user_id)
);
INSERT INTO "redemptions" VALUES('74c84220-f802-4b0d-b5c7-6afe6791378c','2ea62186-3224-4d3d-86ee-5cc248a7c36f','657cd7a8-7ef5-43f8-aa9a-f6644f801eba','2026-03-25 21:00:00.000000');
INSERT INTO "redemptions" VALUES('71c345f7-9da7-4b92-9705-3a6d7f376bcd','e33d2f53-e844-437f-b4e7-305274b2f2df','fbbf0ccf-4010-4d02-9aa6-892084645d93','2026-03-25 21:00:00.000000');
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY NOT NULL
);
INSERT INTO "schema_version" VALUES(1);
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY NOT NULL,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_hash TEXT,
    parent_hash  TEXT,
    rotated_at   TIMESTAMP,
    created_at   TIMESTAMP NOT NULL,
    expires_at   TIMESTAMP NOT NULL,
    ended_at     TIMESTAMP
);
INSERT INTO "sessions" VALUES('a1f3cc52-926d-4140-aa8c-61b404f52421','5c9977fc-e188-43c4-8a7f-0821eba7b010','53679dddfaf46f4ca690c2837a8e5aa9cc4a603c556dc418d5c57d383627c8ce',NULL,NULL,'2026-03-25 21:00:00.000000','2026-04-24 21:00:00.000000',NULL);
CREATE TABLE users (
    id                TEXT PRIMARY KEY NOT NULL,
    username          TEXT UNIQUE CHECK (length(username) BETWEEN 2 AND 30),
    email             TEXT UNIQUE CHECK (length(email) <= 254),
    email_verified_at TIMESTAMP,
    display_name      TEXT,
    password_hash     TEXT,
    admin_at          TIMESTAMP,
    created_at        TIMESTAMP NOT NULL,
    disabled_at       TIMESTAMP,
    deleted_at        TIMESTAMP,
    CHECK (email IS NOT NULL OR email_verified_at IS NULL),
    CHECK (deleted_at IS NULL OR (username IS NULL AND email IS NULL AND password_hash IS NULL))
);
INSERT INTO "users" VALUES('5c9977fc-e188-43c4-8a7f-0821eba7b010','alice','alice@example.org','2026-03-25 21:00:00.000000',NULL,'$argon2id$v=19$m=19456,t=2,p=1$l8Eu1NJm+HBf+fV4KEYQOQ$CfaZk0kIKCaaKiHVDrKYvHbHpLoWykoPL6/EcXqYZjQ',NULL,'2026-03-25 21:00:00.000000',NULL,NULL);
INSERT INTO "users" VALUES('657cd7a8-7ef5-43f8-aa9a-f6644f801eba','bob','bob@example.org',NULL,NULL,'$argon2id$v=19$m=19456,t=2,p=1$l8Eu1NJm+HBf+fV4KEYQOQ$CfaZk0kIKCaaKiHVDrKYvHbHpLoWykoPL6/EcXqYZjQ',NULL,'2026-03-25 21:00:00.000000',NULL,NULL);
INSERT INTO "users" VALUES('fbbf0ccf-4010-4d02-9aa6-892084645d93','charlie',NULL,NULL,NULL,'$argon2id$v=19$m=19456,t=2,p=1$l8Eu1NJm+HBf+fV4KEYQOQ$CfaZk0kIKCaaKiHVDrKYvHbHpLoWykoPL6/EcXqYZjQ',NULL,'2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',NULL);
INSERT INTO "users" VALUES('48f139d0-a551-472b-9ecd-35ee84deb60b',NULL,NULL,NULL,NULL,NULL,NULL,'2026-03-25 21:00:00.000000',NULL,'2026-03-25 21:00:00.000000');
CREATE INDEX users_newest ON users (created_at, id);
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX access_tokens_of_session ON access_tokens (session_id);
CREATE INDEX access_tokens_to_forget ON access_tokens (expires_at);
CREATE UNIQUE INDEX members_one_owner ON members (project_id) WHERE role = 'owner';
CREATE INDEX members_of_user ON members (user_id);
CREATE INDEX invites_newest ON invites (created_at, id);
CREATE INDEX invites_open ON invites (expires_at) WHERE revoked_at IS NULL AND uses < max_uses;
CREATE INDEX invites_for_address ON invites (email) WHERE email IS NOT NULL;
CREATE INDEX invites_of_project ON invites (project_id, created_at) WHERE project_id IS NOT NULL;
CREATE INDEX invites_of_maker ON invites (maker_id) WHERE maker_id IS NOT NULL;
CREATE INDEX redemptions_of_user ON redemptions (user_id);
CREATE INDEX redemptions_newest ON redemptions (redeemed_at);
CREATE INDEX outbox_due ON outbox (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (created_at);
CREATE INDEX outbox_of_invite ON outbox (invite_id) WHERE invite_id IS NOT NULL;
CREATE INDEX outbox_of_code ON outbox (code_id) WHERE code_id IS NOT NULL;
COMMIT;
