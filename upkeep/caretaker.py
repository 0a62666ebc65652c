"""Tells that invites expired, ends what is over and deletes it, a few rows at a time, while the server runs."""

from database import Database, session
from database.background import BackgroundThread
from rules import expiry, forgetting, keys
from settings import Settings

PAUSE = 60.0  # seconds to wait when nothing has expired: who waits to be told of it waits so long at most


class Caretaker(BackgroundThread):
    """The thread that tells that invites expired, and deletes sessions, codes, mail that was sent, and the like."""

    unavailable = "expired data cannot be deleted: %s"
    failed = "an unexpected error, while expired data was deleted"

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("caretaker", database, settings, PAUSE, patience=5)

    def work(self) -> bool:
        """Do some of what there is to do; returns whether there was any."""
        return end_some(self.database) or forget_some(self.database)


def end_some(database: Database) -> bool:
    """Tell of some invites that they expired, give back uses that lapsed, end memberships, warn members before theirs.

    And store when keys were last used that only read. Returns whether there was anything to do.

    They are searched for in a unit that only reads, so that writers do not wait for the search.
    """
    did = False
    for search, act in (
        (expiry.unrecorded, expiry.record_expired),
        (expiry.lapsed, expiry.give_back),
        (expiry.ended, expiry.end),
        (expiry.ending, expiry.warn),
        (keys.unwritten_uses, keys.write_uses),
    ):
        with database.reading():
            found = search()
        if found:
            did = True
            with database.writing():
                act(found)
    return did


def forget_some(database: Database) -> bool:
    """Delete some of what has expired; returns whether there was any.

    It is searched for in a unit that only reads, so that no writer waits meanwhile.
    """
    with database.reading():
        found = list(forgetting.deletions())
    for each in found:
        with database.writing():
            session().execute(each.execution_options(synchronize_session=False))
    return bool(found)
