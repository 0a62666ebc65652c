"""Finding rows by their ids, or as much of them as somebody typed."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import select

from database import session
from models import Invite, Letter, User

Row = TypeVar("Row", Invite, Letter, User)

SHORTEST = 8  # characters of an id that a list at a terminal shows


def find(table: type[Row], text: str) -> Row | None:
    """The row with this id, or the only one whose id begins with these 8 or more characters."""
    if found := session().get(table, text):
        return found
    near = beginning(table, text, 2) if len(text) >= SHORTEST else ()
    return near[0] if len(near) == 1 else None


def beginning(table: type[Row], text: str, limit: int) -> Sequence[Row]:
    """At most `limit` rows whose id begins so, in the order of the ids."""
    within = table.id >= text, table.id < f"{text}\x7f"  # a range of the index, which LIKE is not
    return session().scalars(select(table).where(*within).order_by(table.id).limit(limit)).all()
