"""Cursors: after which row the next page of a list starts. An offset would read all rows before it.

So a page costs the same, however many rows come before it.
"""

import base64
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, or_

import clock
from rules.refusals import Invalid

Cursor = tuple[datetime, str]  # the created_at, or another moment, and the id of a row


def of(row: Any) -> Cursor:
    """The cursor for the rows after this one: its `created_at` and `id`."""
    return row.created_at, row.id


def newest(table: Any) -> tuple[Any, Any]:
    """The ORDER BY of a list whose newest row comes first."""
    return table.created_at.desc(), table.id.desc()


def after(query: Select[Any], table: Any, cursor: Cursor | None) -> Select[Any]:
    """The query for the rows after a cursor; for all rows if that is None."""
    if cursor is None:
        return query
    created_at, id_ = cursor
    return query.where(table.created_at <= created_at, or_(table.created_at < created_at, table.id < id_))


def later(query: Select[Any], moment: Any, id_: Any, cursor: Cursor | None) -> Select[Any]:
    """The query for the rows after a cursor, where the newest row comes last; for all rows if the cursor is None.

    `moment` and `id_` are the columns that the cursor is made of.
    """
    if cursor is None:
        return query
    last_moment, last_id = cursor
    return query.where(moment >= last_moment, or_(moment > last_moment, id_ > last_id))


def written(cursor: Cursor) -> str:
    """A cursor as text, for the request of the rows after it."""
    return encoded(f"{clock.iso(cursor[0])} {cursor[1]}")


def encoded(plain: str) -> str:
    """A text as the text of a cursor, of whatever list."""
    return base64.urlsafe_b64encode(plain.encode()).decode().rstrip("=")


def decoded(text: str) -> str:
    """The text that a cursor was made of; raises ValueError for what is no cursor."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


def read(text: str) -> Cursor:
    """The cursor that was written so; raises Invalid."""
    try:
        moment, _, id_ = decoded(text).partition(" ")
        if "\0" in id_:
            raise ValueError("no id has a NUL in it")
        return datetime.fromisoformat(moment).astimezone(UTC), id_
    except (ValueError, OverflowError):
        raise Invalid.at("cursor", "format", "names no place in this list; take `next` of the page before") from None
