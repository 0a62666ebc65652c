"""What is to be mailed: a row in the same unit of work as what it announces, so that neither is without the other.

A row has no link and no code in it: they are derived when it is delivered (delivery/outbox.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, or_, select, update

import clock
from database import session
from models import Code, Invite, Letter, User
from rules import ids
from rules.refusals import LetterNotFound

_WAITS = Letter.due_at.is_not(None)


def queue(
    kind: str, recipient: str, *, invite: Invite | None = None, code: Code | None = None, user: User | None = None
) -> Letter:
    """Have a letter of this kind delivered to the stored address."""
    letter = write(kind, recipient, invite=invite, code=code, user=user)
    session().add(letter)
    return letter


def write(
    kind: str, recipient: str, *, invite: Invite | None = None, code: Code | None = None, user: User | None = None
) -> Letter:
    """Such a letter, which is not in the database yet."""
    now = clock.now()
    return Letter(
        id=clock.new_id(),
        kind=kind,
        recipient=recipient,
        invite_id=invite.id if invite else None,
        code_id=code.id if code else None,
        user_id=user.id if user else None,
        created_at=now,
        due_at=now,
    )


def newest(limit: int, waiting: bool = False) -> Sequence[Letter]:
    """At most `limit` letters, the newest first; perhaps only those that still wait."""
    query = select(Letter).order_by(Letter.created_at.desc(), Letter.id).limit(limit)
    return session().scalars(query.where(_WAITS) if waiting else query).all()


def of_invite(invite: Invite) -> Sequence[Letter]:
    """The letters with an invite in them, in the order they were written."""
    return session().scalars(select(Letter).where(Letter.invite_id == invite.id).order_by(Letter.created_at)).all()


def has_untried(invite: Invite) -> bool:
    """Whether a letter with this invite waits that nobody has tried to send yet."""
    waiting = Letter.invite_id == invite.id, _WAITS, Letter.attempts == 0
    return session().scalar(select(Letter.id).where(*waiting).limit(1)) is not None


@dataclass(frozen=True)
class Standing:
    """How many letters wait, how many of them have been tried in vain, and when the oldest was written."""

    waiting: int
    failed: int
    oldest: datetime | None


def standing() -> Standing:
    """What waits at this moment."""
    tried = func.count().filter(Letter.last_error.is_not(None))
    query = select(func.count(), tried, func.min(Letter.created_at)).where(_WAITS)
    return Standing(*session().execute(query).one())


def stuck_since(late: datetime) -> datetime | None:
    """When the oldest letter was written that should have gone by `late`, if none written after it has gone either.

    A letter whose recipient the mail server does not know waits alone, and holds up nothing.
    """
    last_sent = session().scalar(select(func.max(Letter.created_at)).where(Letter.sent_at.is_not(None)))
    known = or_(Letter.last_error.is_(None), ~Letter.last_error.startswith("SMTPRecipientsRefused"))
    query = select(func.min(Letter.created_at)).where(_WAITS, known)
    oldest = session().scalar(query.where(Letter.created_at > last_sent) if last_sent else query)
    return oldest if oldest and oldest <= late else None


def retry(letter_id: str | None = None) -> int:
    """Have one letter that was not sent, by its id or the beginning of it, or all that wait, tried at once.

    Returns how many; raises LetterNotFound.
    """
    which: ColumnElement[bool] = _WAITS
    if letter_id is not None:
        found = ids.find(Letter, letter_id)
        if found is None:
            raise LetterNotFound
        which = Letter.id == found.id
    again = update(Letter).where(which, Letter.sent_at.is_(None)).values(due_at=clock.now(), dropped_at=None)
    retried = session().execute(again.returning(Letter.id).execution_options(synchronize_session=False)).all()
    if letter_id is not None and not retried:
        raise LetterNotFound
    return len(retried)
