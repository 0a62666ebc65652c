"""What every engine's database can do: open units of work, share commits, create its tables."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from database import schema
from database.units import Unavailable, Unit, open_here


class _PerThread(threading.local):
    """A thread's own connection, and the unit whose commit it shares, while `group_commit` is open."""

    connection: Connection | None = None
    group: Unit | None = None


class Database(ABC):
    """A database and its units of work: `reading()` and `writing()`.

    `name` is how an operator knows it: a path, or a URL without its password. `answers_at_once` says
    whether a query is answered without waiting for a network, so that the event loop may ask it.
    """

    answers_at_once: bool
    begin_numbering: str | None = None  # what a unit executes before it writes its first event, see `settled`

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine, self.name = engine, name
        self._lost = f"{name}: what was written together is lost"
        self._per_thread = _PerThread()

    def reading(self) -> AbstractContextManager[Unit]:
        """A unit of work that sees the database as of one moment, and forgets changes; raises Unavailable."""
        group = self._per_thread.group
        return self._in_group(group, writes=False) if group else self._opened(writes=False)

    def writing(self) -> AbstractContextManager[Unit]:
        """A unit of work, kept whole or not at all; on disk when it, or its group commit, ends. Raises Unavailable."""
        group = self._per_thread.group
        return self._in_group(group, writes=True) if group else self._committed()

    @contextmanager
    def group_commit(self) -> Iterator[None]:
        """One commit for all units of work that this thread opens inside. They are on disk when this ends.

        Each unit is still kept whole or not at all. Raises Unavailable if the database fails in one of them or in the
        commit, with why: then none is kept.
        """
        with self._committed() as group:
            self._per_thread.group, outside = group, open_here.set(None)
            try:
                yield
            finally:
                self._per_thread.group = None
                open_here.reset(outside)
            if group.lost_by:
                raise group.lost_by

    def create(self) -> None:
        """Create the tables if there are none; raises Unavailable if those that are there have another version."""
        with self.writing() as unit:
            connection = unit.connection
            self.lock_creation(connection)
            if not self.tables(connection):
                for statement in schema.statements(schema.SCHEMA.read_text(), self.engine.dialect.name):
                    connection.exec_driver_sql(statement)
            version = self.version(connection)
        if version != schema.VERSION:
            raise Unavailable(f"{self.name}: {schema.mismatch(version)}")

    def is_current(self) -> bool:
        """Whether the schema is there, and of this version. It does not wait for the writer lock."""
        with self.reading() as unit:
            return self.version(unit.connection) == schema.VERSION

    def version(self, connection: Connection) -> int | None:
        """The version of the schema: 0 if it is damaged, None if the tables are not ours."""
        return schema.version(self.tables(connection), connection.exec_driver_sql)

    def close(self) -> None:
        """Close this thread's connection, and those of threads that have ended."""
        if self._per_thread.connection:
            self._per_thread.connection.close()
        self.engine.dispose()

    @abstractmethod
    def lock_out_others(self, connection: Connection) -> None:
        """Let no other process connect until this connection, our only one, closes; raises Unavailable if one has."""

    @abstractmethod
    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""

    @abstractmethod
    def check(self) -> list[str]:
        """The faults that the engine finds in what is stored, a sentence each; [] for none."""

    @abstractmethod
    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """Further checks of this engine, by name. Each returns a sentence on what is wrong, "" for nothing."""

    @abstractmethod
    def trouble(self, error: Unavailable) -> str:
        """A sentence on what is wrong and what to do, for callers: no address, path or message of the engine in it."""

    @abstractmethod
    def begin(self, connection: Connection, writes: bool) -> None:
        """Begin the transaction of a unit of work; raises Interrupted if the connection is lost."""

    @abstractmethod
    def settled(self) -> int:
        """The number up to which all events are there that ever will be: units that are open now give greater ones.

        Opens units of its own. Ask first, and read the events in a unit that begins afterwards.
        """

    @abstractmethod
    def count_on(self, connection: Connection) -> None:
        """Go on numbering events after the last one that is there, after rows were copied with their numbers."""

    @abstractmethod
    def translated(self, unit: Unit | None = None) -> AbstractContextManager[None]:
        """Inside, an error of the database becomes Unavailable; an error of our statements stays as it is."""

    def writer_lock(self) -> AbstractContextManager[None]:
        """The lock that each writing unit holds, if the engine needs one; raises Unavailable after seconds in vain."""
        return nullcontext()

    @abstractmethod
    def lock_creation(self, connection: Connection) -> None:
        """Let no other process create the tables until this transaction ends."""

    @contextmanager
    def _committed(self) -> Iterator[Unit]:
        """A unit that holds the writer lock, and is committed if it ends well."""
        with self.writer_lock(), self._opened(writes=True) as unit:
            yield unit
            unit.commit()

    @contextmanager
    def _in_group(self, group: Unit, writes: bool) -> Iterator[Unit]:
        """A unit at a savepoint of the group's transaction; if it fails, only it is undone.

        Unless the database itself fails: SQLite then rolls back the whole transaction in some cases.
        """
        _refuse_nesting()
        if group.lost_by:  # a savepoint outside of a transaction would be committed by itself
            raise Unavailable(self._lost)
        try:
            with self.translated(group), group.savepoint(writes) as unit:
                yield unit
        except Unavailable as error:
            group.lost_by = error
            raise

    @contextmanager
    def _opened(self, writes: bool) -> Iterator[Unit]:
        """A unit on this thread's connection. What was not committed when it ends is rolled back."""
        _refuse_nesting()
        try:
            connection = self._connection()
            unit = Unit(connection, writes, self.begin_numbering)
            with self.translated(unit):
                before = open_here.set(unit)
                try:
                    self.begin(connection, writes)
                    yield unit
                finally:
                    open_here.reset(before)
                    unit.close()
                    roll_back(connection)
        except Unavailable:  # SQLite's connection stays read-only if the file was so when it was opened
            if self._per_thread.connection:
                discard(self._per_thread.connection)
            raise

    def _connection(self) -> Connection:
        """This thread's connection, made if there is none. To take one from the engine costs as much as a query.

        There is one for each thread. If threads waited for each other's, a slow one would delay the others.
        """
        held = self._per_thread.connection
        if held is None or held.closed:
            with self.translated():
                held = self._per_thread.connection = self.engine.connect()
        return held


def _refuse_nesting() -> None:
    if open_here.get() is not None:
        raise RuntimeError("units of work do not nest: a change inside a reading would not be locked")


def roll_back(connection: Connection) -> None:
    """Roll back what is not committed; discard the connection if that fails."""
    try:
        if connection.in_transaction():
            connection.rollback()
        else:
            connection.connection.rollback()
    except (SQLAlchemyError, connection.dialect.loaded_dbapi.Error):
        discard(connection)


def discard(connection: Connection) -> None:
    """Close a connection and its driver's, so that the next unit of work makes a new one."""
    if not connection.closed:
        connection.invalidate()
        connection.close()
