"""Statements that are run again and again: compiled once, and run by the database's own driver.

Only what SQLAlchemy documents is used: the SQL of this kind of database, what turns a value on its way in and
out, and the driver's cursor. To have SQLAlchemy run them, by Connection.execute(), takes longer: a create 18 %,
verify 31 %, view 35 %, accept 43 %, the page 16 %; by exec_driver_sql() 14, 32, 27, 32 and 9 %
(`python bench/hot_paths.py --beside CHECKOUT`, with a checkout in which `run` does so).
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Insert
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import IntegrityError

from database.cells import Cells
from database.units import current


class Statement:
    """A statement that is built once. Each run gives a value to each of its parameters, by name."""

    def __init__(self, built: Any) -> None:
        self.built = built
        self._compiled: dict[str, _Compiled] = {}

    def run(self, **values: Any) -> Sequence[Any]:
        """Run it in the unit of work that is open here; its rows, as named tuples.

        Raises SQLAlchemy's IntegrityError for what a constraint refuses, and otherwise what the driver raises.
        """
        unit = current()
        compiled = self._compiled.get(unit.dialect.name)
        if compiled is None:
            compiled = self._compiled[unit.dialect.name] = _Compiled(self.built, unit.dialect, values)
        return compiled.run(unit.cursor(), values)

    def first(self, **values: Any) -> Any:
        """Run it in the unit of work that is open here; its first row as a named tuple, None where there is none."""
        rows = self.run(**values)
        return rows[0] if rows else None

    def value(self, **values: Any) -> Any:
        """Run it in the unit of work that is open here; the first column of its first row, None where there is none."""
        rows = self.run(**values)
        return rows[0][0] if rows else None


class _Compiled:
    """A statement in the words of one kind of database."""

    def __init__(self, built: Any, dialect: Dialect, values: Mapping[str, Any]) -> None:
        compiled = built.compile(dialect=dialect, column_keys=list(values) if isinstance(built, Insert) else None)
        columns = list(getattr(built, "exported_columns", ()))
        given = compiled.construct_params(values)
        self._driver = dialect.loaded_dbapi
        self._text, self._order, self._names = str(compiled), compiled.positiontup, list(given)
        self._constants = {name: value for name, value in given.items() if name not in values}
        kinds = {name: each.type.dialect_impl(dialect) for each, name in compiled.bind_names.items()}
        self._going_in = [(name, turn) for name, kind in kinds.items() if (turn := kind.bind_processor(dialect))]
        self._coming_out = [
            (place, turn)
            for place, each in enumerate(columns)
            if (turn := each.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        self._cells = Cells(built)
        row: Any = namedtuple("Row", [each.key for each in columns])  # type: ignore[misc]
        self._row = row._make

    def run(self, cursor: DBAPICursor, values: Mapping[str, Any]) -> Sequence[Any]:
        """Its rows for these values."""
        given = {**self._constants, **values}
        for name, turn in self._going_in:
            given[name] = turn(given[name])
        sent = [given[name] for name in self._order] if self._order else {name: given[name] for name in self._names}
        try:
            cursor.execute(self._text, sent)
            return [self._read(row) for row in cursor.fetchall()] if cursor.description else ()
        except self._driver.Error as error:
            error.args = tuple(str(each).partition("\n")[0] for each in error.args)  # PostgreSQL goes on with the row
            if isinstance(error, self._driver.IntegrityError):
                raise IntegrityError(None, None, error) from error
            raise
        finally:
            cursor.close()

    def _read(self, row: Sequence[Any]) -> Any:
        read = list(row)
        for place, turn in self._coming_out:
            read[place] = turn(read[place])
        self._cells.check(read)
        return self._row(read)
