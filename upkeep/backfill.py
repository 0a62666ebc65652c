"""The half of a migration that records what happened before there were events, from what the other tables know.

Who revoked an invite, or disabled an account, they do not know.
"""

from collections.abc import Mapping

import clock
from database import ExclusiveDatabase
from rules.events import ERASED, SERVICE

# The two engines' words for an address up to its @.
_BEFORE_AT: Mapping[str, str] = {
    "sqlite": "substr(email, 1, instr(email, '@') - 1)",
    "postgresql": "split_part(email, '@', 1)",
}

# Each gives: at, type, actor, actor_id, invite_id, project_id, user_id, facts, and the id of the row that says so.
_KNOWN = (
    "SELECT created_at, 'user.created', called, id, NULL, NULL, id, NULL, id FROM people",
    "SELECT admin_at, 'user.admin', 'unknown', NULL, NULL, NULL, id, '{\"admin\":true}', id FROM users "
    "WHERE admin_at IS NOT NULL",
    "SELECT disabled_at, 'user.disabled', 'unknown', NULL, NULL, NULL, id, NULL, id FROM users "
    "WHERE disabled_at IS NOT NULL",
    "SELECT deleted_at, 'user.deleted', 'unknown', NULL, NULL, NULL, id, NULL, id FROM users "
    "WHERE deleted_at IS NOT NULL",
    "SELECT created_at, 'project.created', 'unknown', NULL, NULL, id, NULL, NULL, id FROM projects",
    "SELECT deleted_at, 'project.deleted', 'unknown', NULL, NULL, id, NULL, NULL, id FROM projects "
    "WHERE deleted_at IS NOT NULL",
    "SELECT joined_at, 'member.joined', called, members.user_id, invite_id, project_id, members.user_id, NULL, "
    "members.id FROM members JOIN people ON people.id = members.user_id JOIN projects ON projects.id = project_id "
    "LEFT JOIN redemptions ON redemptions.id = members.id "  # who joined by an invite has one id in both
    "WHERE role <> 'owner' OR joined_at <> projects.created_at",
    "SELECT created_at, 'key.created', 'unknown', NULL, NULL, NULL, NULL, "
    "'{\"key\":\"' || replace(replace(id, '\\', '\\\\'), '\"', '\\\"') || '\"}', "
    "id FROM api_keys",
    "SELECT created_at, 'invite.created', maker, made_by_id, id, project_id, NULL, NULL, id FROM made",
    "SELECT outbox.created_at, 'invite.mailed', maker, made_by_id, made.id, made.project_id, NULL, "
    "'{\"letter\":\"' || outbox.id || '\"}', outbox.id FROM outbox JOIN made ON made.id = invite_id "
    "WHERE kind = 'invite'",
    "SELECT redeemed_at, 'invite.used', coalesce(called, 'a guest'), user_id, invite_id, project_id, user_id, "
    "'{\"redemption\":\"' || redemptions.id || '\"}', redemptions.id FROM redemptions "
    "JOIN invites ON invites.id = invite_id LEFT JOIN people ON people.id = user_id",
    "SELECT revoked_at, 'invite.revoked', 'unknown', NULL, id, project_id, NULL, NULL, id FROM invites "
    "WHERE revoked_at IS NOT NULL",
    "SELECT expires_at, 'invite.expired', '{service}', NULL, id, project_id, NULL, NULL, id FROM invites "
    "WHERE expires_at <= '{now}' AND revoked_at IS NULL AND uses < max_uses",
)
_TELL = """
INSERT INTO events (at, type, actor, actor_id, invite_id, project_id, user_id, facts)
WITH people AS (
    SELECT *, CASE WHEN deleted_at IS NULL THEN coalesce(display_name, username, {before_at}) ELSE '{erased}' END
        AS called FROM users
), made AS (
    SELECT invites.id, invites.created_at, project_id, coalesce(maker_id, key_id) AS made_by_id,
        CASE WHEN deleted_at IS NULL THEN made_by ELSE '{erased}' END AS maker
    FROM invites LEFT JOIN users ON users.id = maker_id
), known (at, type, actor, actor_id, invite_id, project_id, user_id, facts, source, kind) AS (
    {known}
)
SELECT at, type, actor, actor_id, invite_id, project_id, user_id, facts FROM known ORDER BY at, kind, source
"""
# By which an invite finds that it was created.
_POINT = (
    "CREATE INDEX events_created ON events (invite_id) WHERE type = 'invite.created'",
    "UPDATE invites SET created_event = "
    "(SELECT number FROM events WHERE type = 'invite.created' AND invite_id = invites.id)",
    "DROP INDEX events_created",
)
# Made when the rows are there, which takes half the time that it takes to add each row to all of them.
_INDEXES = (
    "CREATE INDEX events_of_type ON events (type, number) "
    "WHERE type NOT IN ('invite.created', 'invite.used', 'user.created')",
    "CREATE INDEX events_of_actor ON events (actor_id, number) WHERE user_id IS NULL OR user_id <> actor_id",
    "CREATE INDEX events_of_invite ON events (invite_id, number) WHERE type <> 'invite.created'",
    "CREATE INDEX events_of_project ON events (project_id, number) WHERE project_id IS NOT NULL",
    "CREATE INDEX events_of_user ON events (user_id, number) WHERE user_id IS NOT NULL",
)


def record_former_events(opened: ExclusiveDatabase) -> None:
    """Record what is known of everything that happened, the oldest first, and make the table's indexes."""
    known = "\n    UNION ALL ".join(
        query.replace(" FROM ", f", '{number:x}' FROM ", 1) for number, query in enumerate(_KNOWN)
    )
    now = clock.now().isoformat(" ").partition("+")[0]
    opened.execute(
        _TELL.format(
            before_at=_BEFORE_AT[opened.dialect],
            erased=ERASED,
            known=known.replace("{service}", SERVICE.called).replace("{now}", now),
        )
    )
    for each in (*_POINT, *_INDEXES):
        opened.execute(each)
