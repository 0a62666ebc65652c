"""One database and its units of work, on SQLite (one file, the usual thing) or PostgreSQL.

Work is done inside ``with database.writing():`` or ``with database.reading():``; inside, and only
inside, `session()` is the session of the unit that is open, and `connection()` what it works on, for
statements that need no objects. Units do not nest.
"""

from database.engines import Whole, alone, called, engine_options, is_there, open_database, using
from database.units import Database, Interrupted, Unavailable, connection, may_write, once_more, session

__all__ = [
    "Database",
    "Interrupted",
    "Unavailable",
    "Whole",
    "alone",
    "called",
    "connection",
    "engine_options",
    "is_there",
    "may_write",
    "once_more",
    "open_database",
    "session",
    "using",
]
