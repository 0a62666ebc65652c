"""Places in a list whose newest row comes first, or last. A page starts after a place, and not at an offset.

So a page costs the same, however many rows come before it.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, or_

import clock
from rules.refusals import Invalid

Place = tuple[datetime, str]  # the created_at, or another moment, and the id of a row


def of(row: Any) -> Place:
    """The place of a row: its `created_at` and `id`."""
    return row.created_at, row.id


def newest(table: Any) -> tuple[Any, Any]:
    """The ORDER BY of a list whose newest row comes first."""
    return table.created_at.desc(), table.id.desc()


def after(query: Select[Any], table: Any, place: Place | None) -> Select[Any]:
    """The query for the rows after a place; for all rows if the place is None."""
    if place is None:
        return query
    created_at, id_ = place
    return query.where(table.created_at <= created_at, or_(table.created_at < created_at, table.id < id_))


def later(query: Select[Any], moment: Any, id_: Any, place: Place | None) -> Select[Any]:
    """The query for the rows after a place, where the newest row comes last; for all rows if the place is None.

    `moment` and `id_` are the columns that make a place.
    """
    if place is None:
        return query
    last_moment, last_id = place
    return query.where(moment >= last_moment, or_(moment > last_moment, id_ > last_id))


def cursor(place: Place) -> str:
    """A place as text, for the request of the rows after it."""
    return encoded(f"{clock.iso(place[0])} {place[1]}")


def encoded(written: str) -> str:
    """A text as a cursor, whatever list it is a place in."""
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def decoded(cursor: str) -> str:
    """The text that a cursor was made of; raises ValueError for what is no cursor."""
    return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()


def read(cursor: str) -> Place:
    """The place that a cursor stands for; raises Invalid."""
    try:
        moment, _, id_ = decoded(cursor).partition(" ")
        if "\0" in id_:
            raise ValueError("no id has a NUL in it")
        return datetime.fromisoformat(moment).astimezone(UTC), id_
    except (ValueError, OverflowError):
        raise Invalid.at("cursor", "format", "names no place in this list; take `next` of the page before") from None
