"""Which engine a database is on, from its settings: the one place that asks."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

from config import Settings
from database import files, lock, sqlite
from database.units import Database, Unavailable


class Whole(Protocol):
    """A database that somebody has alone, to change its schema."""

    @property
    def version(self) -> int | None:
        """The version of its schema, as `schema.version` tells it."""

    def execute(self, statement: str) -> Any:
        """Execute one statement."""

    def changing(self) -> AbstractContextManager[None]:
        """A context of changes that happen as a whole or not at all."""


def open_database(settings: Settings, make_engine: Callable[[], Engine] | None = None) -> Database:
    """Open the database of these settings, making it at the first start.

    `make_engine` gives the engine where somebody else (Flask-SQLAlchemy) keeps it. Raises
    Unavailable with a sentence that names the database and what to do.
    """

    def engine() -> Engine:
        return make_engine() if make_engine else create_engine(settings.database_url, **engine_options(settings))

    at = sqlite if settings.on_sqlite else _postgresql()
    opened: Database = at.opened(settings, engine)
    try:
        if not opened.is_current():
            opened.create()
    except Unavailable:
        opened.close()
        raise
    return opened


def engine_options(settings: Settings) -> dict[str, Any]:
    """What SQLAlchemy is to be told of the engine."""
    if settings.on_sqlite:
        return sqlite.ENGINE_OPTIONS
    return dict(_postgresql().engine_options(make_url(settings.database_url)))


def called(settings: Settings) -> str:
    """What an operator knows the database of these settings by: a file, or a URL without its password."""
    if settings.on_sqlite:
        return str(files.file_of(settings))
    return str(_postgresql().called(make_url(settings.database_url)))


def is_there(settings: Settings) -> bool:
    """Whether looking for something in this database could find anything, as far as can be told without asking it."""
    return not settings.on_sqlite or files.is_there(settings)


@contextmanager
def using(settings: Settings) -> Iterator[None]:
    """Work with the database among others; raises Unavailable while it is restored or migrated.

    PostgreSQL sees by itself who is connected.
    """
    if not settings.on_sqlite:
        yield
        return
    with lock.using(files.made_file(settings)):
        yield


@contextmanager
def alone(settings: Settings) -> Iterator[Whole]:
    """Have the database to oneself; raises Unavailable while a server or another command works with it."""
    if not settings.on_sqlite:
        with _postgresql().alone(settings) as whole:
            yield whole
        return
    file = files.found_file(settings)
    with lock.alone(file), sqlite.connect(file) as connection:
        yield sqlite.Whole(connection)


def _postgresql() -> Any:
    try:
        from database import postgresql  # its driver is slow to load
    except ImportError as error:
        raise Unavailable("PostgreSQL's library is not there: install it (Debian's package is libpq5)") from error
    return postgresql
