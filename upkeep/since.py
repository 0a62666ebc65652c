"""What happened since a backup was made, as far as the present database tells.

Whoever was let in by an invite since then has used it: the use is carried over into the backup, and
so is that an invite was withdrawn or an account shut out. What cannot be carried over is named.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

# Heading, and the rows it speaks of: `main` is the backup, `present` the database as it is now.
_LOST = (
    (
        "invites were made since the backup; their links will be dead",
        "SELECT id, coalesce(email, name) FROM present.invites "
        "WHERE id NOT IN (SELECT id FROM invites) ORDER BY created_at",
    ),
    (
        "accounts were made since the backup, and will be gone; invite these people again",
        "SELECT id, coalesce(email, username) FROM present.users "
        "WHERE deleted_at IS NULL AND id NOT IN (SELECT id FROM users) ORDER BY created_at",
    ),
    (
        "API keys were made since the backup; they will open nothing",
        "SELECT id, name FROM present.api_keys WHERE id NOT IN (SELECT id FROM api_keys) ORDER BY created_at",
    ),
)
_BACK = (
    "API keys were deleted since the backup, and will be good again; invite-api delete KEY_ID deletes them",
    "SELECT id, name FROM api_keys WHERE id NOT IN (SELECT id FROM present.api_keys) ORDER BY created_at",
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
)
_USES = (
    "SELECT id, invite_id, user_id, redeemed_at FROM present.redemptions AS now "
    "WHERE id NOT IN (SELECT id FROM redemptions) AND invite_id IN (SELECT id FROM invites) ORDER BY redeemed_at"
)
# Mail that has gone out since is not sent again.
_SENT = (
    "UPDATE outbox SET (due_at, sent_at, dropped_at) = "
    "(SELECT due_at, sent_at, dropped_at FROM present.outbox AS now WHERE now.id = outbox.id) "
    "WHERE due_at IS NOT NULL AND id IN (SELECT id FROM present.outbox WHERE due_at IS NULL)"
)


class Named(NamedTuple):
    """A number of things, and what each is called, as (id, whose)."""

    heading: str
    things: list[tuple[str, str | None]]


def settle(connection: sqlite3.Connection, present: Path, reopen: bool) -> list[Named]:
    """Carry over into the backup, on which `connection` is, what was shut since; name it, and what else differs.

    With `reopen` nothing is carried over. Raises sqlite3.Error, having changed nothing, if the present
    database cannot be compared.
    """
    connection.execute("ATTACH ? AS present", [str(present)])
    try:
        connection.execute("BEGIN IMMEDIATE")
        named = [_named(connection, *each) for each in _LOST]
        if not _is_new(connection):
            named.append(_named(connection, *_BACK))
        if not reopen:
            named += [_uses(connection), *(_named(connection, *each) for each in _SHUT)]
        connection.execute(_SENT)
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        connection.execute("DETACH present")
    return [each for each in named if each.things]


def _named(connection: sqlite3.Connection, heading: str, statement: str) -> Named:
    return Named(heading, connection.execute(statement).fetchall())


def _is_new(connection: sqlite3.Connection) -> bool:
    """Whether the present database has nothing in it: it was only just made, on another machine perhaps."""
    any_of = "SELECT EXISTS (SELECT 1 FROM present.{})"
    return not any(connection.execute(any_of.format(table)).fetchone()[0] for table in ("invites", "users", "api_keys"))


def _uses(connection: sqlite3.Connection) -> Named:
    """Carry over each use that an invite still has; who did it is kept if the backup knows them."""
    spent: dict[str, str | None] = {}
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
            spent[taken[0]] = taken[1]
    return Named("invites were used since the backup, and stay so", list(spent.items()))
