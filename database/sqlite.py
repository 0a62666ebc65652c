"""SQLite: one file, its manners, its one writer at a time; making and checking the file."""

import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

import clock
import config
from database import files, schema
from database.units import Database, Unavailable, Unit, cause_of

PATIENCE = 5.0  # seconds that a writer waits for its turn
STUCK = 1.0  # seconds for which one waits behind a writer who waits for another process
GLANCE = 0.025  # seconds for another process's lock, once somebody has waited for it in vain
LEAST_FREE = 16 * 1024 * 1024  # bytes: as much as the journal may grow before it is copied into the file
ENGINE_OPTIONS: dict[str, Any] = {"hide_parameters": True, "pool_size": 0, "connect_args": {"timeout": PATIENCE}}

_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full: make room on the disk that holds the database",
    sqlite3.SQLITE_READONLY: "the file may not be written: look whom it and its folder belong to, and their modes",
    sqlite3.SQLITE_PERM: "the file may not be opened: look whom it and its folder belong to, and their modes",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look whom it and its folder belong to, and their modes",
    sqlite3.SQLITE_BUSY: "another program holds the database's lock: look for one that has the file open",
    sqlite3.SQLITE_IOERR: "the disk is full, or reports errors: look into the system's log",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: run invite-api db check, and go back to a backup",
    sqlite3.SQLITE_NOTADB: "the file is damaged: run invite-api db check, and go back to a backup",
}


class Sqlite(Database):
    """A file, in which one writes at a time.

    Writers of this process queue at a lock: much faster and fairer than waiting in SQLite.
    """

    answers_at_once = True

    def __init__(self, engine: Engine, path: Path) -> None:
        super().__init__(engine, str(path))
        event.listen(engine, "connect", teach_manners)
        self._lock = threading.Lock()
        self._waits_since: float | None = None  # whose turn it is, for another process
        self._in_vain_at = -math.inf
        self._path = path
        self._translating = _Translated(path)
        self._file = files.identity(self.called)

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        return _tables(connection.exec_driver_sql)

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, and rows that refer to rows that are not there; [] for nothing."""
        with self.reading() as unit:
            return faults(unit.connection.exec_driver_sql)

    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """How full the disk is that holds the file."""
        return {"disk": self._room}

    def trouble(self, error: Unavailable) -> str:
        """What is wrong, without the path and without SQLite's own words."""
        cause = cause_of(error)
        if cause is None:
            return str(error).removeprefix(f"{self._path}: ")
        number = getattr(cause, "sqlite_errorcode", 0) & 0xFF
        return _WORDS.get(number, "the database cannot be used: look into the log of invite-api")

    def keep_others_out(self, connection: Connection) -> None:
        """Whoever has the file to oneself has the lock beside it."""

    def _room(self) -> str:
        try:
            free = shutil.disk_usage(self._path.parent).free
        except OSError:
            return "the folder of the database is not there: put it back, and restart invite-api"
        return "" if free >= LEAST_FREE else "is nearly full: make room on the disk that holds the database"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self._refuse_if_replaced()
        self._take_turn()
        try:
            yield
        finally:
            self._waits_since = None
            self._lock.release()

    def _take_turn(self) -> None:
        """Wait for one's turn to write, but not behind a writer who waits for another process.

        Else a lock that somebody else holds would in a moment keep every thread.
        """
        deadline = clock.ticks() + PATIENCE
        while not self._lock.acquire(timeout=STUCK / 4):
            since = self._waits_since
            if clock.ticks() > deadline or (since is not None and clock.ticks() - since > STUCK):
                raise Unavailable(f"{self._path}: is locked, or too much is being written")
        self._waits_since = clock.ticks()

    def _begin(self, connection: Connection, writes: bool) -> None:
        """Take the write lock at the start: taken later, it fails at once if another writer was faster."""
        if not writes:
            self._refuse_if_replaced()
        cursor = connection.connection.cursor()
        if writes:
            self._take_lock(cursor)
        else:
            cursor.execute("BEGIN")
        cursor.close()

    def _be_alone(self, connection: Connection) -> None:
        """Whoever writes is."""

    def _take_lock(self, cursor: DBAPICursor) -> None:
        """Wait for another process's lock, but not long if somebody has just waited for it in vain.

        Else each of those who queue would wait as long as the first, one after the other.
        """
        in_vain = clock.ticks() - self._in_vain_at < PATIENCE
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
                cursor.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _translated(self, unit: Unit | None = None) -> AbstractContextManager[None]:  # noqa: ARG002
        return self._translating

    def _refuse_if_replaced(self) -> None:
        """A file that is deleted while it is open still takes what is written, and loses it all at the end."""
        if files.identity(self.called) != self._file:
            raise Unavailable(f"{self._path}: has been deleted or replaced since it was opened: restart invite-api")


