"""What happened since a backup was made, found by comparing the backup with the present database.

What was closed since is carried over into the backup, so that a restore does not open it again: uses of invites,
whether they are done, wait or were given back, revoked invites, links that were replaced, passwords that were changed,
accounts that were disabled, admins and members who are none any more, access that was shortened, deleted projects; and
the record of what happened. What cannot be carried over is listed.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

# A heading, and a query for its rows. `main` is the backup, `present` is the present database.
_LOST = (
    (
        "invites were created since the backup; their links will no longer work",
        "SELECT id, coalesce(email, name) FROM present.invites "
        "WHERE id NOT IN (SELECT id FROM invites) ORDER BY created_at, rowid",
    ),
    (
        "accounts were created since the backup, and will be gone; invite these people again",
        "SELECT id, coalesce(email, username) FROM present.users "
        "WHERE deleted_at IS NULL AND id NOT IN (SELECT id FROM users) ORDER BY created_at, rowid",
    ),
    (
        "API keys were created since the backup; they will no longer work",
        "SELECT id, name FROM present.api_keys WHERE id NOT IN (SELECT id FROM api_keys) ORDER BY created_at, rowid",
    ),
    (
        "passes of programs were created since the backup; they will no longer work",
        "SELECT id, name FROM present.passes WHERE id NOT IN (SELECT id FROM passes) ORDER BY created_at, rowid",
    ),
    (
        "webhooks were created since the backup, and will be gone",
        "SELECT id, url FROM present.webhooks WHERE id NOT IN (SELECT id FROM webhooks) ORDER BY created_at, rowid",
    ),
    (
        "accounts joined projects since the backup, and will not be members; invite them again",
        "SELECT now.id, coalesce(email, username) FROM present.members AS now JOIN users ON users.id = now.user_id "
        "WHERE project_id IN (SELECT id FROM projects WHERE deleted_at IS NULL) "
        "AND now.id NOT IN (SELECT id FROM members) ORDER BY joined_at, now.rowid",
    ),
    (
        "projects got another owner since the backup, and go back to the one before",
        "SELECT project_id, (SELECT slug FROM projects WHERE projects.id = now.project_id) FROM present.members AS now "
        "WHERE role = 'owner' AND project_id IN (SELECT project_id FROM members WHERE role = 'owner') "
        "AND user_id NOT IN (SELECT user_id FROM members WHERE role = 'owner' AND project_id = now.project_id)",
    ),
    (
        "members got more time since the backup, and keep the end they had; invite-api member extend prolongs it",
        "SELECT now.id, coalesce(email, username) FROM present.members AS now JOIN members AS before USING (id) "
        "JOIN users ON users.id = now.user_id "
        "WHERE now.role <> 'owner' AND before.ends_at IS NOT NULL "
        "AND (now.ends_at IS NULL OR now.ends_at > before.ends_at)",
    ),
    (
        "apps were put behind the gate since the backup, and will not be there; invite-api project gate sets it",
        "SELECT project_id, origin FROM present.origins AS now WHERE project_id IN (SELECT id FROM projects "
        "WHERE deleted_at IS NULL) AND (project_id, origin) NOT IN (SELECT project_id, origin FROM origins) "
        "ORDER BY project_id, place",
    ),
    (
        "accounts became admins of the site since the backup, and will not be admins; invite-api user admin sets it",
        "SELECT now.id, coalesce(now.email, now.username) FROM present.users AS now JOIN users ON users.id = now.id "
        "WHERE now.admin_at IS NOT NULL AND users.admin_at IS NULL",
    ),
)
_BACK = (
    (
        "API keys were deleted since the backup, and will work again; invite-api delete KEY_ID deletes them",
        "SELECT id, name FROM api_keys WHERE id NOT IN (SELECT id FROM present.api_keys) ORDER BY created_at, rowid",
    ),
    (
        "webhooks were deleted since the backup, and are back, but disabled; invite-api webhook enable or delete each",
        "UPDATE webhooks SET disabled_at = coalesce(disabled_at, created_at) "
        "WHERE id NOT IN (SELECT id FROM present.webhooks) RETURNING id, url",
    ),
)
_SHUT = (
    (
        "invites were revoked since the backup, and stay so",
        "UPDATE invites SET revoked_at = (SELECT revoked_at FROM present.invites AS now WHERE now.id = invites.id) "
        "WHERE revoked_at IS NULL AND id IN (SELECT id FROM present.invites WHERE revoked_at IS NOT NULL) "
        "RETURNING id, coalesce(email, name)",
    ),
    (
        "invites got less time since the backup, and keep the earlier expiry",
        "UPDATE invites SET expires_at = (SELECT expires_at FROM present.invites AS now WHERE now.id = invites.id) "
        "WHERE EXISTS (SELECT 1 FROM present.invites AS now WHERE now.id = invites.id "
        "AND (invites.expires_at IS NULL AND now.expires_at IS NOT NULL OR now.expires_at < invites.expires_at)) "
        "RETURNING id, coalesce(email, name)",
    ),
    (
        "invites were limited to fewer uses since the backup, and stay so",
        "UPDATE invites SET max_uses = max(uses, (SELECT max_uses FROM present.invites AS now "
        "WHERE now.id = invites.id)) "
        "WHERE EXISTS (SELECT 1 FROM present.invites AS now WHERE now.id = invites.id "
        "AND now.max_uses < invites.max_uses) RETURNING id, coalesce(email, name)",
    ),
    (
        "presets were deleted since the backup, and stay so",
        "DELETE FROM presets WHERE name NOT IN (SELECT name FROM present.presets) RETURNING name, name",
    ),
    (
        "the guests of projects are led elsewhere since the backup, and go on to be",
        "UPDATE projects SET join_url = (SELECT join_url FROM present.projects AS now WHERE now.id = projects.id) "
        "WHERE EXISTS (SELECT 1 FROM present.projects AS now WHERE now.id = projects.id "
        "AND now.join_url IS NOT projects.join_url) RETURNING id, name",
    ),
    (
        "accounts were disabled or deleted since the backup, and will be disabled",
        "UPDATE users SET (disabled_at, disabled_event) = (SELECT coalesce(deleted_at, disabled_at), disabled_event "
        "FROM present.users AS now WHERE now.id = users.id) "
        "WHERE disabled_at IS NULL AND deleted_at IS NULL "
        "AND id IN (SELECT id FROM present.users WHERE disabled_at IS NOT NULL OR deleted_at IS NOT NULL) "
        "RETURNING id, coalesce(email, username)",
    ),
    (
        "accounts got another budget since the backup, and keep it",
        "UPDATE users SET budget = (SELECT budget FROM present.users AS now WHERE now.id = users.id) "
        "WHERE id IN (SELECT now.id FROM present.users AS now JOIN main.users AS before USING (id) "
        "WHERE now.budget IS NOT before.budget) "
        "RETURNING id, coalesce(email, username)",
    ),
    (
        "invites got a new link, or were mailed, since the backup, and keep it: the old link does not work",
        "UPDATE invites SET (nonce, token_hash, mail_token_hash, legacy_hash) = (SELECT nonce, token_hash, "
        "mail_token_hash, legacy_hash FROM present.invites AS now WHERE now.id = invites.id) "
        "WHERE EXISTS (SELECT 1 FROM present.invites AS now WHERE now.id = invites.id "
        "AND (now.nonce, coalesce(now.mail_token_hash, '')) <> (invites.nonce, coalesce(invites.mail_token_hash, ''))) "
        "RETURNING id, coalesce(email, name)",
    ),
    (
        "passwords were set since the backup, and stay so: links for a new password that were used do not work again",
        "UPDATE users SET password_hash = (SELECT password_hash FROM present.users AS now WHERE now.id = users.id) "
        "WHERE EXISTS (SELECT 1 FROM present.users AS now WHERE now.id = users.id AND now.deleted_at IS NULL "
        "AND now.password_hash IS NOT users.password_hash) RETURNING id, coalesce(email, username)",
    ),
    (
        "accounts stopped being admins of the site since the backup, and stay so",
        "UPDATE users SET admin_at = NULL WHERE admin_at IS NOT NULL "
        "AND id IN (SELECT id FROM present.users WHERE admin_at IS NULL) RETURNING id, coalesce(email, username)",
    ),
    (
        "projects were deleted since the backup, and stay so",
        "UPDATE projects SET slug = NULL, deleted_at = "
        "(SELECT deleted_at FROM present.projects AS now WHERE now.id = projects.id) WHERE deleted_at IS NULL "
        "AND id IN (SELECT id FROM present.projects WHERE deleted_at IS NOT NULL) RETURNING id, name",
    ),
    (
        "members were removed from projects since the backup, and stay so",
        "DELETE FROM members WHERE id NOT IN (SELECT id FROM present.members) "
        "AND project_id IN (SELECT id FROM present.projects) AND user_id IN (SELECT id FROM present.users) "
        "AND (role <> 'owner' OR project_id IN (SELECT id FROM projects WHERE deleted_at IS NOT NULL)) "
        "RETURNING id, (SELECT coalesce(email, username) FROM users WHERE users.id = user_id)",
    ),
    (
        "apps were removed from the gate since the backup, and stay so",
        "DELETE FROM origins WHERE (project_id, origin) NOT IN (SELECT project_id, origin FROM present.origins) "
        "AND project_id IN (SELECT id FROM present.projects) RETURNING project_id, origin",
    ),
    (
        "passes of programs were deleted since the backup, and stay so",
        "DELETE FROM passes WHERE id NOT IN (SELECT id FROM present.passes) "
        "AND user_id IN (SELECT id FROM present.users) RETURNING id, name",
    ),
    (
        "members stopped being admins of their project since the backup, and stay so",
        "UPDATE members SET role = 'member' WHERE role = 'admin' "
        "AND id IN (SELECT id FROM present.members WHERE role = 'member') "
        "RETURNING id, (SELECT coalesce(email, username) FROM users WHERE users.id = user_id)",
    ),
    (
        "members got less time since the backup, and keep the earlier end",
        "UPDATE members SET ends_at = (SELECT ends_at FROM present.members AS now WHERE now.id = members.id) "
        "WHERE role <> 'owner' AND EXISTS (SELECT 1 FROM present.members AS now WHERE now.id = members.id "
        "AND (members.ends_at IS NULL AND now.ends_at IS NOT NULL OR now.ends_at < members.ends_at)) "
        "RETURNING id, (SELECT coalesce(email, username) FROM users WHERE users.id = user_id)",
    ),
)
# The uses that are not in the backup, or have gone on since, and what it says of them. What waits for a program or
# a person that the backup does not know is left out: nobody could complete it.
_USES = """
SELECT now.id, now.invite_id, (SELECT id FROM users WHERE id = now.user_id) AS user_id, now.state, now.redeemed_at,
    now.released_at, now.since, now.until, now.key_id, now.subject, before.state AS before
