"""Tells that invites expired, and deletes what is over, a few rows at a time, while the server runs."""

from database import Database, session
from database.background import BackgroundThread
from rules import expiry, forgetting
from settings import Settings, in_force

PAUSE = 60.0  # seconds to wait when nothing has expired: who waits to be told of it waits so long at most


class Caretaker(BackgroundThread):
    """The thread that tells that invites expired, and deletes sessions, codes, mail that was sent, and the like."""

    unavailable = "what is over cannot be told or deleted: %s"
    failed = "an error nobody foresaw, in telling or deleting what is over"

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("caretaker", PAUSE, patience=5)
        self._database, self._settings = database, settings

    def work(self) -> bool:
        """Do some of what there is to do; returns whether there was any."""
        with in_force(self._settings):
            return tell_some(self._database) or forget_some(self._database)


def tell_some(database: Database) -> bool:
    """Tell of some invites that they expired; returns whether there were any.

    They are searched for in a unit that only reads, so that writers do not wait for the search.
    """
    with database.reading():
        found = expiry.untold()
    if found:
        with database.writing():
            expiry.tell(found)
    return bool(found)


def forget_some(database: Database) -> bool:
    """Delete some of what has expired; returns whether there was any. It is searched for as `tell_some` does."""
    with database.reading():
        found = list(forgetting.deletions())
    for each in found:
        with database.writing():
            session().execute(each.execution_options(synchronize_session=False))
    return bool(found)
