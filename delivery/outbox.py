"""Delivers the letters in the outbox: at least once, and not once what they say is no longer so.

A letter is claimed by putting it off for a while, in a unit of work of its own; so however a process
ends in between, the letter comes up again. It is sent with no unit open, and then marked.
"""

import threading
from datetime import datetime, timedelta
from email.message import EmailMessage

from sqlalchemy import ColumnElement, func, or_, select, update

import clock
import config
from config import Settings
from database import Database, Unavailable, session
from delivery import mail
from logs import log
from models import Letter

LEASE = 10 * clock.MINUTE
LONGEST_WAIT = clock.HOUR
PAUSE = 1.0  # seconds between two looks into an empty outbox


class Postman(threading.Thread):
    """The thread that delivers. Without SMTP_URL it only says in the log what waits."""

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__(name="postman", daemon=True)
        self._database, self._settings = database, settings
        self._stopped = threading.Event()
        self._waiting = 0

    def run(self) -> None:
        """Deliver until told to stop."""
        with config.using(self._settings):
            while not self._stopped.is_set():
                if not self._delivered():
                    self._stopped.wait(PAUSE)

    def stop(self) -> None:
        """Finish the letter at hand, and end."""
        self._stopped.set()
        self.join(timeout=mail.PATIENCE)

    def _delivered(self) -> bool:
        """Whether there was something to do; what goes wrong is logged, and the postman comes again."""
        try:
            if self._settings.smtp_url:
                return deliver_one(self._database)
            self._say_what_waits()
        except Unavailable as error:
            log.error("the outbox cannot be used: %s", error)
        except Exception as error:
            log.error("an error nobody foresaw, in delivering mail", exc_info=error)
        return False

    def _say_what_waits(self) -> None:
        with self._database.reading():
            waiting = session().scalar(select(func.count()).where(Letter.due_at.is_not(None))) or 0
        if waiting > self._waiting:
            facts = {"letters": waiting}
            log.warning("mail waits in the outbox: INVITE_API_SMTP_URL is not set", extra={"facts": facts})
        self._waiting = waiting


def deliver_one(database: Database) -> bool:
    """Deliver the letter that has waited longest; False where none is due."""
    with database.reading():
        if not session().scalar(select(Letter.id).where(_is_due(clock.now())).limit(1)):
            return False
    with database.writing():
        claimed = _claim()
    if claimed is None:
        return False
    with database.writing():
        message = _composed(session().get_one(Letter, claimed.id))
    if message:
        error = mail.send(message)
        with database.writing():
            _mark(session().get_one(Letter, claimed.id), error)
    return True


def _composed(letter: Letter) -> EmailMessage | None:
    """The mail to send; None if it is dropped since it is no longer so, or cannot be written now."""
    try:
        message = mail.compose(letter)
    except Exception as error:  # one letter that cannot be written must not keep the others waiting
        _mark(letter, f"{type(error).__name__}: {error}")
        return None
    if message is None:
        letter.due_at, letter.dropped_at = None, clock.now()
    return message


def _claim() -> Letter | None:
    """The next letter that is due, put off for as long as delivering it may take."""
    now = clock.now()
    due = select(Letter.id).where(_is_due(now)).order_by(Letter.due_at).limit(1).with_for_update(skip_locked=True)
    return session().scalar(
        update(Letter)
        .where(Letter.id == due.scalar_subquery(), _is_due(now))
        .values(due_at=now + LEASE, attempts=Letter.attempts + 1)
        .returning(Letter)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Whether a letter is to be sent; one that is put off longer than any is was by a clock that was wrong."""
    return or_(Letter.due_at <= now, Letter.due_at > now + 2 * LONGEST_WAIT)


def _mark(letter: Letter, error: str | None) -> None:
    facts = {"letter": letter.id, "kind": letter.kind, "attempt": letter.attempts}
    if error is None:
        letter.due_at, letter.sent_at, letter.last_error = None, clock.now(), None
        log.info("mail sent", extra={"facts": facts})
        return
    letter.due_at, letter.last_error = clock.now() + backoff(letter.attempts), error
    log.warning("mail not sent, it will be tried again: %s", error, extra={"facts": facts})


def backoff(attempts: int) -> timedelta:
    """How long to wait after so many failures: a minute, two, four, ... at most an hour."""
    return min(clock.MINUTE * (1 << min(attempts - 1, 10)), LONGEST_WAIT)
