"""One database and its units of work; SQLite's manners; making and checking the file.

Work is done inside ``with database.writing():`` or ``with database.reading():``; inside, and only
inside, `session()` is the session of the unit that is open, and `connection()` what it works on, for
statements that need no objects. Units do not nest.
"""

import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

import clock
import config

SCHEMA = config.CHECKOUT / "schema.sql"
VERSION = 1
OURS = {"schema_version", "invites"}  # a schema_version alone many programs have
PATIENCE = 5.0  # seconds that a writer waits for its turn
STUCK = 1.0  # seconds after which a turn must be waiting for another process
# As many connections as there are threads: one that waits for another's would hold up more than itself.
ENGINE_OPTIONS: dict[str, Any] = {"hide_parameters": True, "pool_size": 0, "connect_args": {"timeout": PATIENCE}}


class Unavailable(Exception):
    """The database cannot be used now. The message is for the operator, not for callers."""


class Unit:
    """One unit of work: a transaction, with a connection and a session in it from when they are asked for."""

    def __init__(self, held: Connection, writes: bool) -> None:
        self._held = held
        self.writes = writes
        self.dialect = held.dialect

    @cached_property
    def connection(self) -> Connection:
        """What SQLAlchemy executes statements on."""
        self._held.begin()
        return self._held

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
        """Have all of it happen."""
        self.flush()
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


class _Held(threading.local):
    """What a thread keeps for itself."""

    connection: Connection | None = None


class Database:
    """A database, and the two kinds of work to be done with it."""

    def __init__(self, engine: Engine, path: Path) -> None:
        event.listen(engine, "connect", teach_manners)
        self.engine = engine
        self._held = _Held()
        self._turn = threading.Lock()
        self._turn_began: float | None = None
        self._in_vain_at = -math.inf
        self._path = path
        self._file = _identity(path)

    def reading(self) -> AbstractContextManager[Unit]:
        """A consistent view of the database. Whatever is changed in it is forgotten."""
        self._refuse_if_replaced()
        return self._opened(writes=False)

    @contextmanager
    def writing(self) -> Iterator[Unit]:
        """A change that happens as a whole, and is on disk when this ends, or not at all.

        Writers of this process queue at a lock: much faster and fairer than waiting in SQLite.
        """
        self._refuse_if_replaced()
        self._take_turn()
        try:
            with self._opened(writes=True) as unit:
                yield unit
                unit.commit()
        finally:
            self._turn_began = None
            self._turn.release()

    def create(self) -> None:
        """Make the tables where there are none; raise Unavailable if they are of another version."""
        with self.writing() as unit:
            connection = unit.connection
            if not _tables(connection.exec_driver_sql):
                for statement in statements(SCHEMA.read_text()):
                    connection.exec_driver_sql(statement)
            version = version_of(connection.exec_driver_sql)
        if version != VERSION:
            raise Unavailable(f"{self._path}: {misfit(version)}")

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file, and rows that refer to rows that are not there; [] for nothing."""
        with self.reading() as unit:
            return faults(unit.connection.exec_driver_sql)

    def _take_turn(self) -> None:
        """Wait for one's turn to write, but not behind a writer who waits for another process.

        Else a lock that somebody else holds would in a moment keep every thread.
        """
        deadline = clock.ticks() + PATIENCE
        while not self._turn.acquire(timeout=STUCK / 4):
            began = self._turn_began
            if clock.ticks() > deadline or (began is not None and clock.ticks() - began > STUCK):
                raise Unavailable(f"{self._path}: is locked, or too much is being written")
        self._turn_began = clock.ticks()

    @contextmanager
    def _opened(self, writes: bool) -> Iterator[Unit]:
        """A unit on this thread's connection; what is not committed in it is rolled back."""
        if _current.get() is not None:
            raise RuntimeError("units of work do not nest: a change inside a reading would not be locked")
        try:
            with _translated(self._path):
                connection = self._connection()
                unit = Unit(connection, writes)
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
        """This thread's own: to take one from the engine for each unit costs as much as a query."""
        held = self._held.connection
        if held is None or held.closed:
            held = self._held.connection = self.engine.connect()
        return held

    def close(self) -> None:
        """Let go of this thread's connection, and of those whose threads have ended."""
        if self._held.connection:
            self._held.connection.close()
        self.engine.dispose()

    def _begin(self, connection: Connection, writes: bool) -> None:
        """Take the write lock at the start: taken later, it fails at once if another writer was faster."""
        cursor = connection.connection.cursor()
        if writes:
            self._lock(cursor)
        else:
            cursor.execute("BEGIN")
        cursor.close()

    def _lock(self, cursor: DBAPICursor) -> None:
        """Wait for another process's lock, but not long if somebody has just waited for it in vain.

        Else each of those who queue would wait as long as the first, one after the other.
        """
        in_vain = clock.ticks() - self._in_vain_at < PATIENCE
        if in_vain:
            cursor.execute(f"PRAGMA busy_timeout = {STUCK / 4 * 1000:.0f}")
        try:
            cursor.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self._in_vain_at = self._in_vain_at if in_vain else clock.ticks()
            raise
        finally:
            if in_vain:
                cursor.execute(f"PRAGMA busy_timeout = {PATIENCE * 1000:.0f}")

    def _refuse_if_replaced(self) -> None:
        """A file that is deleted while it is open still takes what is written, and loses it all at the end."""
        if _identity(self._path) != self._file:
            raise Unavailable(f"{self._path}: has been deleted or replaced since it was opened: restart invite-api")


