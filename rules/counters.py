"""Tries at a secret, counted in the database: in one process's memory a restart would forgive them.

A try is spent in a unit of its own before the secret is compared, and on disk before the answer leaves, so that
however many come at once no more are compared than there may be, and none is told anything that was not counted.
"""

import math
from datetime import timedelta

from sqlalchemy import bindparam, delete, or_, select, text, update

import clock
from database import session
from models import Counter


def spend(purpose: str, subject: str, window: timedelta | None = None) -> int:
    """Count one try and say how many there are now: since the last `clear`, or in a window of time."""
    now = clock.now()
    if window:
        over = or_(Counter.since <= now - window, Counter.since > now + window)  # or begun by a clock that was wrong
        session().execute(delete(Counter).where(Counter.purpose == purpose, over))
    return int(session().execute(_COUNT, {"purpose": purpose, "subject": subject, "now": now}).scalar_one())


def seconds_left(purpose: str, subject: str, window: timedelta) -> int:
    """How long until a window of time is over, rounded up."""
    since = session().scalar(select(Counter.since).where(Counter.purpose == purpose, Counter.subject == subject))
    left = (since + window - clock.now()).total_seconds() if since else 0
    return max(1, math.ceil(left))


def refund(purpose: str, subject: str) -> None:
    """Give a try back that turned out to be right."""
    mine = (Counter.purpose == purpose, Counter.subject == subject, Counter.spent > 0)
    session().execute(update(Counter).where(*mine).values(spent=Counter.spent - 1))


def clear(purpose: str, subject: str) -> None:
    """Begin again at nothing."""
    session().execute(delete(Counter).where(Counter.purpose == purpose, Counter.subject == subject))


# One statement for a first try and any other: the time it takes should not tell which it was.
_COUNT = text(
    "INSERT INTO counters (purpose, subject, spent, since) VALUES (:purpose, :subject, 1, :now) "
    "ON CONFLICT (purpose, subject) DO UPDATE SET spent = counters.spent + 1 RETURNING spent"
).bindparams(bindparam("now", type_=Counter.since.type))
