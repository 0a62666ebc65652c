"""SQLite: a file that has one writer at a time; how it is created, opened and checked."""

import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import clock
from database import files, schema, shape
from database.abstract import Database
from database.units import Unavailable, Unit, cause_of
from settings import Settings

TIMEOUT = 5.0  # seconds that a writer waits for the writer lock, and then for SQLite's
STUCK = 1.0  # seconds to wait behind a writer of this process that itself waits for another process
GLANCE = 0.025  # seconds to wait for another process's lock, after a writer has waited for it in vain
LEAST_FREE = 16 * 1024 * 1024  # bytes: the size to which the journal may grow before it is copied into the file
ENGINE_OPTIONS: dict[str, Any] = {"hide_parameters": True, "pool_size": 0, "connect_args": {"timeout": TIMEOUT}}

_EXPLANATIONS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room on the disk that holds the database",
    sqlite3.SQLITE_READONLY: "the file may not be written: check the owner and the permissions of it and of its folder",
    sqlite3.SQLITE_PERM: "the file may not be opened: check the owner and the permissions of it and of its folder",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: check the owner and the permissions of it and of its folder",
    sqlite3.SQLITE_BUSY: "another program holds the database's lock: look for one that has the file open",
    sqlite3.SQLITE_IOERR: "the disk is full, or reports errors: look into the system's log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: run invite-api db check, and go back to a backup",
    sqlite3.SQLITE_NOTADB: "the file is damaged: run invite-api db check, and go back to a backup",
}


