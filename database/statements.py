"""Statements that are run again and again: compiled once, and run by the database's own driver.

To have SQLAlchemy run one takes several times as long as SQLite needs for it. What SQLAlchemy knows
is still used: the SQL of this kind of database, and what a value is turned into on its way in and out.
"""

from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect, Insert
from sqlalchemy.exc import DBAPIError

from database.units import cursor, dialect


class Statement:
    """A statement that is built once. Each run gives a value to each of its parameters, by name."""

    def __init__(self, built: Any) -> None:
        self._built = built
        self._compiled: dict[str, _Compiled] = {}

    def run(self, **values: Any) -> Sequence[Any]:
        """Run it in the unit of work that is open here; its rows, as named tuples. Raises what SQLAlchemy would."""
        spoken = dialect()
        compiled = self._compiled.get(spoken.name)
        if compiled is None:
            compiled = self._compiled[spoken.name] = _Compiled(self._built, spoken, values)
        return compiled.run(cursor(), values)

    def first(self, **values: Any) -> Any:
        """Likewise; the first of its rows, None where there is none."""
        rows = self.run(**values)
        return rows[0] if rows else None

    def value(self, **values: Any) -> Any:
        """Likewise; what stands first in the first of its rows, None where there is none."""
        rows = self.run(**values)
        return rows[0][0] if rows else None


class _Compiled:
    """A statement in the words of one kind of database."""

    def __init__(self, built: Any, dialect: Dialect, values: Mapping[str, Any]) -> None:
        compiled = built.compile(dialect=dialect, column_keys=list(values) if isinstance(built, Insert) else None)
        columns = list(getattr(built, "exported_columns", ()))
        self._error, self._dialect = dialect.loaded_dbapi.Error, dialect
        self._text, self._order = compiled.string, compiled.positiontup
        self._constants = {name: each.value for each, name in compiled.bind_names.items() if not each.required}
        self._names = list(compiled.bind_names.values())
        kinds = {name: each.type.dialect_impl(dialect) for each, name in compiled.bind_names.items()}
        self._going_in = [(name, turn) for name, kind in kinds.items() if (turn := kind.bind_processor(dialect))]
        self._coming_out = [
            (place, turn)
            for place, each in enumerate(columns)
            if (turn := each.type.dialect_impl(dialect).result_processor(dialect, None))
        ]
        row: Any = namedtuple("Row", [each.key for each in columns])  # type: ignore[misc]
        self._row = row._make

    def run(self, cursor: Any, values: Mapping[str, Any]) -> Sequence[Any]:
        """Its rows for these values."""
        given = {**self._constants, **values}
        for name, turn in self._going_in:
            given[name] = turn(given[name])
        sent = [given[name] for name in self._order] if self._order else {name: given[name] for name in self._names}
        try:
            cursor.execute(self._text, sent)
            return [self._read(row) for row in cursor.fetchall()] if cursor.description else ()
        except self._error as error:
            error.args = tuple(str(each).partition("\n")[0] for each in error.args)  # PostgreSQL goes on with the row
            raise DBAPIError.instance(
                None, None, error, self._error, hide_parameters=True, dialect=self._dialect
            ) from error
        finally:
            cursor.close()

    def _read(self, row: Sequence[Any]) -> Any:
        read = list(row)
        for place, turn in self._coming_out:
            read[place] = turn(read[place])
        return self._row(read)
