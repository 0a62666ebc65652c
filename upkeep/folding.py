"""The half of a migration that SQL cannot do: fold the texts of what is there, so that a search finds them."""

from collections.abc import Iterator, Sequence
from typing import Any

from database import ExclusiveDatabase
from rules import searching

AT_ONCE = 10_000  # rows that are held in memory


def fold(opened: ExclusiveDatabase) -> None:
    """Store beside every text that is not all ASCII what a search compares."""
    for rows in _rows(opened, "users", "display_name"):
        values = [(searching.stored(each[1]), each[0]) for each in rows]
        opened.execute_many("UPDATE users SET folded = ? WHERE id = ?", [each for each in values if each[0]])
    for rows in _rows(opened, "invites", "name, email, note, made_by"):
        changed = [(searching.stored(*each[1:4]), searching.stored(each[4]), each[0]) for each in rows]
        opened.execute_many(
            "UPDATE invites SET folded = ?, made_by_folded = ? WHERE id = ?",
            [each for each in changed if each[0] or each[1]],
        )


def _rows(opened: ExclusiveDatabase, table: str, columns: str) -> Iterator[Sequence[Any]]:
    """The rows of a table, some thousand at a time, each with its id and these columns."""
    last = ""
    while rows := opened.execute(
        f"SELECT id, {columns} FROM {table} WHERE id > '{last}' ORDER BY id LIMIT {AT_ONCE}"  # noqa: S608
    ).fetchall():
        yield rows
        last = rows[-1][0].replace("'", "''")
