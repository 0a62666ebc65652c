"""The half of a migration that finds out who invited those who have accounts."""

from collections.abc import Mapping

from database import ExclusiveDatabase

# An account that was created with an invite has used it in the same unit of work, that is, at almost the same moment.
_MOMENT = "coalesce(uses.since, uses.redeemed_at)"
_AT_ONCE: Mapping[str, str] = {
    "sqlite": f"abs(julianday({_MOMENT}) - julianday(users.created_at)) * 86400 <= 1.001",
    "postgresql": f"abs(extract(epoch FROM {_MOMENT} - users.created_at)) <= 1.001",
}
_DERIVE = """
UPDATE users SET inviter_id = (
    SELECT invites.maker_id FROM redemptions AS uses JOIN invites ON invites.id = uses.invite_id
    WHERE uses.user_id = users.id AND invites.created_at <= users.created_at
    AND coalesce(invites.maker_id, '') <> users.id AND {at_once}
    ORDER BY {moment}, uses.id LIMIT 1
)
WHERE EXISTS (SELECT 1 FROM redemptions WHERE redemptions.user_id = users.id)
"""
# Made when the rows are there, which takes less time.
_INDEXES = (
    "CREATE INDEX users_of_inviter ON users (inviter_id, created_at) WHERE inviter_id IS NOT NULL",
    "CREATE INDEX users_disabled_together ON users (disabled_event) WHERE disabled_event IS NOT NULL",
)


def derive(opened: ExclusiveDatabase) -> None:
    """Find the inviter of each account that was created with an invite of another account.

    It is the inviter of the first invite that the account used, if it did so within a second of its creation; who
    accepted an invite later was there before. One of the shell or a key has none: then nobody is the inviter.
    """
    opened.execute(_DERIVE.format(at_once=_AT_ONCE[opened.dialect], moment=_MOMENT))
    for each in _INDEXES:
        opened.execute(each)
