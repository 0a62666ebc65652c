"""What is over and of use to nobody is deleted, so that no table grows for ever.

Accounts, invites, their uses and the letters with invites stay: they are history.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Delete, delete, select

import clock
from database import session
from models import AccessToken, Code, Letter, Session

LETTERS_KEPT = 30 * clock.DAY
CODES_KEPT = clock.DAY  # until then who types one that is expired is told so
AT_ONCE = 500  # rows of a table in one unit of work, so that nobody waits for it


def over() -> Iterator[Delete]:
    """What deletes rows that are over by now, a number of each table; nothing if there are none."""
    now = clock.now()
    done = Letter.invite_id.is_(None), Letter.due_at.is_(None), Letter.created_at <= now - LETTERS_KEPT
    yield from _some(AccessToken.hash, AccessToken.expires_at <= now)
    yield from _some(Session.id, Session.expires_at <= now)
    yield from _some(Code.id, Code.expires_at <= now - CODES_KEPT)
    yield from _some(Letter.id, *done)


def _some(key: Any, *conditions: Any) -> Iterator[Delete]:
    found = session().scalars(select(key).where(*conditions).limit(AT_ONCE)).all()
    if found:
        yield delete(key.class_).where(key.in_(found), *conditions)
