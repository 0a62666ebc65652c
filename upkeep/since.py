"""What happened since a backup was made, found by comparing the backup with the present database.

What was closed since is carried over into the backup, so that a restore does not open it again: uses of
invites, revoked invites, links that were replaced, passwords that were changed, accounts that were
disabled, admins and members who are none any more, deleted projects; and the record of what happened. What
cannot be carried over is listed.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

# A heading, and a query for its rows. `main` is the backup, `present` is the present database.
_LOST = (
    (
        "invites were made since the backup; their links will be dead",
        "SELECT id, coalesce(email, name) FROM present.invites "
        "WHERE id NOT IN (SELECT id FROM invites) ORDER BY created_at, rowid",
    ),
    (
        "accounts were made since the backup, and will be gone; invite these people again",
        "SELECT id, coalesce(email, username) FROM present.users "
        "WHERE deleted_at IS NULL AND id NOT IN (SELECT id FROM users) ORDER BY created_at, rowid",
    ),
    (
        "API keys were made since the backup; they will open nothing",
        "SELECT id, name FROM present.api_keys WHERE id NOT IN (SELECT id FROM api_keys) ORDER BY created_at, rowid",
    ),
    (
        "accounts joined projects since the backup, and will not belong to them; invite them again",
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
        "accounts became admins of the site since the backup, and will be none",
        "SELECT now.id, coalesce(now.email, now.username) FROM present.users AS now JOIN users ON users.id = now.id "
        "WHERE now.admin_at IS NOT NULL AND users.admin_at IS NULL",
    ),
)
_BACK = (
    "API keys were deleted since the backup, and will be good again; invite-api delete KEY_ID deletes them",
    "SELECT id, name FROM api_keys WHERE id NOT IN (SELECT id FROM present.api_keys) ORDER BY created_at, rowid",
)
_SHUT = (
    (
        "invites were withdrawn since the backup, and stay so",
        "UPDATE invites SET revoked_at = (SELECT revoked_at FROM present.invites AS now WHERE now.id = invites.id) "
        "WHERE revoked_at IS NULL AND id IN (SELECT id FROM present.invites WHERE revoked_at IS NOT NULL) "
        "RETURNING id, coalesce(email, name)",
    ),
    (
        "accounts were disabled or deleted since the backup, and will be disabled",
        "UPDATE users SET disabled_at = "
        "(SELECT coalesce(deleted_at, disabled_at) FROM present.users AS now WHERE now.id = users.id) "
        "WHERE disabled_at IS NULL AND deleted_at IS NULL "
        "AND id IN (SELECT id FROM present.users WHERE disabled_at IS NOT NULL OR deleted_at IS NOT NULL) "
        "RETURNING id, coalesce(email, username)",
    ),
    (
        "invites got a new link, or were mailed, since the backup, and keep it: the old link stays dead",
        "UPDATE invites SET (nonce, token_hash, mail_token_hash, legacy_hash) = (SELECT nonce, token_hash, "
        "mail_token_hash, legacy_hash FROM present.invites AS now WHERE now.id = invites.id) "
        "WHERE EXISTS (SELECT 1 FROM present.invites AS now WHERE now.id = invites.id "
        "AND (now.nonce, coalesce(now.mail_token_hash, '')) <> (invites.nonce, coalesce(invites.mail_token_hash, ''))) "
        "RETURNING id, coalesce(email, name)",
    ),
    (
        "passwords were set since the backup, and stay so: links for a new password that were used stay dead",
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
        "members stopped being admins of their project since the backup, and stay so",
        "UPDATE members SET role = 'member' WHERE role = 'admin' "
        "AND id IN (SELECT id FROM present.members WHERE role = 'member') "
        "RETURNING id, (SELECT coalesce(email, username) FROM users WHERE users.id = user_id)",
    ),
)
_USES = (
    "SELECT id, invite_id, user_id, redeemed_at FROM present.redemptions AS now "
    "WHERE id NOT IN (SELECT id FROM redemptions) AND invite_id IN (SELECT id FROM invites) ORDER BY redeemed_at, rowid"
)
# So that mail which was sent since the backup is not sent again.
_SENT = (
    "UPDATE outbox SET (due_at, sent_at, dropped_at) = "
    "(SELECT due_at, sent_at, dropped_at FROM present.outbox AS now WHERE now.id = outbox.id) "
    "WHERE due_at IS NOT NULL AND id IN (SELECT id FROM present.outbox WHERE due_at IS NULL)"
)
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
            found.append(finding(connection, *_BACK))
        if not reopen:
            found += [carry_uses_over(connection), *(finding(connection, *each) for each in _SHUT)]
        for each in (_SENT, *_TOLD):
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


def carry_uses_over(connection: sqlite3.Connection) -> Finding:
    """Carry over each use since the backup, as far as its invite has one left; returns the invites.

    The account that used it is kept if it is in the backup.
    """
    used: dict[str, str | None] = {}
    for use in connection.execute(_USES).fetchall():
        taken = connection.execute(
            "UPDATE invites SET uses = uses + 1 WHERE id = ? AND uses < max_uses "
            "AND NOT EXISTS (SELECT 1 FROM redemptions WHERE invite_id = invites.id AND user_id = ?) "
            "RETURNING id, coalesce(email, name)",
            use[1:3],
        ).fetchone()
        if taken:
            connection.execute(
                "INSERT INTO redemptions (id, invite_id, user_id, redeemed_at) "
                "VALUES (?, ?, (SELECT id FROM users WHERE id = ?), ?)",
                use,
            )
            used[taken[0]] = taken[1]
    return Finding("invites were used since the backup, and stay so", list(used.items()))
