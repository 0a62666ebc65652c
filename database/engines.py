"""The engine of a database, SQLite or PostgreSQL. Only this module chooses between them, by the settings."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from database import files, lock, sqlite
from database.abstract import Database
from database.units import Unavailable
from settings import Settings


class ExclusiveDatabase(Protocol):
    """A database that no other process uses at this moment, so that its schema may be changed.

    `dialect` is ``sqlite`` or ``postgresql``.
    """

    dialect: str

    @property
    def version(self) -> int | None:
        """The version of its schema: 0 if it is damaged, None if the tables are not ours."""

    def execute(self, statement: str) -> Any:
        """Execute one statement and return its cursor."""

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each row; ``?`` stands in it for a value of the row."""

    def changing(self) -> AbstractContextManager[None]:
        """A transaction: what is executed inside is kept whole or not at all; raises Unavailable."""


def open_database(settings: Settings, make_engine: Callable[[], Engine] | None = None) -> Database:
    """The database of these settings, open; its tables are created if there are none.

    `make_engine` returns SQLAlchemy's engine, where Flask-SQLAlchemy makes it. Raises Unavailable with
    a sentence that names the database and says what to do.
    """

    def engine() -> Engine:
        return make_engine() if make_engine else create_engine(settings.database_url, **engine_options(settings))

    module = sqlite if settings.on_sqlite else _postgresql()
    opened: Database = module.opened(settings, engine)
    try:
        if not opened.is_current():
            opened.create()
    except Unavailable:
        opened.close()
        raise
    return opened


def engine_options(settings: Settings) -> dict[str, Any]:
    """The options for SQLAlchemy's `create_engine`."""
    if settings.on_sqlite:
        return sqlite.ENGINE_OPTIONS
    return dict(_postgresql().engine_options(make_url(settings.database_url)))


def display_name(settings: Settings) -> str:
    """How an operator knows the database of these settings: its file, or its URL without the password."""
    if settings.on_sqlite:
        return str(files.file_of(settings))
    return str(_postgresql().display_name(make_url(settings.database_url)))


def is_there(settings: Settings) -> bool:
    """Whether the database's file is there and not empty. Always true for PostgreSQL, which is not asked."""
    return not settings.on_sqlite or files.is_there(settings)


@contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Use the database beside other processes; raises Unavailable while it is restored or migrated."""
    if not settings.on_sqlite:  # there each connection holds a lock
        yield
        return
    with lock.using(files.ensured_file(settings)):
        yield


@contextmanager
def exclusive(settings: Settings) -> Iterator[ExclusiveDatabase]:
    """The database, for this process only, to change its schema.

    Raises Unavailable while a server or another command uses it.
    """
    if not settings.on_sqlite:
        with _postgresql().exclusive(settings) as opened:
            yield opened
        return
    file = files.existing_file(settings)
    with lock.exclusive(file), sqlite.connect(file) as connection:
        yield sqlite.ExclusiveSqlite(connection)


def _postgresql() -> Any:
    try:
        from database import postgresql  # loaded only when it is used: its driver is slow to load
    except ImportError as error:
        raise Unavailable("PostgreSQL's library is not there: install it (Debian's package is libpq5)") from error
    return postgresql
