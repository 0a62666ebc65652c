"""One database and its units of work, on SQLite (one file: the usual choice) or PostgreSQL.

A unit of work is opened by ``with database.writing():`` or ``with database.reading():``. Inside it,
`session()` is its session, and `connection()` its connection, for statements that need no objects.
Units do not nest.
"""

from database.abstract import Database
from database.cells import Cells
from database.engines import ExclusiveDatabase, display_name, engine_options, exclusive, is_there, open_database, using
from database.units import (
    Interrupted,
    Unavailable,
    begin_numbering,
    connection,
    may_write,
    once_more,
    session,
)

__all__ = [
    "Cells",
    "Database",
    "ExclusiveDatabase",
    "Interrupted",
    "Unavailable",
    "begin_numbering",
    "connection",
    "display_name",
    "engine_options",
    "exclusive",
    "is_there",
    "may_write",
    "once_more",
    "open_database",
    "session",
    "using",
]
