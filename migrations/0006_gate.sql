-- Where the apps answer that only members of a project may use, and the passes of programs to them.
CREATE TABLE origins (
    project_id TEXT NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    origin     TEXT NOT NULL,
    place      INTEGER NOT NULL,
    PRIMARY KEY (project_id, origin)
);

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