class Whole:
    """A file that nobody else works with, to change its schema."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def version(self) -> int | None:
        """The version of its schema, as `schema.version` tells it."""
        return version_of(self._connection.execute)

    def execute(self, statement: str) -> sqlite3.Cursor:
        """Execute one statement."""
        return self._connection.execute(statement)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A change that happens as a whole, or not at all if it leaves anything wrong; raises Unavailable."""
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


def opened(settings: config.Settings, make_engine: Callable[[], Engine]) -> Sqlite:
    """The database of these settings, whose file is made if it is not there; raises Unavailable."""
    path = files.made_file(settings)
    with _Translated(path):
        _make_ours(path)
    return Sqlite(make_engine(), path)


@contextmanager
def connect(path: Path, called: Path | None = None) -> Iterator[sqlite3.Connection]:
    """SQLite's own connection to a file that is there, for work on the file as a whole.

    Raises Unavailable, also for what goes wrong inside, which names the file as it is `called`.
    """
    uri = f"{path.as_uri()}?mode=rw"
    with _Translated(called or path), closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
        teach_manners(connection)
        yield connection


def faults(execute: Callable[[str], Iterable[Any]]) -> list[str]:
    """What SQLite finds wrong with the file on which `execute` works, and references to nothing; [] for nothing."""
    found = [each for (each,) in execute("PRAGMA integrity_check") if each != "ok"]
    return found + [
        f"{table}, row {row}: refers to a row of {parent} that is not there"
        for table, row, parent, _ in execute("PRAGMA foreign_key_check")
    ]


def version_of(execute: Callable[[str], Iterable[Any]]) -> int | None:
    """The version of the schema in the file on which `execute` works, as `schema.version` tells it."""
    return schema.version(_tables(execute), execute)


def _tables(execute: Callable[[str], Iterable[Any]]) -> set[str]:
    return {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _make_ours(path: Path) -> None:
    """Refuse a database that somebody else made, untouched; give an empty or our own one its journal.

    SQLite does not wait for a lock when the journal is changed, so that is done here.
    """
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
        if _tables(connection.execute) and version_of(connection.execute) is None:
            raise Unavailable(f"{path}: {schema.misfit(None)}")
        deadline = clock.ticks() + PATIENCE
        while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if clock.ticks() > deadline:
                    raise
                time.sleep(0.02)


def teach_manners(connection: sqlite3.Connection, record: object = None) -> None:  # noqa: ARG001
    """What every connection to SQLite is told."""
    connection.isolation_level = None  # pysqlite opens no transaction by itself: _begin does
    for pragma in (
        "synchronous = FULL",  # NORMAL loses acknowledged commits when the power goes
        "foreign_keys = ON",
        "secure_delete = FAST",  # what is deleted is overwritten in the file
        "wal_autocheckpoint = 4000",  # pages: whose commit copies them into the file waits, so that be seldom
    ):
        connection.execute(f"PRAGMA {pragma}")


class _Translated(AbstractContextManager[None]):
    """Says Unavailable for what is wrong with the database, and leaves our own mistakes alone."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, UnicodeDecodeError):  # in the very words in which SQLite says what is damaged
            raise Unavailable(f"{self._path}: is damaged: {error.reason}") from error
        if not isinstance(error, (DBAPIError, sqlite3.Error)):
            return
        cause = cause_of(error)
        if isinstance(error, SQLAlchemyError) and not isinstance(cause, sqlite3.DatabaseError):
            return
        if isinstance(cause, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            return
        said, _, _ = str(cause).partition(" with text ")  # a cell that cannot be read, word for word
        raise Unavailable(f"{self._path}: {said}") from error
