"""Finding rows by their id, or by the beginning of it as lists at a terminal show it."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import select

from database import session
from models import Delivery, Invite, Letter, Pass, User, Webhook

Row = TypeVar("Row", Delivery, Invite, Letter, Pass, User, Webhook)

SHORTEST = 8  # characters of an id that a list at a terminal shows


def find(table: type[Row], text: str) -> Row | None:
    """The row with this id, or the only one whose id starts with these 8 or more characters; else None."""
    if found := session().get(table, text):
        return found
    near = starting_with(table, text, 2) if len(text) >= SHORTEST else ()
    return near[0] if len(near) == 1 else None


def starting_with(table: type[Row], text: str, limit: int) -> Sequence[Row]:
    """At most `limit` rows whose id starts with a text, in the order of their ids."""
    # A range of the index, since LIKE would read the whole table. In every collation z is after what ids consist of;
    # some ignore other characters.
    within = table.id >= text, table.id < f"{text}z", table.id.startswith(text, autoescape=True)
    return session().scalars(select(table).where(*within).order_by(table.id).limit(limit)).all()