FROM present.redemptions AS now LEFT JOIN redemptions AS before USING (id)
WHERE now.invite_id IN (SELECT id FROM invites)
AND (before.id IS NULL OR before.state IN ('held', 'proof', 'approval', 'lapsed')
    AND (before.state, before.until) IS NOT (now.state, now.until))
AND (now.redeemed_at IS NOT NULL OR now.released_at IS NOT NULL OR (
    (now.user_id IS NULL OR now.user_id IN (SELECT id FROM users))
    AND (now.state <> 'held' OR now.key_id IN (SELECT id FROM api_keys))))
ORDER BY now.released_at IS NULL, before.state IS NULL OR before.state = 'lapsed', now.redeemed_at IS NULL,
    coalesce(now.redeemed_at, now.since), now.rowid
"""
_TAKE = """
UPDATE invites SET uses = uses + :uses, waiting = waiting + :waiting WHERE id = :invite_id
AND uses + :uses <= max_uses AND NOT EXISTS (
    SELECT 1 FROM redemptions AS other WHERE other.invite_id = invites.id AND other.id <> :id AND (
        other.released_at IS NULL AND :released_at IS NULL AND other.user_id = :user_id
        OR (other.key_id, other.subject) = (:key_id, :subject)
        AND other.state NOT IN ('released', 'denied', 'revoked') AND :state NOT IN ('released', 'denied', 'revoked')))