class Sqlite(Database):
    """A database in a file, which has one writer at a time.

    The threads of this process wait for each other at a lock of Python: SQLite polls its own, which takes
    longer and may let a later one go first.
    """

    answers_at_once = True

    def __init__(self, engine: Engine, path: Path) -> None:
        super().__init__(engine, str(path))
        event.listen(engine, "connect", _set_up)
        self._lock = threading.Lock()
        self._waits_since: float | None = None  # when the holder of the writer lock began to wait for another process
        self._in_vain_at = -math.inf  # when a writer last waited in vain for another process
        self._path = path
        self._translating = _Translated(path)
        self._file = files.identity(self.name)

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        return table_names(connection.exec_driver_sql)

    def check(self) -> list[str]:
        """The faults of the file, a sentence each; [] for none.

        They are what SQLite finds, references to missing rows, and what is not as schema.sql has it.
        """
        with self.reading() as unit:
            execute = unit.connection.exec_driver_sql
            return faults(execute) + shape.differences(execute)

    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """One check, `disk`: whether there is room on the disk that holds the file."""
        return {"disk": self.check_disk}

    def trouble(self, error: Unavailable) -> str:
        """A sentence on what is wrong and what to do, without the path and without SQLite's message."""
        cause = cause_of(error)
        if cause is None:
            return str(error).removeprefix(f"{self._path}: ")
        number = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return _EXPLANATIONS.get(number, "the database cannot be used: look into the log of invite-api")

    def lock_out_others(self, connection: Connection) -> None:
        """Do nothing: for a file, `lock.exclusive` keeps other processes out."""

    def check_disk(self) -> str:
        """A sentence if the disk that holds the file is nearly full or its folder is missing, else ""."""
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError:
            return "the folder of the database is not there: put it back, and restart invite-api"
        return "" if free >= LEAST_FREE else "is nearly full: make room on the disk that holds the database"

    @contextmanager
    def writer_lock(self) -> Iterator[None]:
        """The lock for which the threads of this process wait; raises Unavailable if they wait too long.

        Also if the file was deleted or replaced, so that nothing is written into a file that is gone.
        """
        self._refuse_if_replaced()
        self._wait_for_writer_lock()
        try:
            yield
        finally:
            self._waits_since = None
            self._lock.release()

    def _wait_for_writer_lock(self) -> None:
        """Wait `TIMEOUT` seconds, but only `STUCK` seconds behind a writer that waits for another process.

        Otherwise a lock that another process holds would soon keep every thread waiting.
        """
        deadline = clock.ticks() + TIMEOUT
        while not self._lock.acquire(timeout=STUCK / 4):
            since = self._waits_since
            if clock.ticks() > deadline or (since is not None and clock.ticks() - since > STUCK):
                raise Unavailable(f"{self._path}: is locked, or too much is being written")
        self._waits_since = clock.ticks()

    def begin(self, connection: Connection, writes: bool) -> None:
        """Begin a transaction. One that writes takes SQLite's write lock at once.

        A transaction that has read before it takes the lock fails at once if another writer was faster.
        """
        if not writes:
            self._refuse_if_replaced()
        cursor = connection.connection.cursor()
        if writes:
            self._begin_immediate(cursor)
        else:
            cursor.execute("BEGIN")
        cursor.close()

    def lock_creation(self, connection: Connection) -> None:
        """Do nothing: a file has one writer at a time."""

    def _begin_immediate(self, cursor: DBAPICursor) -> None:
        """Wait for SQLite's write lock, but only `GLANCE` seconds if a writer has just waited for it in vain.

        Otherwise each writer in the queue would wait as long as the first, one after the other.
        """
        in_vain = clock.ticks() - self._in_vain_at < TIMEOUT
        if in_vain:
            cursor.execute(f"PRAGMA busy_timeout = {GLANCE * 1000:.0f}")
        try:
            cursor.execute("BEGIN IMMEDIATE")
            self._waits_since = None
        except sqlite3.OperationalError:
            self._in_vain_at = self._in_vain_at if in_vain else clock.ticks()
            raise
        finally:
            if in_vain:
                cursor.execute(f"PRAGMA busy_timeout = {TIMEOUT * 1000:.0f}")

    def settled(self) -> int:
        """No bound: SQLite lets one unit write at a time, so that events get their numbers as they are committed."""
        return 2**63 - 1

    def count_on(self, connection: Connection) -> None:
        """Nothing: SQLite counts on from the greatest number that was ever written."""

    def translated(self, unit: Unit | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        """Inside, an error of SQLite becomes Unavailable; an error of our statements stays as it is."""
        return self._translating

    def _refuse_if_replaced(self) -> None:
        """Raise Unavailable if the file was deleted or replaced: what is written to the old one would be lost."""
        if files.identity(self.name) != self._file:
            raise Unavailable(f"{self._path}: has been deleted or replaced since it was opened: restart invite-api")


class ExclusiveSqlite:
    """A file that no other process uses, so that its schema may be changed."""

    dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def version(self) -> int | None:
        """The version of its schema: 0 if it is damaged, None if the tables are not ours."""
        return version_of(self._connection.execute)

    def execute(self, statement: str) -> sqlite3.Cursor:
        """Execute one statement and return its cursor."""
        return self._connection.execute(statement)

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each row; ``?`` stands in it for a value of the row."""
        self._connection.executemany(statement, rows)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction that is kept whole, or not at all if it leaves damage behind; raises Unavailable."""
        self.execute("PRAGMA foreign_keys = OFF")  # a table that is rebuilt is away for a moment
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
            if wrong := faults(self.execute):
                raise Unavailable(wrong[0])
            self.execute("COMMIT")
        except sqlite3.Error as error:
            raise Unavailable(str(error)) from error
        finally:
            if self._connection.in_transaction:
                self.execute("ROLLBACK")
            self.execute("PRAGMA foreign_keys = ON")


def opened(settings: Settings, make_engine: Callable[[], Engine]) -> Sqlite:
    """The database of these settings. Its file is created if it is not there.

    Raises Unavailable if the file cannot be used, or has the tables of another program.
    """
    path = files.ensured_file(settings)
    with _Translated(path):
        prepare_file(path)
    return Sqlite(make_engine(), path)


@contextmanager
def connect(path: Path, called: Path | None = None) -> Iterator[sqlite3.Connection]:
    """A connection of sqlite3 to a file that exists, without a unit of work, for a copy or a check of it.

    Raises Unavailable if the file cannot be opened or an error of SQLite occurs inside. Its message names
    the file `called`, where the operator knows it by another path.
    """
    uri = f"{path.as_uri()}?mode=rw"
    with _Translated(called or path), closing(sqlite3.connect(uri, uri=True, timeout=TIMEOUT)) as connection:
        configure(connection)
        yield connection


def faults(execute: Callable[[str], Iterable[Any]]) -> list[str]:
    """The faults of the file that `execute` queries, a sentence each; [] for none.

    They are what SQLite's own check finds, and references to rows that do not exist.
    """
    found = [each for (each,) in execute("PRAGMA integrity_check") if each != "ok"]
    return found + [
        f"{table}, row {row}: refers to a row of {parent} that is not there"
        for table, row, parent, _ in execute("PRAGMA foreign_key_check")
    ]


def version_of(execute: Callable[[str], Iterable[Any]]) -> int | None:
    """The version of the schema in the file that `execute` queries: 0 if damaged, None if the tables are not ours."""
    return schema.version(table_names(execute), execute)


def table_names(execute: Callable[[str], Iterable[Any]]) -> set[str]:
    """The names of the tables in the file that `execute` queries."""
    return {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def prepare_file(path: Path) -> None:
    """Set a file's journal to WAL; raises Unavailable, and changes nothing, if it has another program's tables.

    SQLite does not wait for a lock when the kind of journal is changed, so it is tried again here.
    """
    with closing(sqlite3.connect(path, timeout=TIMEOUT, isolation_level=None)) as connection:
        if table_names(connection.execute) and version_of(connection.execute) is None:
            raise Unavailable(f"{path}: {schema.mismatch(None)}")
        deadline = clock.ticks() + TIMEOUT
        while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if clock.ticks() > deadline:
                    raise
                time.sleep(0.02)


def _set_up(connection: sqlite3.Connection, record: object) -> None:  # noqa: ARG001
    """Set up a connection for units of work; `record` is what SQLAlchemy's event gives."""
    configure(connection)
    # What a savepoint would restore is kept in memory: a create in a shared commit takes 5 % less. A migration, which
    # sorts millions of rows, has them in a file.
    connection.execute("PRAGMA temp_store = MEMORY")


def configure(connection: sqlite3.Connection) -> None:
    """Set up a new connection."""
    connection.isolation_level = None  # Python opens no transaction by itself: Sqlite.begin() does
    for pragma in (
        "synchronous = FULL",  # NORMAL loses acknowledged commits when the power goes
        "foreign_keys = ON",
        "secure_delete = FAST",  # deleted rows are overwritten in the file
        "wal_autocheckpoint = 4000",  # pages: the commit that copies the journal into the file is slow, so seldom
    ):
        connection.execute(f"PRAGMA {pragma}")


class _Translated(AbstractContextManager[None]):
    """Turns an error of SQLite into Unavailable; an error of our statements stays as it is.

    A class: a generator for each unit of work would cost more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnicodeDecodeError):  # SQLite's message about the damage has damaged text in it
            raise Unavailable(f"{self._path}: is damaged: {error.reason}") from error
        if not isinstance(error, (DBAPIError, sqlite3.Error)):
            return
        cause = cause_of(error)
        if isinstance(error, SQLAlchemyError) and not isinstance(cause, sqlite3.DatabaseError):
            return
        if isinstance(cause, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            return
        message, _, _ = str(cause).partition(" with text ")  # what follows is the content of a cell
        if (number := getattr(cause, "sqlite_errorcode", 0) & 0xFF) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            message = f"{message}: {_EXPLANATIONS[number]}"
        raise Unavailable(f"{self._path}: {message}") from error
