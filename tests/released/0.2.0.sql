BEGIN TRANSACTION;
CREATE TABLE access_tokens (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_at TIMESTAMP NOT NULL
);
INSERT INTO "access_tokens" VALUES('16792dfd43163a63c289996c0702142aa6af1788fde73d275863be741121d478','de068d83-6423-4de0-906c-d0acc1006205','2026-03-25 22:00:00.000000');
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
INSERT INTO "api_keys" VALUES('IiLuTi2G','laptop','fbd8e7ac0f2525da50b13f89e2d8df3d1127937390932d8e5bc4454661e9d364','2026-03-25 21:00:00.000000',NULL,NULL,'create',NULL);
CREATE TABLE blocked_addresses (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    blocked_at TIMESTAMP NOT NULL
);
INSERT INTO "blocked_addresses" VALUES('62d2a52079117d385e1fda8d447febbb92764134cd2b6c9faea5dc2fb2421e0b','2026-03-25 21:00:00.000000');
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
INSERT INTO "codes" VALUES('afad6a2b-a8af-42a0-9198-378aa4c2943c','verify','bob@example.org','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','63d377788da400b6d0d8a8a76d2beac9',0,'2026-03-25 21:00:00.000000','2026-03-25 21:10:00.000000',NULL,NULL);
CREATE TABLE counters (
    purpose TEXT NOT NULL,
    subject TEXT NOT NULL,
    spent   INTEGER NOT NULL,
    since   TIMESTAMP NOT NULL,
    PRIMARY KEY (purpose, subject)
);
INSERT INTO "counters" VALUES('verify mail in 1m','bob@example.org',1,'2026-03-25 21:00:00.000000');
INSERT INTO "counters" VALUES('verify mail in 1d','bob@example.org',1,'2026-03-25 21:00:00.000000');
INSERT INTO "counters" VALUES('login','ec170616-78ec-4c6a-b72d-0f2a944c3d54',1,'2026-03-25 21:00:00.000000');
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
INSERT INTO "deliveries" VALUES('21b7190b-f4df-4e08-a080-b41243f512e8','f874b21c-f570-4f3e-8f2e-ef2d923d92d4',19,'webhook.test','2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',0,NULL,NULL,NULL,NULL);
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
INSERT INTO "events" VALUES(1,'2026-03-25 21:00:00.000000','user.created','invite-api',NULL,NULL,NULL,'ec170616-78ec-4c6a-b72d-0f2a944c3d54',NULL);
INSERT INTO "events" VALUES(2,'2026-03-25 21:00:00.000000','user.created','invite-api',NULL,NULL,NULL,'b98a86a4-47a5-411f-afb8-e1e4f5d71adf',NULL);
INSERT INTO "events" VALUES(3,'2026-03-25 21:00:00.000000','user.created','invite-api',NULL,NULL,NULL,'3b7ff710-2c35-4842-bc3f-49c056fdb917',NULL);
INSERT INTO "events" VALUES(4,'2026-03-25 21:00:00.000000','user.created','invite-api',NULL,NULL,NULL,'32f260b3-1a4c-4054-9004-e8edba781539',NULL);
INSERT INTO "events" VALUES(5,'2026-03-25 21:00:00.000000','project.created','invite-api',NULL,NULL,'c5bae3bb-5cab-456c-abf2-e9363607bf6a','ec170616-78ec-4c6a-b72d-0f2a944c3d54',NULL);
INSERT INTO "events" VALUES(6,'2026-03-25 21:00:00.000000','project.gate','invite-api',NULL,NULL,'c5bae3bb-5cab-456c-abf2-e9363607bf6a',NULL,'{"origins":1}');
INSERT INTO "events" VALUES(7,'2026-03-25 21:00:00.000000','invite.created','alice','ec170616-78ec-4c6a-b72d-0f2a944c3d54','7c20d413-bd34-4415-9e70-df540fa11760','c5bae3bb-5cab-456c-abf2-e9363607bf6a',NULL,NULL);
INSERT INTO "events" VALUES(8,'2026-03-25 21:00:00.000000','invite.used','bob','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','7c20d413-bd34-4415-9e70-df540fa11760','c5bae3bb-5cab-456c-abf2-e9363607bf6a','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','{"redemption":"f311640d-5522-4d07-bd2a-f63e0943012d"}');
INSERT INTO "events" VALUES(9,'2026-03-25 21:00:00.000000','member.joined','bob','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','7c20d413-bd34-4415-9e70-df540fa11760','c5bae3bb-5cab-456c-abf2-e9363607bf6a','b98a86a4-47a5-411f-afb8-e1e4f5d71adf',NULL);
INSERT INTO "events" VALUES(10,'2026-03-25 21:00:00.000000','invite.created','shell',NULL,'b03401c3-27d9-4ebb-95c6-5ead58db0269',NULL,NULL,NULL);
INSERT INTO "events" VALUES(11,'2026-03-25 21:00:00.000000','invite.mailed','shell',NULL,'b03401c3-27d9-4ebb-95c6-5ead58db0269',NULL,NULL,'{"letter":"d661b379-5d9f-44c2-9860-9aa8c52c64b2"}');
INSERT INTO "events" VALUES(12,'2026-03-25 21:00:00.000000','invite.created','shell',NULL,'8f3779f0-b750-4d11-b0bf-e1370a71d94b',NULL,NULL,NULL);
INSERT INTO "events" VALUES(13,'2026-03-25 21:00:00.000000','invite.created','shell',NULL,'d5d2565a-3697-49fe-b46d-e8c45b1419ee',NULL,NULL,NULL);
INSERT INTO "events" VALUES(14,'2026-03-25 21:00:00.000000','invite.revoked','invite-api',NULL,'8f3779f0-b750-4d11-b0bf-e1370a71d94b',NULL,NULL,NULL);
INSERT INTO "events" VALUES(15,'2026-03-25 21:00:00.000000','invite.used','charlie','3b7ff710-2c35-4842-bc3f-49c056fdb917','d5d2565a-3697-49fe-b46d-e8c45b1419ee',NULL,'3b7ff710-2c35-4842-bc3f-49c056fdb917','{"redemption":"c23ea25f-b003-42bf-8321-5d907b41763c"}');
INSERT INTO "events" VALUES(16,'2026-03-25 21:00:00.000000','user.disabled','invite-api',NULL,NULL,NULL,'3b7ff710-2c35-4842-bc3f-49c056fdb917',NULL);
INSERT INTO "events" VALUES(17,'2026-03-25 21:00:00.000000','user.deleted','invite-api',NULL,NULL,NULL,'32f260b3-1a4c-4054-9004-e8edba781539',NULL);
INSERT INTO "events" VALUES(18,'2026-03-25 21:00:00.000000','webhook.created','invite-api',NULL,NULL,NULL,NULL,'{"webhook":"f874b21c-f570-4f3e-8f2e-ef2d923d92d4"}');
INSERT INTO "events" VALUES(19,'2026-03-25 21:00:00.000000','webhook.test','invite-api',NULL,NULL,NULL,NULL,'{"webhook":"f874b21c-f570-4f3e-8f2e-ef2d923d92d4"}');
INSERT INTO "events" VALUES(20,'2026-03-25 21:00:00.000000','key.created','invite-api',NULL,NULL,NULL,NULL,'{"key":"IiLuTi2G"}');
INSERT INTO "events" VALUES(21,'2026-03-25 21:00:00.000000','invite.created','shell',NULL,'c6343fd0-dbc2-4c0e-9e1f-9964df988d72',NULL,NULL,NULL);
INSERT INTO "events" VALUES(22,'2026-03-25 21:00:00.000000','invite.created','shell',NULL,'eb8deb46-40d5-4940-ae67-59e1ec20239a',NULL,NULL,NULL);
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
INSERT INTO "invites" VALUES('7c20d413-bd34-4415-9e70-df540fa11760','d6496c57c699cdf9d1dbcdb481948114','b6d40961af7ed261c5a635bf805e82de1e341a8962ec6d7d0118a53e83ab5a55',NULL,NULL,NULL,NULL,'c5bae3bb-5cab-456c-abf2-e9363607bf6a','member','solo',NULL,NULL,0,2,1,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'alice','ec170616-78ec-4c6a-b72d-0f2a944c3d54',NULL,NULL,NULL,NULL,7,NULL,NULL,0,0,NULL,NULL,'2026-03-25 21:00:00.000000');
INSERT INTO "invites" VALUES('b03401c3-27d9-4ebb-95c6-5ead58db0269','d8200507d3f84d8bbb11d3d04b14bcc0','705c14c754ad3164cd4fbb9ec7dfcb2ef821120a393267c698ea5ebfc466aaff','d2c737c88f3f9a7c02894fdeda6fa112b6dc5faee0f6c9551b116cc27e9bb04a',NULL,NULL,'erin@example.org',NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL,NULL,NULL,NULL,10,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "invites" VALUES('8f3779f0-b750-4d11-b0bf-e1370a71d94b','9ff5169aa0e4b8ec12df48cb63d2c7ba','8212e057cf53292a87c2fb7da5398451c3f956e00517ccd2da15f259f4f8ab83',NULL,NULL,'Anne',NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000','2026-03-25 21:00:00.000000','shell',NULL,NULL,NULL,NULL,NULL,12,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "invites" VALUES('d5d2565a-3697-49fe-b46d-e8c45b1419ee','03283f790ebb4a9c3c493ae8146feec2','39314e32af9fd07d15458cfeb629e12d74585679b0873926be427dd95ce9b713',NULL,NULL,'José',NULL,NULL,'member','solo',NULL,NULL,0,1,1,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL,'josé',NULL,NULL,13,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "invites" VALUES('c6343fd0-dbc2-4c0e-9e1f-9964df988d72','57b8c15751065684d748e62db91489ae','6eb2f58a45f87097fc093aa3b9b2904b65b56753c2a68a55ec9c70099845905d',NULL,NULL,'李小龙',NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000',NULL,NULL,'shell',NULL,NULL,'李小龙',NULL,NULL,21,NULL,NULL,0,0,NULL,NULL,NULL);
INSERT INTO "invites" VALUES('eb8deb46-40d5-4940-ae67-59e1ec20239a','5f820d36ae14a38e126cd0f1a047afbb','7e9f310146ae2bd6518a9d34db32905953636f41518d77406852a2c57c432def',NULL,'be2694998fe7293240ab25d7839ec780e0ca5793233af2578be8dfe4bd4d101a',NULL,NULL,NULL,'member','solo',NULL,NULL,0,1,0,'2026-03-25 21:00:00.000000','2026-04-01 21:00:00.000000',NULL,'shell',NULL,NULL,NULL,NULL,NULL,22,NULL,NULL,0,0,NULL,NULL,NULL);
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
INSERT INTO "members" VALUES('fe878b3f-5c1a-400a-ab09-e1cd924fe23f','c5bae3bb-5cab-456c-abf2-e9363607bf6a','ec170616-78ec-4c6a-b72d-0f2a944c3d54','owner','2026-03-25 21:00:00.000000',NULL,NULL);
INSERT INTO "members" VALUES('f311640d-5522-4d07-bd2a-f63e0943012d','c5bae3bb-5cab-456c-abf2-e9363607bf6a','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','member','2026-03-25 21:00:00.000000',NULL,NULL);
CREATE TABLE origins (
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    origin     TEXT NOT NULL,
    place      INTEGER NOT NULL,
    PRIMARY KEY (project_id, origin)
);
INSERT INTO "origins" VALUES('c5bae3bb-5cab-456c-abf2-e9363607bf6a','https://garden.example.org',0);
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
INSERT INTO "outbox" VALUES('d661b379-5d9f-44c2-9860-9aa8c52c64b2','invite','erin@example.org','b03401c3-27d9-4ebb-95c6-5ead58db0269',NULL,NULL,NULL,NULL,'2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',0,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "outbox" VALUES('a91b2174-c363-43ec-84ab-87698423fb0b','code','bob@example.org',NULL,'afad6a2b-a8af-42a0-9198-378aa4c2943c','b98a86a4-47a5-411f-afb8-e1e4f5d71adf',NULL,NULL,'2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',0,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE passes (
    id         TEXT PRIMARY KEY NOT NULL,
    hash       TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    name       TEXT CHECK (length(name) <= 100),
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP
);
INSERT INTO "passes" VALUES('af1e01d6-294b-4617-a29b-17a1ce70ffa0','3110c10e4fb340c5ab84d21a8cad21559faead59e6697612084afb23ed5c84a1','ec170616-78ec-4c6a-b72d-0f2a944c3d54','c5bae3bb-5cab-456c-abf2-e9363607bf6a',NULL,'2026-03-25 21:00:00.000000',NULL);
CREATE TABLE presets (
    name       TEXT PRIMARY KEY NOT NULL CHECK (length(name) BETWEEN 1 AND 50),
    fields     TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL
);
INSERT INTO "presets" VALUES('family','{"uses": 5}','2026-03-25 21:00:00.000000');
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
INSERT INTO "projects" VALUES('c5bae3bb-5cab-456c-abf2-e9363607bf6a','Tea Garden','tea-garden',NULL,0,'2026-03-25 21:00:00.000000',NULL,NULL);
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
INSERT INTO "redemptions" VALUES('f311640d-5522-4d07-bd2a-f63e0943012d','7c20d413-bd34-4415-9e70-df540fa11760','b98a86a4-47a5-411f-afb8-e1e4f5d71adf','done','2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "redemptions" VALUES('c23ea25f-b003-42bf-8321-5d907b41763c','d5d2565a-3697-49fe-b46d-e8c45b1419ee','3b7ff710-2c35-4842-bc3f-49c056fdb917','done','2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE schema_version (
    version INTEGER PRIMARY KEY NOT NULL
);
INSERT INTO "schema_version" VALUES(11);
CREATE TABLE sessions (
    id           TEXT PRIMARY KEY NOT NULL,
    user_id      TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    refresh_hash TEXT,
    parent_hash  TEXT,
    rotated_at   TIMESTAMP,
    created_at   TIMESTAMP NOT NULL,
    expires_at   TIMESTAMP NOT NULL
);
INSERT INTO "sessions" VALUES('de068d83-6423-4de0-906c-d0acc1006205','ec170616-78ec-4c6a-b72d-0f2a944c3d54','5c6c83fd3c7282f2b65de6f12f1c8481bca44fda9239b475f2f6af478eab4155',NULL,NULL,'2026-03-25 21:00:00.000000','2026-04-24 21:00:00.000000');
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
INSERT INTO "users" VALUES('ec170616-78ec-4c6a-b72d-0f2a944c3d54','alice','alice@example.org','2026-03-25 21:00:00.000000',NULL,NULL,'$argon2id$v=19$m=19456,t=2,p=1$U9t0RmExG7oaJ0sLLK7Ylg$HVC/kMyBC1Z9Z0eknOJpdhjUz86UerCyI1hAEzYwjV4',NULL,'2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "users" VALUES('b98a86a4-47a5-411f-afb8-e1e4f5d71adf','bob','bob@example.org',NULL,NULL,NULL,'$argon2id$v=19$m=19456,t=2,p=1$U9t0RmExG7oaJ0sLLK7Ylg$HVC/kMyBC1Z9Z0eknOJpdhjUz86UerCyI1hAEzYwjV4',NULL,'2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "users" VALUES('3b7ff710-2c35-4842-bc3f-49c056fdb917','charlie',NULL,NULL,NULL,NULL,'$argon2id$v=19$m=19456,t=2,p=1$U9t0RmExG7oaJ0sLLK7Ylg$HVC/kMyBC1Z9Z0eknOJpdhjUz86UerCyI1hAEzYwjV4',NULL,'2026-03-25 21:00:00.000000','2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL,NULL);
INSERT INTO "users" VALUES('32f260b3-1a4c-4054-9004-e8edba781539',NULL,NULL,NULL,NULL,'1279bfb928056efadab9ad873bde449098e4134cb11a31a5cffcb67f51b53d4c',NULL,NULL,'2026-03-25 21:00:00.000000',NULL,'2026-03-25 21:00:00.000000',NULL,NULL,NULL,NULL);
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
INSERT INTO "webhooks" VALUES('f874b21c-f570-4f3e-8f2e-ef2d923d92d4','https://app.example.org/hook',NULL,NULL,0,'1817309fefffe2027f602c12efd69520','52faf81e1d05654b2612d8f056f0463c7eb2c4035952d4f444e8399b6e13ada5',NULL,NULL,NULL,'2026-03-25 21:00:00.000000',NULL,NULL,0,0,NULL,NULL,NULL);
CREATE UNIQUE INDEX users_former_name ON users (former_name);
CREATE INDEX users_newest ON users (created_at, id);
CREATE INDEX users_of_inviter ON users (inviter_id, created_at) WHERE inviter_id IS NOT NULL;
CREATE INDEX users_disabled_together ON users (disabled_event) WHERE disabled_event IS NOT NULL;
CREATE INDEX sessions_of_user ON sessions (user_id);
CREATE INDEX access_tokens_of_session ON access_tokens (session_id);
CREATE INDEX access_tokens_to_forget ON access_tokens (expires_at);
CREATE UNIQUE INDEX members_one_owner ON members (project_id) WHERE role = 'owner';
CREATE INDEX members_of_user ON members (user_id);
CREATE INDEX members_ending ON members (ends_at) WHERE ends_at IS NOT NULL;
CREATE INDEX passes_of_user ON passes (user_id);
CREATE INDEX passes_of_project ON passes (project_id);
CREATE INDEX passes_to_forget ON passes (expires_at) WHERE expires_at IS NOT NULL;
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
CREATE INDEX deliveries_due ON deliveries (webhook_id, due_at, event) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_newest ON deliveries (created_at, event);
CREATE INDEX outbox_due ON outbox ((kind = 'invite'), due_at) WHERE due_at IS NOT NULL;
CREATE INDEX outbox_newest ON outbox (created_at);
CREATE INDEX outbox_of_invite ON outbox (invite_id) WHERE invite_id IS NOT NULL;
CREATE INDEX outbox_of_code ON outbox (code_id) WHERE code_id IS NOT NULL;
CREATE INDEX outbox_of_webhook ON outbox (webhook_id) WHERE webhook_id IS NOT NULL;
CREATE INDEX outbox_of_sender ON outbox (sender_id, created_at) WHERE sender_id IS NOT NULL;
CREATE INDEX blocked_addresses_newest ON blocked_addresses (blocked_at);
CREATE INDEX counters_to_forget ON counters (since);
CREATE INDEX events_of_type ON events (type, number) WHERE type NOT IN ('invite.created', 'invite.used', 'user.created');
CREATE INDEX events_of_actor ON events (actor_id, number) WHERE user_id IS NULL OR user_id <> actor_id;
CREATE INDEX events_of_invite ON events (invite_id, number) WHERE type <> 'invite.created';
CREATE INDEX events_of_project ON events (project_id, number) WHERE project_id IS NOT NULL;
CREATE INDEX events_of_user ON events (user_id, number) WHERE user_id IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',22);
COMMIT;
