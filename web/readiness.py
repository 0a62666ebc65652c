"""Whether the service can do its work: what stands in its way, in words for the operator.

It is looked at in a thread of its own, and at most once a second however often it is asked, so that
neither a flood of questions nor a disk that hangs keeps the threads that answer.
"""

import threading
from collections.abc import Callable, Mapping

from sqlalchemy import text

import clock
from database import Database, Unavailable, connection, schema
from rules import counters, deliveries, outbox
from settings import Settings
from web.logs import log

OK = "ok"
FRESH = 1.0  # seconds for which an outcome holds
TIMEOUT = 1.0  # seconds after which a look that has not come to its end says what it knows
LATEST = 15 * clock.MINUTE  # how long mail may wait while none is taken, and an event while nobody tries to send it

HANGS = (
    "has not been done within a second: another program holds the database's lock, the disk hangs, "
    "or PostgreSQL does not answer"
)
Check = Callable[[], str]


class Readiness:
    """What `/ready` answers, of one running service."""

    def __init__(self, opened: Database, settings: Settings) -> None:
        self._database, self._mails = opened, bool(settings.smtp_url)
        self._checks: Mapping[str, Check] = {
            **opened.own_checks(),
            "database": self._reading,
            "schema": self._schema,
            "outbox": self._outbox,
            "webhooks": self._webhooks,
            "writing": self._writing,
        }
        self._turn = threading.Lock()
        self._look: _Look | None = None
        self._wrong = ""

    def look(self) -> dict[str, str]:
        """What is wrong, by the name of each check; ``ok`` where nothing is. It takes a second at most."""
        with self._turn:
            if self._look is None or self._look.is_old:
                self._look = _Look(self._checks, self._outcome, self._report)
                self._look.start()
            look = self._look
        return look.found()

    def _report(self, found: Mapping[str, str]) -> None:
        """Say in the log what has become wrong, and that all is well again."""
        wrong = "; ".join(f"{name} {said}" for name, said in found.items() if said != OK)
        if wrong != self._wrong:
            log.warning(f"not ready: {wrong}" if wrong else "ready again")
        self._wrong = wrong

    def _outcome(self, check: Check) -> str:
        try:
            return check() or OK
        except Unavailable as error:
            return self._database.trouble(error)
        except Exception as error:
            log.error("an unexpected error, while /ready was answered", exc_info=error)
            return "cannot be checked: look into the log of invite-api"

    def _reading(self) -> str:
        with self._database.reading():
            connection().execute(text("SELECT 1 FROM invites LIMIT 1"))
        return ""

    def _schema(self) -> str:
        with self._database.reading():
            version = connection().scalar(text("SELECT max(version) FROM schema_version"))
        needed = schema.VERSION
        return "" if version == needed else f"is version {version}, this server needs {needed}: restart invite-api"

    def _outbox(self) -> str:
        if not self._mails:
            return ""
        with self._database.reading():
            stuck = outbox.stuck_since(clock.now() - LATEST)
        return "" if stuck is None else "the mail server takes no mail: run invite-api outbox list --waiting"

    def _webhooks(self) -> str:
        """A receiver that takes nothing is its operator's trouble: what counts is whether it is tried."""
        with self._database.reading():
            stuck = deliveries.stuck_since(clock.now() - LATEST)
        return "" if stuck is None else "nothing is sent to webhooks: look into the log of invite-api, and restart it"

    def _writing(self) -> str:
        """A change that is really committed; a row rewritten as it was would never reach the disk."""
        with self._database.writing():
            counters.count("ready", "")
        return ""


class _Look(threading.Thread):
    """One look at everything, check by check; the last is the one that may hang."""

    def __init__(
        self, checks: Mapping[str, Check], outcome: Callable[[Check], str], report: Callable[[Mapping[str, str]], None]
    ) -> None:
        super().__init__(name="readiness", daemon=True)
        self._checks, self._outcome, self._report = checks, outcome, report
        self._found: dict[str, str] = {}
        self._began, self._ended = clock.ticks(), threading.Event()

    def run(self) -> None:
        for name, check in self._checks.items():
            self._found[name] = self._outcome(check)
        self._report(self._found)
        self._until = clock.ticks() + FRESH
        self._ended.set()

    @property
    def is_old(self) -> bool:
        """Whether it has come to its end, and some time ago."""
        return self._ended.is_set() and clock.ticks() >= self._until

    def found(self) -> dict[str, str]:
        """What it has found, once it is done or has taken too long."""
        self._ended.wait(max(0.0, self._began + TIMEOUT - clock.ticks()))
        return {name: self._found.get(name, HANGS) for name in self._checks}