def open_database(settings: config.Settings, make_engine: Callable[[], Engine] | None = None) -> Database:
    """Open the database of these settings, making it at the first start.

    `make_engine` gives the engine where somebody else (Flask-SQLAlchemy) keeps it. Raises
    Unavailable with a sentence that names the file and what to do.
    """
    path = made_file(settings)
    with _translated(path):
        _make_ours(path)
    engine = make_engine() if make_engine else create_engine(settings.database_url, **ENGINE_OPTIONS)
    opened = Database(engine, path)
    if not _is_current(opened):
        opened.create()
    return opened


def is_there(settings: config.Settings) -> bool:
    """Whether these settings name a database that has been made."""
    path = file_of(settings)
    return path.is_file() and path.stat().st_size > 0


def file_of(settings: config.Settings) -> Path:
    """The SQLite file these settings name, as an absolute path."""
    return Path(make_url(settings.database_url).database or "").absolute()


def made_file(settings: config.Settings) -> Path:
    """The SQLite file these settings name, made, empty and private, if it is not there; raises Unavailable."""
    path = file_of(settings)
    config.make_private(settings.instance)
    _make_file(path)
    return path


def found_file(settings: config.Settings) -> Path:
    """The SQLite file these settings name, which must be there and ours; raises Unavailable."""
    path = file_of(settings)
    try:
        refuse_foreign(path)
    except FileNotFoundError as error:
        raise Unavailable(f"{path}: there is no database yet; the first start of invite-api makes it") from error
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{config.as_owner(path)}") from error
    return path


def refuse_foreign(path: Path) -> None:
    """Refuse to touch another user's file; raises Unavailable, or OSError if it is not there."""
    if path.stat().st_uid != os.geteuid():
        raise Unavailable(f"{path}: belongs to another user{config.as_owner(path)}")


@contextmanager
def connect(path: Path, called: Path | None = None) -> Iterator[sqlite3.Connection]:
    """SQLite's own connection to a file that is there, for work on the file as a whole.

    Raises Unavailable, also for what goes wrong inside, which names the file as it is `called`.
    """
    uri = f"{path.as_uri()}?mode=rw"
    with _translated(called or path), closing(sqlite3.connect(uri, uri=True, timeout=PATIENCE)) as connection:
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
    """The version of the schema on which `execute` works; 0 if it no longer says, None if it is none of ours."""
    if not _tables(execute) >= OURS:
        return None
    ((version,),) = execute("SELECT max(version) FROM schema_version")
    return version if isinstance(version, int) and version > 0 else 0


def misfit(version: int | None) -> str:
    """What to say, and what to do, about a schema of another version than ours, or of none."""
    if version is None:
        return "has tables, but not ours: name another file in INVITE_API_DATABASE_URL"
    if not version:
        return "it no longer says which version its schema is: it is damaged, go back to a backup"
    what = f"its schema is version {version}, this invite-api needs {VERSION}"
    if version < VERSION:
        return f"{what}: stop the server and run invite-api db migrate"
    return f"{what}: install the invite-api that it was used with, or restore a backup from before"


def statements(script: str) -> Iterator[str]:
    """The statements of an SQL script, one by one (`executescript` would commit behind our back)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        if line.lstrip().startswith("--"):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip():
        raise ValueError(f"a statement without its end: {statement.strip()}")


def _is_current(database: Database) -> bool:
    """Whether the schema is there and ours, found without waiting for a turn to write."""
    with database.reading() as unit:
        return version_of(unit.connection.exec_driver_sql) == VERSION


def _tables(execute: Callable[[str], Iterable[Any]]) -> set[str]:
    return {name for (name,) in execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _make_file(path: Path) -> None:
    """Have the file there, readable by its owner alone; refuse to touch another user's."""
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            config.sync(path.parent)
        refuse_foreign(path)
    except OSError as error:
        hint = config.as_owner(path.parent) if isinstance(error, PermissionError) else ""
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{hint}") from error


def _make_ours(path: Path) -> None:
    """Refuse a database that somebody else made, untouched; give an empty or our own one its journal.

    SQLite does not wait for a lock when the journal is changed, so that is done here.
    """
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
        if _tables(connection.execute) and version_of(connection.execute) is None:
            raise Unavailable(f"{path}: {misfit(None)}")
        deadline = clock.ticks() + PATIENCE
        while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if clock.ticks() > deadline:
                    raise
                time.sleep(0.02)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever it is called."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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


def _roll_back(connection: Connection) -> None:
    """Forget what is not committed; give up a connection that cannot even do that."""
    try:
        if connection.in_transaction():
            connection.rollback()
        else:
            connection.connection.rollback()
    except (SQLAlchemyError, sqlite3.Error):
        _give_up(connection)


def _give_up(connection: Connection) -> None:
    """Have a connection closed, and a new one made by the next unit."""
    if not connection.closed:
        connection.invalidate()
        connection.close()


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Say Unavailable for what is wrong with the database, and leave our own mistakes alone."""
    try:
        yield
    except UnicodeDecodeError as error:  # in the very words in which SQLite says what is damaged
        raise Unavailable(f"{path}: is damaged: {error.reason}") from error
    except (DBAPIError, sqlite3.Error) as error:
        cause = getattr(error, "orig", None) or error
        if isinstance(error, SQLAlchemyError) and not isinstance(cause, sqlite3.DatabaseError):
            raise
        if isinstance(cause, (sqlite3.IntegrityError, sqlite3.ProgrammingError)):
            raise
        said, _, _ = str(cause).partition(" with text ")  # a cell that cannot be read, word for word
        raise Unavailable(f"{path}: {said}") from error
