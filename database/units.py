"""Units of work, whatever the engine: what a database is asked for, and by whom."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cached_property
from typing import TypeVar

from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from database import schema

T = TypeVar("T")


class Unavailable(Exception):
    """The database cannot be used now. The message is for the operator, not for callers."""


class Interrupted(Unavailable):
    """What was begun came to nothing before it was committed, by no fault of its own: it may be tried once more."""


class Unit:
    """One unit of work: a transaction, with a connection and a session in it from when they are asked for."""

    def __init__(self, held: Connection, writes: bool) -> None:
        self._held = held
        self.writes = writes
        self.dialect = held.dialect
        self.is_committing = self.is_lost = False

    @cached_property
    def connection(self) -> Connection:
        """What SQLAlchemy executes statements on."""
        if not self._held.in_transaction():
            self._held.begin()
        return self._held

    def tell(self, command: str) -> None:
        """Have the driver execute what concerns the transaction itself."""
        cursor = self._held.connection.cursor()
        cursor.execute(command)
        cursor.close()

    def part(self, writes: bool) -> "Unit":
        """A unit of its own in the same transaction."""
        return Unit(self._held, writes)

    def cursor(self) -> DBAPICursor:
        """The driver's own, after all that the session has to write."""
        self.flush()
        return self._held.connection.cursor()

    @cached_property
    def session(self) -> Session:
        """Objects for rows. It costs as much as a query, so that many a unit does without."""
        return Session(self.connection, autoflush=self.writes, expire_on_commit=False)

    def flush(self) -> None:
        """Write what has been changed in objects, if this unit may write: a reading one forgets it."""
        if self.writes and "session" in vars(self):
            self.session.flush()

    def commit(self) -> None:
        """Have all of it on disk. If this fails by a connection that breaks, nobody knows whether it is."""
        self.flush()
        self.is_committing = True
        if self._held.in_transaction():
            self._held.commit()
        else:
            self._held.connection.commit()

    def close(self) -> None:
        """Let go of the objects."""
        if "session" in vars(self):
            self.session.close()


_current: ContextVar[Unit | None] = ContextVar("unit", default=None)


def _unit() -> Unit:
    current = _current.get()
    if current is None:
        raise RuntimeError("no unit of work is open: wrap this in database.reading() or writing()")
    return current


def session() -> Session:
    """The session of the unit of work that is open here."""
    return _unit().session


def connection() -> Connection:
    """What the unit of work that is open here works on, with all that its session has to write."""
    unit = _unit()
    unit.flush()
    return unit.connection


def cursor() -> DBAPICursor:
    """The driver's own way to work on the unit that is open here, with all that its session has to write."""
    return _unit().cursor()


def dialect() -> Dialect:
    """The kind of database that it is."""
    return _unit().dialect


def may_write() -> bool:
    """Whether what is changed in the unit of work that is open here will be kept."""
    return _unit().writes


def once_more(attempt: Callable[[], T], told: Callable[[Interrupted], object] = lambda _: None) -> T:
    """Do something in a unit of its own, and if that was interrupted, say so and do it once more."""
    try:
        return attempt()
    except Interrupted as interrupted:
        told(interrupted)
        return attempt()


class _Held(threading.local):
    """What a thread keeps for itself."""

    connection: Connection | None = None
    whole: Unit | None = None


