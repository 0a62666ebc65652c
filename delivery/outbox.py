"""Sends the letters in the outbox, each at least once; one that no longer applies, or is refused for good, is dropped.

All others are tried again, at most an hour apart, and none is given up for having been tried often. How that is done
is in delivery/at_least_once.py.
"""

import logging
from datetime import datetime, timedelta
from email.message import EmailMessage

from sqlalchemy import ColumnElement, func, literal_column, select, update

import clock
from database import Database, session
from database.background import BackgroundThread
from delivery import at_least_once, mail
from delivery.mail import Failure
from models import Letter
from rules.outbox import LEASE
from settings import Settings

MAX_WAIT = clock.HOUR
PAUSE = 1.0  # seconds to wait when no letter is due

log = logging.getLogger("invite_api")


class MailWorker(BackgroundThread):
    """The thread that sends the letters. Without SMTP_URL it only logs how many wait."""

    unavailable = "the outbox cannot be used: %s"
    failed = "an unexpected error, while mail was sent"

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("mail", database, settings, PAUSE, patience=mail.TIMEOUT)
        self._waiting = 0

    def work(self) -> bool:
        """Send one letter; returns whether one was due."""
        if self.settings.smtp_url:
            return deliver_one(self.database)
        self._log_what_waits()
        return False

    def _log_what_waits(self) -> None:
        with self.database.reading():
            waiting = session().scalar(select(func.count()).where(Letter.due_at.is_not(None))) or 0
        if waiting > self._waiting:
            facts = {"letters": waiting}
            log.warning("mail waits in the outbox: INVITE_API_SMTP_URL is not set", extra={"facts": facts})
        self._waiting = waiting


class Letters(at_least_once.Queue[Letter, EmailMessage, Failure | None]):
    """The letters of the outbox; one that was sent has no failure."""

    def is_any_due(self) -> bool:
        """Whether a letter is due."""
        return session().scalar(select(Letter.id).where(_is_due(clock.now())).limit(1)) is not None

    def claim(self) -> Letter | None:
        """The next letter."""
        return claim()

    def compose(self, letter: Letter) -> EmailMessage | None:
        """The mail of a letter."""
        return mail.compose(session().get_one(Letter, letter.id))

    def send(self, message: EmailMessage) -> Failure | None:
        """Hand a mail to the mail server."""
        return mail.send(message)

    def failed(self, letter: Letter, error: Exception) -> Failure:  # noqa: ARG002
        """Why a letter could not be composed."""
        return Failure(f"{type(error).__name__}: {error}")

    def mark(self, letter: Letter, failure: Failure | None) -> None:
        """Mark a letter as sent, put it off, or drop it."""
        mark(session().get_one(Letter, letter.id), failure)

    def drop(self, letter: Letter) -> None:
        """Mark a letter that no longer applies."""
        dropped = session().get_one(Letter, letter.id)
        dropped.due_at, dropped.dropped_at, dropped.last_error, dropped.busy_until = None, clock.now(), None, None


def deliver_one(database: Database) -> bool:
    """Send the letter that has been due longest; returns False if none is due."""
    return at_least_once.deliver_one(database, Letters())


def claim() -> Letter | None:
    """The next letter, put off for `LEASE` so that no other process takes it; None if none is due.

    That is the one that has been due longest; invitations are sent after all others, for which a person waits.
    """
    now = clock.now()
    until = now + LEASE
    is_invitation: ColumnElement[bool] = literal_column("kind = 'invite'")  # as the index outbox_due has it
    due = select(Letter.id).where(_is_due(now)).order_by(is_invitation, Letter.due_at)
    due = due.limit(1).with_for_update(skip_locked=True)
    return session().scalar(
        update(Letter)
        .where(Letter.id == due.scalar_subquery(), _is_due(now))
        .values(due_at=until, busy_until=until, attempts=Letter.attempts + 1)
        .returning(Letter)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def _is_due(now: datetime) -> ColumnElement[bool]:
    """The condition that a letter is due."""
    return at_least_once.is_due(Letter.due_at, now, MAX_WAIT)


def mark(letter: Letter, failure: Failure | None) -> None:
    """Mark a letter as sent, put it off, or drop it if its `failure` is final. The failure's text is kept with it."""
    facts = {"letter": letter.id, "kind": letter.kind, "attempt": letter.attempts}
    letter.last_error, letter.busy_until = failure.text if failure else None, None
    if failure is None:
        letter.due_at, letter.sent_at = None, clock.now()
        log.info("mail sent", extra={"facts": facts})
    elif failure.is_final:
        letter.due_at, letter.dropped_at = None, clock.now()
        log.warning("mail not sent, the mail server refuses it for good: %s", failure.text, extra={"facts": facts})
    else:
        letter.due_at = clock.now() + backoff(letter.attempts)
        log.warning("mail not sent, it will be tried again: %s", failure.text, extra={"facts": facts})


def backoff(attempts: int) -> timedelta:
    """How long to wait after this number of attempts: a minute, then two, four and so on, at most an hour."""
    return min(clock.MINUTE * (1 << min(attempts - 1, 10)), MAX_WAIT)
