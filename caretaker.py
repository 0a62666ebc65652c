"""Deletes what is over, now and then, while the service runs."""

import threading

from database import Database, Unavailable, session
from logs import log
from rules import forgetting

PAUSE = 3600.0  # seconds between two rounds


class Caretaker(threading.Thread):
    """The thread that does it."""

    def __init__(self, database: Database) -> None:
        super().__init__(name="caretaker", daemon=True)
        self._database = database
        self._stopped = threading.Event()

    def run(self) -> None:
        """Make rounds until told to stop."""
        while not self._stopped.is_set():
            try:
                self._make_a_round()
            except Unavailable as error:
                log.error("what is over cannot be deleted: %s", error)
            except Exception as error:
                log.error("an error nobody foresaw, in deleting what is over", exc_info=error)
            self._stopped.wait(PAUSE)

    def stop(self) -> None:
        """Finish what is at hand, and end."""
        self._stopped.set()
        self.join(timeout=5)

    def _make_a_round(self) -> None:
        while not self._stopped.is_set() and forget_some(self._database):
            pass


def forget_some(database: Database) -> bool:
    """Delete some of what is over; whether there was any. It is looked for without keeping writers waiting."""
    with database.reading():
        found = list(forgetting.over())
    for each in found:
        with database.writing():
            session().execute(each.execution_options(synchronize_session=False))
    return bool(found)
