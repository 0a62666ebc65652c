"""An installation moves to another database, on the same engine or another: all of it, or nothing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Result, Table, func, insert, select

import database
from config import Settings
from database import Database, Unavailable, files, lock
from models import Base, SchemaVersion

CHUNK = 1000
EVERYTHING = 2**256

# Each after those that it refers to. Which schema it is the new database knows by itself.
TABLES: Sequence[Table] = [each for each in Base.metadata.sorted_tables if each is not SchemaVersion.__table__]


Begin = Callable[[int], Callable[[int], object]]


def _silently(_: int) -> Callable[[int], object]:
    return lambda _: None


@dataclass
class Sum:
    """What the rows of a table come to, in whatever order they are read."""

    rows: int = 0
    digest: int = 0

    def add(self, row: Sequence[Any]) -> None:
        """Count a row in."""
        self.rows += 1
        told = "\0".join(repr(each) for each in row)
        self.digest = (self.digest + int.from_bytes(hashlib.sha256(told.encode()).digest())) % EVERYTHING


def copy(source: Settings, target: Settings, begin: Begin = _silently) -> dict[str, int]:
    """Copy everything from one database into another that is empty, and compare; how many rows of each table.

    Nobody may use either meanwhile. `begin` is told how many rows there are, and what it returns of how
    many more have been copied. Raises Unavailable, and has then changed nothing.
    """
    with _to_oneself(source) as old, _to_oneself(target, made=True) as new, old.engine.connect() as given:
        old.keep_others_out(given)
        with new.writing() as unit:
            new.keep_others_out(unit.connection)
            _refuse_rows(unit.connection, new.called)
            done = begin(sum(_count(given, table) for table in TABLES))
            sums = {table: _copied(given, unit.connection, table, done) for table in TABLES}
            given.rollback()  # to compare may take longer than PostgreSQL lets a transaction idle
            for table, wanted in sums.items():
                if _sum(unit.connection, table) != wanted:
                    raise Unavailable(f"{new.called}: {table.name} is not what it was; nothing was copied")
        return {table.name: each.rows for table, each in sums.items()}


@contextmanager
def _to_oneself(settings: Settings, made: bool = False) -> Iterator[Database]:
    """A database that nobody else works with; one that is to be `made` need not be there yet."""
    if settings.on_sqlite:
        file = files.made_file(settings) if made else files.found_file(settings)
        with lock.alone(file):
            yield from _opened(settings)
        return
    with database.alone(settings):  # looked at, and let go of: our own connections say that they are there
        pass
    yield from _opened(settings)


def _opened(settings: Settings) -> Iterator[Database]:
    opened = database.open_database(settings)
    try:
        opened.close()  # so that whoever asks to be alone does not meet us
        yield opened
    finally:
        opened.close()


def _refuse_rows(connection: Connection, called: str) -> None:
    for table in TABLES:
        if _count(connection, table):
            raise Unavailable(f"{called}: is not empty (there are {table.name}); nothing was copied")


def _copied(given: Connection, taking: Connection, table: Table, done: Callable[[int], object]) -> Sum:
    """Copy a table; what was read of it comes to."""
    total = Sum()
    for rows in _read(given, table).partitions(CHUNK):
        for row in rows:
            total.add(row)
        taking.execute(insert(table), [row._asdict() for row in rows])
        done(len(rows))
    return total


def _sum(connection: Connection, table: Table) -> Sum:
    total = Sum()
    for row in _read(connection, table):
        total.add(row)
    return total


def _read(connection: Connection, table: Table) -> Result[Any]:
    return connection.execute(select(table), execution_options={"yield_per": CHUNK})


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0
