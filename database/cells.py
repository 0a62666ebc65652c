"""What the cells of a row may hold: a damaged one is refused where rows are read, before a rule works with it.

SQLite keeps no checksums: after a flipped bit a cell that must not be empty may be so, and a text may be bytes.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from sqlite3 import SQLITE_CORRUPT, DatabaseError
from typing import Any, TypeVar

from sqlalchemy import Column, Join, Select, event, inspect
from sqlalchemy.orm import Mapper

Row = TypeVar("Row", bound=Sequence[Any])

# The kinds of rows and objects that were found sound. There are few, and to look at each cell again takes longer.
_SOUND = set[tuple[Any, ...]]()


class Cells:
    """The cells of each row of a query: of which type each is, and whether it may be empty."""

    def __init__(self, query: Any) -> None:
        """Look at the columns of a query that gives columns, no objects."""
        columns = list(getattr(query, "exported_columns", ()))
        froms = query.get_final_froms() if isinstance(query, Select) else ()
        optional = {table for each in froms for table in _optional(each)}
        self._may = [(_name(each), _kinds(each, optional)) for each in columns]

    def check(self, row: Sequence[Any]) -> None:
        """Raise DatabaseError if a cell of this row holds what it must not: the file was changed or damaged."""
        kinds = (self, *map(type, row))
        if kinds not in _SOUND:
            for cell, (name, may) in zip(row, self._may, strict=True):
                _refuse(name, type(cell), may)
            _SOUND.add(kinds)

    def checked(self, rows: Sequence[Row]) -> Sequence[Row]:
        """These rows, each of which is checked."""
        for row in rows:
            self.check(row)
        return rows


def _refuse(name: str, kind: type, may: tuple[type, ...]) -> None:
    if may and kind not in may:
        damaged = DatabaseError(f"{name}: a cell is empty that must not be, or holds something of another kind")
        damaged.sqlite_errorcode = SQLITE_CORRUPT
        raise damaged


def _name(column: Any) -> str:
    return str(column) if isinstance(column, Column) else str(column.key)


def _kinds(column: Any, optional: Iterable[Any] = ()) -> tuple[type, ...]:
    """The types of what a column may hold; () where that is not known."""
    try:
        kind = column.type.python_type
    except NotImplementedError:
        return ()
    is_filled = isinstance(column, Column) and not column.nullable and column.table not in optional
    return (kind,) if is_filled else (kind, type(None))


def _optional(source: Any) -> Iterator[Any]:
    """The tables of which a row may be missing in a join: then all of their columns are empty."""
    if isinstance(source, Join):
        yield from _tables(source.right) if source.isouter else _optional(source.right)
        yield from _optional(source.left)


def _tables(source: Any) -> Iterator[Any]:
    if isinstance(source, Join):
        yield from (*_tables(source.left), *_tables(source.right))
    else:
        yield source


@cache
def _of(model: Any) -> Sequence[tuple[str, str, tuple[type, ...]]]:
    """The columns of a mapped class: the attribute, the column's name, and the types of what it may hold."""
    mapper: Any = inspect(model)
    columns = ((mapper.get_property_by_column(each).key, each) for each in mapper.columns)
    return [(name, str(column), _kinds(column)) for name, column in columns]


@event.listens_for(Mapper, "load")
@event.listens_for(Mapper, "refresh")
def _check_object(loaded: Any, *_: Any) -> None:
    """Refuse an object that was read from a damaged row, as `Cells.check` does."""
    values = vars(loaded)
    model: Any = type(loaded)
    kinds = (model, *values, *map(type, values.values()))
    if kinds not in _SOUND:
        for name, column, may in _of(model):
            if name in values:
                _refuse(column, type(values[name]), may)
        _SOUND.add(kinds)
