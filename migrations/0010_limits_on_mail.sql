-- Which account had an invitation mailed: so many go out for one in a day. What was mailed before counts for nobody.
ALTER TABLE outbox ADD COLUMN sender_id TEXT;
CREATE INDEX outbox_of_sender ON outbox (sender_id, created_at) WHERE sender_id IS NOT NULL;

-- Addresses to which no invitation is mailed any more.
CREATE TABLE blocked_addresses (
    hash       TEXT PRIMARY KEY NOT NULL CHECK (length(hash) = 64),
    blocked_at TIMESTAMP NOT NULL
);
CREATE INDEX blocked_addresses_newest ON blocked_addresses (blocked_at);