RETURNING id, coalesce(email, name)
"""
_USE = """
INSERT INTO redemptions (id, invite_id, user_id, state, redeemed_at, released_at, since, until, key_id, subject)
VALUES (:id, :invite_id, :user_id, :state, :redeemed_at, :released_at, :since, :until, :key_id, :subject)
ON CONFLICT (id) DO UPDATE SET (state, redeemed_at, released_at, since, until)
    = (excluded.state, excluded.redeemed_at, excluded.released_at, excluded.since, excluded.until)
"""
_LAPSES = """
UPDATE invites SET lapses_at = (SELECT min(until) FROM redemptions
    WHERE invite_id = invites.id AND redeemed_at IS NULL AND released_at IS NULL) WHERE id = ?
"""
# What waits of an invite that is revoked, as the present database did not know it.
_ENDED = (
    "UPDATE redemptions SET state = 'revoked', released_at = "
    "(SELECT revoked_at FROM invites WHERE invites.id = invite_id) WHERE redeemed_at IS NULL AND released_at IS NULL "
    "AND invite_id IN (SELECT id FROM invites WHERE revoked_at IS NOT NULL AND waiting > 0)",
    "UPDATE invites SET uses = uses - waiting, waiting = 0, lapses_at = NULL "
    "WHERE revoked_at IS NOT NULL AND waiting > 0",
)
_DONE = "invites were used since the backup, and stay so"
_WAITING = "invites are held, or a use of them waits, since the backup, and that goes on"
_GIVEN_BACK = "uses of invites were given back since the backup, and stay so"
# So that a person who was mailed that an access ends is not mailed again.
_WARNED = (
    "UPDATE members SET warned_at = (SELECT warned_at FROM present.members AS now WHERE now.id = members.id) "
    "WHERE warned_at IS NULL AND EXISTS (SELECT 1 FROM present.members AS now "
    "WHERE now.id = members.id AND now.warned_at IS NOT NULL AND now.ends_at = members.ends_at)"
)
# So that mail which was sent since the backup is not sent again.
_SENT = (
    "UPDATE outbox SET (due_at, sent_at, dropped_at) = "
    "(SELECT due_at, sent_at, dropped_at FROM present.outbox AS now WHERE now.id = outbox.id), busy_until = NULL "
    "WHERE due_at IS NOT NULL AND id IN (SELECT id FROM present.outbox WHERE due_at IS NULL)"
)
# Who wanted no more invitations by mail gets none.
_BLOCKED = "INSERT OR IGNORE INTO main.blocked_addresses SELECT * FROM present.blocked_addresses"
# What happened since the backup did happen: it stays told, at its place if that is free.
_COLUMNS = "at, type, actor, actor_id, invite_id, project_id, user_id, facts"
_UNTOLD = (
    "FROM present.events AS now WHERE NOT EXISTS (SELECT 1 FROM main.events AS told WHERE told.number = now.number "
    "AND (told.at, told.type, coalesce(told.invite_id, '')) = (now.at, now.type, coalesce(now.invite_id, '')))"
)
_TOLD = (
    f"INSERT INTO main.events (number, {_COLUMNS}) SELECT number, {_COLUMNS} {_UNTOLD} "  # noqa: S608
    "AND number > (SELECT coalesce(max(number), 0) FROM main.events) ORDER BY number",
    f"INSERT INTO main.events ({_COLUMNS}) SELECT {_COLUMNS} {_UNTOLD} ORDER BY number",
)


# A webhook is as it is now, and what was sent to it is not sent again; what was only written down for it is.
_DELIVERED = (
    "UPDATE webhooks SET (nonce, secret_hash, former_nonce, former_hash, rotated_at, disabled_at, why, failing_since) "
    "= (SELECT nonce, secret_hash, former_nonce, former_hash, rotated_at, disabled_at, why, failing_since "
    "FROM present.webhooks AS now WHERE now.id = webhooks.id), busy_until = NULL "
    "WHERE id IN (SELECT id FROM present.webhooks)",
    "DELETE FROM deliveries WHERE webhook_id IN (SELECT id FROM present.webhooks)",
    "INSERT INTO deliveries SELECT now.* FROM present.deliveries AS now "
    "JOIN main.events AS told ON (told.number, told.at, told.type) = (now.event, now.happened_at, now.type) "
    "WHERE now.webhook_id IN (SELECT id FROM main.webhooks)",
    "UPDATE webhooks SET (seen, kept) = (SELECT now.seen, now.kept FROM present.webhooks AS now "
    "WHERE now.id = webhooks.id) WHERE id IN (SELECT id FROM present.webhooks)",
)


class Finding(NamedTuple):
    """A heading, and the things that it is about, each as (id, the name or address it belongs to)."""

    heading: str
    things: list[tuple[str, str | None]]


def carry_over(connection: sqlite3.Connection, present: Path, reopen: bool) -> list[Finding]:
    """Carry over uses, revocations and disabled accounts into the backup; returns what was, and what else differs.

    `connection` is to the backup, `present` the file of the present database. With `reopen` nothing is
    carried over. Raises sqlite3.Error, and changes nothing, if the two cannot be compared.
    """
    connection.execute("ATTACH ? AS present", [str(present)])
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = [finding(connection, *each) for each in _LOST]
        if not is_new(connection):
            found += [finding(connection, *each) for each in _BACK]
        if not reopen:
            found += [*carry_uses_over(connection), *(finding(connection, *each) for each in _SHUT)]
            for each in _ENDED:
                connection.execute(each)
        for each in (_WARNED, _SENT, _BLOCKED, *_TOLD, *_DELIVERED):
            connection.execute(each)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("DETACH present")
    return [each for each in found if each.things]


def finding(connection: sqlite3.Connection, heading: str, statement: str) -> Finding:
    """The rows that a statement returns, under a heading. The statement may also change them."""
    return Finding(heading, connection.execute(statement).fetchall())


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether the present database is empty, as on a machine to which the service moves."""
    any_of = "SELECT EXISTS (SELECT 1 FROM present.{})"
    return not any(connection.execute(any_of.format(table)).fetchone()[0] for table in ("invites", "users", "api_keys"))


def carry_uses_over(connection: sqlite3.Connection) -> list[Finding]:
    """Carry over what became of each use since the backup, as far as its invite has one left; returns the invites.

    The account that used it is kept if it is in the backup.
    """
    found: dict[str, dict[str, str | None]] = {each: {} for each in (_DONE, _WAITING, _GIVEN_BACK)}
    cursor = connection.execute(_USES)
    names = [each[0] for each in cursor.description]
    for row in cursor.fetchall():
        use = dict(zip(names, row, strict=True))
        took, waited = _counted(use["before"])
        takes, waits = _counted(use["state"])
        taken = connection.execute(_TAKE, {**use, "uses": takes - took, "waiting": waits - waited}).fetchone()
        if taken:
            connection.execute(_USE, use)
            heading = _WAITING if waits else _DONE if takes else _GIVEN_BACK
            if takes or took:
                found[heading][taken[0]] = taken[1]
            connection.execute(_LAPSES, taken[:1])
    return [Finding(heading, list(invites.items())) for heading, invites in found.items()]


def _counted(state: str | None) -> tuple[int, int]:
    """How often a use in this state, or none, stands in the count of its invite, and of what waits of it."""
    waits = state in ("held", "proof", "approval")
    return int(waits or state == "done"), int(waits)
