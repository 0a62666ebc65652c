-- A session that has ended is deleted, and was kept until it expired: an account could have any number of them.
DELETE FROM sessions WHERE ended_at IS NOT NULL;
ALTER TABLE sessions DROP COLUMN ended_at;

-- Codes and resets are mailed before invitations.
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox ((kind = 'invite'), due_at) WHERE due_at IS NOT NULL;

CREATE INDEX counters_to_forget ON counters (since);

-- The keyed hash of a deleted account's user name, so that nobody gets the name again. SQLite adds no unique column.
ALTER TABLE users ADD COLUMN former_name TEXT CHECK (length(former_name) = 64);
CREATE UNIQUE INDEX users_former_name ON users (former_name);
