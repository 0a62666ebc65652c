"""Copy all data into another database, on the same engine or another: everything, or nothing."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Result, Table, bindparam, func, insert, select, update

import database
from database import Database, Unavailable, files, lock
from models import Base, SchemaVersion
from settings import Settings

CHUNK = 1000  # rows that are read and written at a time

# Each table stands after those that it refers to. The new database has its schema's version already.
TABLES: Sequence[Table] = [each for each in Base.metadata.sorted_tables if each is not SchemaVersion.__table__]

Begin = Callable[[int], Callable[[int], object]]


@dataclass
class Sum:
    """The number of a table's rows, and a checksum that does not depend on the order in which they are read."""

    rows: int = 0
    digest: int = 0

    def add(self, row: Sequence[Any]) -> None:
        """Add a row to the number and the checksum."""
        self.rows += 1
        text = "\0".join(repr(each) for each in row)
        self.digest = (self.digest + int.from_bytes(hashlib.sha256(text.encode()).digest())) % 2**256


def copy(source: Settings, target: Settings, begin: Begin = lambda _: lambda _: None) -> dict[str, int]:
    """Copy everything into an empty database, and compare; returns how many rows each table has, by its name.

    No other process may use either database meanwhile. `begin` is called with the number of all rows, and
    what it returns with the number of rows in each chunk that was copied. Raises Unavailable, and changes
    nothing, if a database is in use or cannot be used, the new one is not empty, or the copy differs.
    """
    with exclusively(source) as old, exclusively(target, create=True) as new, old.engine.connect() as given:
        old.lock_out_others(given)
        with new.writing() as unit:
            new.lock_out_others(unit.connection)
            for table in TABLES:
                if count(unit.connection, table):
                    raise Unavailable(f"{new.name}: is not empty (there are {table.name}); nothing was copied")
            done = begin(sum(count(given, table) for table in TABLES))
            sums = {table: copy_table(given, unit.connection, table, done) for table in TABLES}
            new.count_on(unit.connection)
            given.rollback()  # comparing may take longer than PostgreSQL allows a transaction to be idle
            for table, wanted in sums.items():
                if sum_of(unit.connection, table) != wanted:
                    raise Unavailable(f"{new.name}: {table.name} is not what it was; nothing was copied")
        return {table.name: each.rows for table, each in sums.items()}


@contextmanager
def exclusively(settings: Settings, create: bool = False) -> Iterator[Database]:
    """A database that no other process uses; raises Unavailable if one does. `create` creates a missing file."""
    if settings.on_sqlite:
        file = files.ensured_file(settings) if create else files.existing_file(settings)
        with lock.exclusive(file), opened(settings) as found:
            yield found
        return
    with database.exclusive(settings):  # only checked: our own connections show from then on that they are there
        pass
    with opened(settings) as found:
        yield found


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """A database, open but without a connection; it is closed at the end. Raises Unavailable."""
    found = database.open_database(settings)
    try:
        found.close()  # so that `lock_out_others` does not meet our own connection
        yield found
    finally:
        found.close()


def copy_table(given: Connection, taking: Connection, table: Table, done: Callable[[int], object]) -> Sum:
    """Copy a table from one connection to another; returns the sum of what was read.

    `done` is called with the number of rows in each chunk.
    """
    total = Sum()
    later = {each.parent.name: None for each in table.foreign_keys if each.column.table is table}
    for rows in read(given, table).partitions(CHUNK):
        for row in rows:
            total.add(row)
        taking.execute(insert(table), [row._asdict() | later for row in rows])
        done(len(rows))
    for name in later:
        copy_references(given, taking, table, name)
    return total


def copy_references(given: Connection, taking: Connection, table: Table, name: str) -> None:
    """Copy the column that refers to other rows of the same table, once all of them are there."""
    refer = update(table).where(table.c.id == bindparam("of")).values({name: bindparam("to")})
    query = select(table.c.id.label("of"), table.c[name].label("to")).where(table.c[name].is_not(None))
    for rows in given.execute(query, execution_options={"yield_per": CHUNK}).partitions(CHUNK):
        taking.execute(refer, [row._asdict() for row in rows])


def sum_of(connection: Connection, table: Table) -> Sum:
    """The sum of all rows that a table has."""
    total = Sum()
    for row in read(connection, table):
        total.add(row)
    return total


def read(connection: Connection, table: Table) -> Result[Any]:
    """All rows of a table. They are fetched a chunk at a time, so that memory use stays flat."""
    return connection.execute(select(table), execution_options={"yield_per": CHUNK})


def count(connection: Connection, table: Table) -> int:
    """The number of a table's rows."""
    return connection.scalar(select(func.count()).select_from(table)) or 0
