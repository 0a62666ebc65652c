"""Mails to be sent. Each is a row, written in the unit of work that it belongs to: either both are stored, or neither.

A row holds no link and no code: delivery/outbox.py derives them when it sends the mail.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, not_, or_, select, update

import clock
from database import session
from models import Code, Counter, Invite, Letter, User
from rules import counters, fields, ids
from rules.refusals import LetterNotFound, MailLimit, RateLimited
from settings import settings

LEASE = 10 * clock.MINUTE  # a mail is left so long to the server that sends it
MAX_TO_ONE = 5  # invitations in a day, of all accounts
MAX_FROM_ONE = 2  # of these, of one account

_WAITS = Letter.due_at.is_not(None)


def queue(
    kind: str, recipient: str, *, invite: Invite | None = None, code: Code | None = None, user: User | None = None
) -> Letter:
    """Put a mail of this kind to a stored address into the outbox, and return it."""
    letter = write(kind, recipient, invite=invite, code=code, user=user)
    session().add(letter)
    return letter


def write(
    kind: str, recipient: str, *, invite: Invite | None = None, code: Code | None = None, user: User | None = None
) -> Letter:
    """A mail of this kind to a stored address, due now, which is not in the database yet."""
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


def limit_mails(purpose: str, subject: str, *bounds: tuple[int, timedelta]) -> None:
    """Count a mail of this purpose and subject; raises RateLimited beyond one of the bounds, each so many in a time."""
    for most, window in bounds:
        counter = f"{purpose} mail in {clock.spell(window)}", subject
        if counters.count(*counter, window) > most:
            raise RateLimited(counters.seconds_left(*counter, window))


def limit_invitations(sender: str, recipient: str) -> None:
    """Refuse one more invitation by mail from the account with the id `sender`; raises RateLimited or MailLimit.

    A mailbox gets at most 5 a day, no matter who sends them, and 2 of them from one account. All is counted in the
    outbox, so that each is forgotten a day after it was written. The account is locked until the unit ends, as the
    caller is (sessions.of_access_token): of two at the same moment the later one counts the mail of the other.
    """
    _limit_to_mailbox(sender, recipient)
    if (free_at := room_at(sender)) > clock.now():
        raise MailLimit(settings().mails_per_day, free_at)


def _limit_to_mailbox(sender: str, recipient: str) -> None:
    """Raise RateLimited if a mailbox has had as many invitations within a day as it may; what is dropped is none.

    The hour is all that is said: the minute would say when another account has invited the same person.
    """
    found = session().execute(_mailed_to(_written_ways(recipient))).all()
    from_one = [each for each in found if each.sender_id == sender]
    for most, mails in ((MAX_TO_ONE, found), (MAX_FROM_ONE, from_one)):
        if len(mails) >= most:
            left = mails[most - 1].created_at + clock.DAY - clock.now()
            raise RateLimited(max(1, math.ceil(left / clock.HOUR)) * 3600)


def _written_ways(recipient: str) -> Sequence[str]:
    """The addresses of one mailbox to which invitations were mailed within a day, this one among them.

    The row of the mailbox is locked by it until the unit ends: of two senders at the same moment the later one counts
    the mail of the other.
    """
    mailbox = fields.mailbox(recipient)
    purpose = f"invited mail to {mailbox}"
    for each in dict.fromkeys((mailbox, recipient)):
        counters.count(purpose, each, clock.DAY)
    return session().scalars(select(Counter.subject).where(Counter.purpose == purpose)).all()


def _mailed_to(addresses: Sequence[str]) -> Select[datetime, str | None]:
    """The query for the invitations that accounts had mailed to these addresses within a day, the latest first."""
    mails = select(Letter.created_at, Letter.sender_id).join(Invite, Invite.id == Letter.invite_id)
    mails = mails.where(Invite.email.in_(addresses), Letter.sender_id.is_not(None), Letter.dropped_at.is_(None))
    return mails.where(*_within_a_day()).order_by(Letter.created_at.desc())


def _within_a_day() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """What was written in the last day; not beyond a day from now, which was written while the clock was wrong."""
    now = clock.now()
    return Letter.created_at > now - clock.DAY, Letter.created_at <= now + clock.DAY


def room_at(sender: str) -> datetime:
    """When the account with this id may have one more invitation mailed: now, or when its oldest is a day old."""
    now, most = clock.now(), settings().mails_per_day
    written = select(Letter.created_at).where(Letter.sender_id == sender, *_within_a_day())
    full_since = session().scalar(written.order_by(Letter.created_at.desc()).offset(most - 1).limit(1))
    return full_since + clock.DAY if full_since else now


def newest(limit: int, waiting: bool = False) -> Sequence[Letter]:
    """At most `limit` mails, the newest first; if `waiting`, only those that are not sent yet."""
    query = select(Letter).order_by(Letter.created_at.desc(), Letter.id).limit(limit)
    return session().scalars(query.where(_WAITS) if waiting else query).all()


def of_invite(invite: Invite) -> Sequence[Letter]:
    """The mails with an invite in them, the oldest first."""
    return session().scalars(select(Letter).where(Letter.invite_id == invite.id).order_by(Letter.created_at)).all()


def has_waiting(invite: Invite) -> bool:
    """Whether a mail with this invite waits, also one that could not be sent so far."""
    waiting = Letter.invite_id == invite.id, _WAITS
    return session().scalar(select(Letter.id).where(*waiting).limit(1)) is not None


@dataclass(frozen=True)
class Summary:
    """How many mails wait, how many of them failed at least once, and when the oldest was written."""

    waiting: int
    failed: int
    oldest: datetime | None


def summary() -> Summary:
    """The number and age of the mails that wait now."""
    tried = func.count().filter(Letter.last_error.is_not(None))
    query = select(func.count(), tried, func.min(Letter.created_at)).where(_WAITS)
    return Summary(*session().execute(query).one())


def stuck_since(late: datetime) -> datetime | None:
    """When the oldest mail was written that waits since before `late`, if none written after it was sent; else None.

    A mail whose recipient the mail server refused does not count: it says nothing of the others.
    """
    last_sent = session().scalar(select(func.max(Letter.created_at)).where(Letter.sent_at.is_not(None)))
    known = or_(Letter.last_error.is_(None), ~Letter.last_error.startswith("SMTPRecipientsRefused"))
    query = select(func.min(Letter.created_at)).where(_WAITS, known)
    oldest = session().scalar(query.where(Letter.created_at > last_sent) if last_sent else query)
    return oldest if oldest and oldest <= late else None


@dataclass(frozen=True)
class Retried:
    """How many mails are tried again at once, and how many are left to a server that is sending them now."""

    due: int
    left: int


def retry(letter_id: str | None = None) -> Retried:
    """Have mails that were not sent tried again at once; returns how many, and how many not, since they are being sent.

    With an id, or the beginning of one, only that mail, even if it was given up; raises LetterNotFound if there is
    none or it was sent. Without an id all that wait. What is being sent would arrive twice: another server would take
    it. If its own has ended meanwhile, it is due again when its `LEASE` is over.
    """
    which: ColumnElement[bool] = _WAITS
    if letter_id is not None:
        found = ids.find(Letter, letter_id)
        if found is None:
            raise LetterNotFound
        which = Letter.id == found.id
    now = clock.now()
    unsent, is_free = (which, Letter.sent_at.is_(None)), _is_free(now)
    again = update(Letter).where(*unsent, is_free).values(due_at=now, dropped_at=None, busy_until=None)
    due = session().execute(again.returning(Letter.id).execution_options(synchronize_session=False)).all()
    left = session().scalar(select(func.count()).select_from(Letter).where(*unsent, not_(is_free))) or 0
    if letter_id is not None and not (due or left):
        raise LetterNotFound
    return Retried(len(due), left)


def _is_free(now: datetime) -> ColumnElement[bool]:
    """The condition that no server is sending a mail now. A longer lease was begun while the clock was wrong."""
    return or_(Letter.busy_until.is_(None), Letter.busy_until <= now, Letter.busy_until > now + LEASE)
