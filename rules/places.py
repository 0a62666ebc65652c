"""Places in a list whose newest row comes first: a page starts after one, never at an offset.

So it costs the same however many rows there are.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, or_

import clock
from rules.refusals import Invalid

Place = tuple[datetime, str]  # created_at and id of a row


def of(row: Any) -> Place:
    """Where a row is."""
    return row.created_at, row.id


def newest(table: Any) -> tuple[Any, Any]:
    """The order of such a list."""
    return table.created_at.desc(), table.id.desc()


def after(query: Select[Any], table: Any, place: Place | None) -> Select[Any]:
    """What comes after a place; all of it after none."""
    if place is None:
        return query
    created_at, id_ = place
    return query.where(table.created_at <= created_at, or_(table.created_at < created_at, table.id < id_))


def cursor(place: Place) -> str:
    """What to ask for the rows after this place with."""
    written = f"{clock.iso(place[0])} {place[1]}"
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def read(cursor: str) -> Place:
    """The place that a cursor means; raises Invalid."""
    try:
        written = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        moment, _, id_ = written.partition(" ")
        if "\0" in id_:
            raise ValueError("no id has a NUL in it")
        return datetime.fromisoformat(moment).astimezone(UTC), id_
    except (ValueError, OverflowError):
        raise Invalid.at("cursor", "format", "must be the `next` of a page before") from None
