"""Counted tries at secrets. They are in the database, since a restart would forget what is only in memory.

A try is counted in a unit of work of its own, before the secret is compared. The count is on disk before the answer
leaves. So no more tries are compared than may be, even if many come at once, and none is answered uncounted.
"""

from datetime import timedelta

from sqlalchemy import bindparam, delete, or_, select, text, update

import clock
from database import session
from models import Counter

WITHOUT_WINDOW = ("login",)  # these purposes count since the last success; every window of the others is over in a day


def count(purpose: str, subject: str, window: timedelta | None = None) -> int:
    """Count one try; returns how many there are now, since `clear` or, with a window, since the window began."""
    now = clock.now()
    if window:
        over = or_(Counter.since <= now - window, Counter.since > now + window)  # or begun while the clock was wrong
        session().execute(delete(Counter).where(Counter.purpose == purpose, Counter.subject == subject, over))
    return int(session().execute(_COUNT, {"purpose": purpose, "subject": subject, "now": now}).scalar_one())


def seconds_left(purpose: str, subject: str, window: timedelta) -> int:
    """The whole seconds until a window of time is over, rounded up; at least 1."""
    since = session().scalar(select(Counter.since).where(Counter.purpose == purpose, Counter.subject == subject))
    return clock.seconds_until(since + window) if since else 1


def refund(purpose: str, subject: str) -> None:
    """Take back a try that turned out to be right."""
    mine = (Counter.purpose == purpose, Counter.subject == subject, Counter.spent > 0)
    session().execute(update(Counter).where(*mine).values(spent=Counter.spent - 1))


def clear(purpose: str, subject: str) -> None:
    """Forget all tries of this purpose and subject."""
    session().execute(delete(Counter).where(Counter.purpose == purpose, Counter.subject == subject))


# One statement for the first try and for any other, so that the time it takes does not show which it was.
_COUNT = text(
    "INSERT INTO counters (purpose, subject, spent, since) VALUES (:purpose, :subject, 1, :now) "
    "ON CONFLICT (purpose, subject) DO UPDATE SET spent = counters.spent + 1 RETURNING spent"
).bindparams(bindparam("now", type_=Counter.since.type))
