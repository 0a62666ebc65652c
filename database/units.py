"""A unit of work: a transaction, and the statements and objects in it; the same on each engine."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

T = TypeVar("T")


class Unavailable(Exception):
    """The database cannot be used now. The message is for the operator, and is not shown to callers."""


class Interrupted(Unavailable):
    """A unit of work failed before its commit, because of a lost connection or another writer: try it once more."""


class Unit:
    """One unit of work: a transaction. Its connection and its session are made when they are first used."""

    def __init__(self, held: Connection, writes: bool, numbering: str | None = None) -> None:
        self._held, self._numbering = held, numbering
        self.writes = writes
        self.dialect = held.dialect
        self.is_committing = False
        self.lost_by: Unavailable | None = None  # what failed in a group commit that comes to nothing

    @cached_property
    def connection(self) -> Connection:
        """SQLAlchemy's connection, in this unit's transaction."""
        if not self._held.in_transaction():
            self._held.begin()
        return self._held

    def control(self, command: str) -> None:
        """Execute a command about the transaction itself, such as SAVEPOINT, by the driver."""
        cursor = self._held.connection.cursor()
        cursor.execute(command)
        cursor.close()

    def begin_numbering(self) -> None:
        """Let `Database.settled` know that events are about to be written here; not needed a second time."""
        if self._numbering:
            self.control(self._numbering)
            self._numbering = None

    @contextmanager
    def savepoint(self, writes: bool) -> Iterator["Unit"]:
        """A unit at a savepoint of this transaction: kept if it may write and ends well, otherwise undone."""
        unit, is_kept = Unit(self._held, writes, self._numbering), False
        self.control("SAVEPOINT part")
        outside = open_here.set(unit)
        try:
            yield unit
            unit.flush()
            is_kept = writes
        finally:
            open_here.reset(outside)
            unit.close()
            if not is_kept:
                self.control("ROLLBACK TO SAVEPOINT part")
            self.control("RELEASE SAVEPOINT part")

    def cursor(self) -> DBAPICursor:
        """A cursor of the driver. The session's changes are written first, so that it sees them."""
        self.flush()
        return self._held.connection.cursor()

    @cached_property
    def session(self) -> Session:
        """SQLAlchemy's session. To make one costs as much as a query, so it is made only when it is used."""
        return Session(self.connection, autoflush=self.writes, expire_on_commit=False)

    def flush(self) -> None:
        """Write the session's changes, if this unit may write; a unit that only reads forgets them."""
        if self.writes and "session" in vars(self):
            self.session.flush()

    def commit(self) -> None:
        """Commit; when this returns, all is on disk. If the connection breaks meanwhile, all or nothing is."""
        self.flush()
        self.is_committing = True
        if self._held.in_transaction():
            self._held.commit()
        else:
            self._held.connection.commit()

    def close(self) -> None:
        """Close the session, if there is one. The connection stays open."""
        if "session" in vars(self):
            self.session.close()


open_here: ContextVar[Unit | None] = ContextVar("unit", default=None)


def current() -> Unit:
    """The unit of work that is open here; raises RuntimeError where none is."""
    unit = open_here.get()
    if unit is None:
        raise RuntimeError("no unit of work is open: wrap this in database.reading() or writing()")
    return unit


def session() -> Session:
    """The session of the unit of work that is open here; raises RuntimeError where none is."""
    return current().session


def connection() -> Connection:
    """The connection of the unit of work that is open here, after its session's changes are written.

    Raises RuntimeError where no unit is open.
    """
    unit = current()
    unit.flush()
    return unit.connection


def begin_numbering() -> None:
    """Call it before events are written in the unit of work that is open here; raises RuntimeError where none is."""
    current().begin_numbering()


def may_write() -> bool:
    """Whether changes in the unit of work that is open here are kept; raises RuntimeError where none is open."""
    return current().writes


def once_more(attempt: Callable[[], T], on_interrupt: Callable[[Interrupted], object] = lambda _: None) -> T:
    """What `attempt` returns. If it raises Interrupted, call `on_interrupt` with it and try a second time.

    `attempt` opens its own unit of work, since the one that was interrupted is over.
    """
    try:
        return attempt()
    except Interrupted as interrupted:
        on_interrupt(interrupted)
        return attempt()


def cause_of(error: BaseException) -> BaseException | None:
    """The driver's error behind an error of SQLAlchemy or an Unavailable; None if there is none."""
    behind = error.__cause__ if isinstance(error, Unavailable) else error
    return behind.orig if isinstance(behind, DBAPIError) else behind
