-- Who invited whom, and how many people each may invite. upkeep/inviting.py finds the inviters of those who are there.
ALTER TABLE users ADD COLUMN inviter_id TEXT;
ALTER TABLE users ADD COLUMN budget TEXT;
ALTER TABLE users ADD COLUMN disabled_event BIGINT;

-- What an account has created counts against its budget since then.
ALTER TABLE invites ADD COLUMN spent_at TIMESTAMP;
UPDATE invites SET spent_at = created_at WHERE maker_id IS NOT NULL;

DROP INDEX invites_of_maker;
CREATE INDEX invites_of_maker ON invites (maker_id, created_at, id) WHERE maker_id IS NOT NULL;
CREATE INDEX invites_used ON invites (maker_id, spent_at) WHERE spent_at IS NOT NULL AND uses > 0;
CREATE INDEX invites_unused ON invites (maker_id, spent_at, expires_at)
    WHERE spent_at IS NOT NULL AND uses = 0 AND revoked_at IS NULL;
CREATE INDEX invites_unused_until ON invites (maker_id, expires_at, spent_at)
    WHERE spent_at IS NOT NULL AND uses = 0 AND revoked_at IS NULL;