class Database(ABC):
    """A database, and the two kinds of work to be done with it.

    `called` is what an operator knows it by. Whether it `answers_at_once`, as a file does, or has to
    be waited for, as a server, decides who asks it.
    """

    answers_at_once: bool

    def __init__(self, engine: Engine, called: str) -> None:
        self.engine, self.called = engine, called
        self._lost = f"{called}: what was written together is lost"
        self._held = _Held()

    def reading(self) -> AbstractContextManager[Unit]:
        """A consistent view of the database. Whatever is changed in it is forgotten."""
        whole = self._held.whole
        return self._part(whole, writes=False) if whole else self._opened(writes=False)

    def writing(self) -> AbstractContextManager[Unit]:
        """A change that happens as a whole, and is on disk when this ends, or not at all."""
        whole = self._held.whole
        return self._part(whole, writes=True) if whole else self._committed()

    @contextmanager
    def together(self) -> Iterator[None]:
        """One commit for all units of this thread until this ends: on disk are they then, not before.

        Each still happens as a whole or not at all. Raises Unavailable if nothing of any of them is kept.
        """
        with self._committed() as whole:
            self._held.whole, outside = whole, _current.set(None)
            try:
                yield
            finally:
                self._held.whole = None
                _current.reset(outside)
            if whole.is_lost:
                raise Unavailable(self._lost)

    def create(self) -> None:
        """Make the tables where there are none; raise Unavailable if they are of another version."""
        with self.writing() as unit:
            connection = unit.connection
            self._be_alone(connection)
            if not self.tables(connection):
                for statement in schema.statements(schema.SCHEMA.read_text()):
                    connection.exec_driver_sql(statement)
            version = self.version(connection)
        if version != schema.VERSION:
            raise Unavailable(f"{self.called}: {schema.misfit(version)}")

    def is_current(self) -> bool:
        """Whether the schema is there and ours, found without waiting for a turn to write."""
        with self.reading() as unit:
            return self.version(unit.connection) == schema.VERSION

    def version(self, connection: Connection) -> int | None:
        """The version of the schema that is there, as `schema.version` tells it."""
        return schema.version(self.tables(connection), connection.exec_driver_sql)

    def close(self) -> None:
        """Let go of this thread's connection, and of those whose threads have ended."""
        if self._held.connection:
            self._held.connection.close()
        self.engine.dispose()

    @abstractmethod
    def keep_others_out(self, connection: Connection) -> None:
        """Let nobody else come while this connection, our only one, lives; raises Unavailable if one is here."""

    @abstractmethod
    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""

    @abstractmethod
    def check(self) -> list[str]:
        """What is wrong with what is stored, as far as the engine itself can tell; [] for nothing."""

    @abstractmethod
    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """What else of this engine can be looked at, by name; each says what is wrong, "" for nothing."""

    @abstractmethod
    def trouble(self, error: Unavailable) -> str:
        """What is wrong, and what to do about it, without an address, a path or the engine's own words."""

    @abstractmethod
    def _begin(self, connection: Connection, writes: bool) -> None:
        """Begin the transaction of a unit."""

    @abstractmethod
    def _translated(self, unit: Unit | None = None) -> AbstractContextManager[None]:
        """Say Unavailable for what is wrong with the database, and leave our own mistakes alone."""

    def _turn(self) -> AbstractContextManager[None]:
        """Wait until this thread may write."""
        return nullcontext()

    @abstractmethod
    def _be_alone(self, connection: Connection) -> None:
        """Have nobody else make the tables at the same time."""

    @contextmanager
    def _committed(self) -> Iterator[Unit]:
        """A unit that has its turn, and is committed if it ends well."""
        with self._turn(), self._opened(writes=True) as unit:
            yield unit
            unit.commit()

    @contextmanager
    def _part(self, whole: Unit, writes: bool) -> Iterator[Unit]:
        """A unit in the transaction of another; what goes wrong in it is undone alone.

        Unless the database itself went wrong: then some of them roll back the whole transaction.
        """
        _refuse_nesting()
        if whole.is_lost:  # SQLite may have ended the transaction: a savepoint outside of one is committed by itself
            raise Unavailable(self._lost)
        part, is_kept = whole.part(writes), False
        try:
            with self._translated(part):
                whole.tell("SAVEPOINT part")
                outside = _current.set(part)
                try:
                    yield part
                    part.flush()
                    is_kept = writes
                finally:
                    _current.reset(outside)
                    part.close()
                    if not is_kept:
                        whole.tell("ROLLBACK TO SAVEPOINT part")
                    whole.tell("RELEASE SAVEPOINT part")
        except Unavailable:
            whole.is_lost = True
            raise

    @contextmanager
    def _opened(self, writes: bool) -> Iterator[Unit]:
        """A unit on this thread's connection; what is not committed in it is rolled back."""
        _refuse_nesting()
        try:
            connection = self._connection()
            unit = Unit(connection, writes)
            with self._translated(unit):
                before = _current.set(unit)
                try:
                    self._begin(connection, writes)
                    yield unit
                finally:
                    _current.reset(before)
                    unit.close()
                    _roll_back(connection)
        except Unavailable:  # a connection that was opened when the file could only be read stays so
            if self._held.connection:
                _give_up(self._held.connection)
            raise

    def _connection(self) -> Connection:
        """This thread's own: to take one from the engine for each unit costs as much as a query.

        As many connections as there are threads: one that waits for another's would hold up more than itself.
        """
        held = self._held.connection
        if held is None or held.closed:
            with self._translated():
                held = self._held.connection = self.engine.connect()
        return held


def _refuse_nesting() -> None:
    if _current.get() is not None:
        raise RuntimeError("units of work do not nest: a change inside a reading would not be locked")


def _roll_back(connection: Connection) -> None:
    """Forget what is not committed; give up a connection that cannot even do that."""
    try:
        if connection.in_transaction():
            connection.rollback()
        else:
            connection.connection.rollback()
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error):
        _give_up(connection)


def _give_up(connection: Connection) -> None:
    """Have a connection closed, and a new one made by the next unit."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


def cause_of(error: BaseException) -> BaseException | None:
    """The engine's own error behind one of SQLAlchemy's or of ours."""
    behind = error.__cause__ if isinstance(error, Unavailable) else error
    return behind.orig if isinstance(behind, DBAPIError) else behind
