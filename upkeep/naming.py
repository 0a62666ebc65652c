"""The half of a migration that gives constraints the names that they have in a new database."""

from database import ExclusiveDatabase

_OF_TABLES_BUILT_ANEW = r"""
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND conname LIKE '%\_anew\_%'
"""


def name(opened: ExclusiveDatabase) -> None:
    """Rename the constraints of tables that were built under another name, from which PostgreSQL has derived theirs.

    On SQLite they have no names.
    """
    if opened.dialect == "postgresql":
        for table, called in opened.execute(_OF_TABLES_BUILT_ANEW).fetchall():
            opened.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {called} TO {called.replace('_anew_', '_')}")
