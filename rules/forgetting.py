"""Rows that have expired and serve nothing are deleted, so that no table grows without end.

Accounts, invites, redemptions and the mails with invites stay: they are history. So does what happened, unless the
operator says how long it is kept.
"""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Delete, delete, func, select

import clock
from database import session
from models import AccessToken, Code, Counter, Delivery, Event, Letter, Pass, Session
from rules import counters, deliveries
from settings import settings

LETTERS_KEPT = 30 * clock.DAY
TRIES_KEPT = 2 * clock.DAY
PASSES_KEPT = 30 * clock.DAY  # so that people see why a program of theirs is refused
CODES_KEPT = clock.DAY  # so that an expired code is refused as expired, and not as unknown
LOOKED_AT = 10_000  # of the oldest events: they are not in the order of time where the clock was set
AT_ONCE = 500  # rows of a table in one unit of work, since other writers wait for it


def deletions() -> Iterator[Delete]:
    """The DELETE statements for rows that have expired, each for at most 500 rows of one table; none for no rows."""
    now = clock.now()
    done = Letter.invite_id.is_(None), Letter.due_at.is_(None), Letter.created_at <= now - LETTERS_KEPT
    yield from _some(AccessToken.hash, AccessToken.expires_at <= now)
    yield from _some(Session.id, Session.expires_at <= now)
    yield from _some(Pass.id, Pass.expires_at <= now - PASSES_KEPT)
    yield from _some(Code.id, Code.expires_at <= now - CODES_KEPT)
    yield from _some(Letter.id, *done)
    yield from _some(Delivery.id, deliveries.old())
    old = Counter.purpose.not_in(counters.WITHOUT_WINDOW), Counter.since <= now - TRIES_KEPT
    yield from _some(Counter.subject, *old)
    if kept := settings().events_kept:
        # The last one stays, so that its number is never given again: programs remember how far they have read.
        before = [
            Event.number.in_(select(Event.number).order_by(Event.number).limit(LOOKED_AT)),
            Event.at < now - kept,
            Event.number < select(func.max(Event.number)).scalar_subquery(),
        ]
        if needed := deliveries.needed_from():
            before.append(Event.number < needed)
        yield from _some(Event.number, *before)


def _some(key: Any, *conditions: Any) -> Iterator[Delete]:
    found = session().scalars(select(key).where(*conditions).limit(AT_ONCE)).all()
    if found:
        yield delete(key.class_).where(key.in_(found), *conditions)
