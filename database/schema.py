"""The schema: its text, its version, and what to say of any other."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Any

import config

SCHEMA = config.CHECKOUT / "schema.sql"
VERSION = 1
OURS = {"schema_version", "invites"}  # a schema_version alone many programs have


def version(tables: Set[str], execute: Callable[[str], Iterable[Any]]) -> int | None:
    """The version of the schema on which `execute` works; 0 if it no longer says, None if it is none of ours."""
    if not tables >= OURS:
        return None
    ((found,),) = execute("SELECT max(version) FROM schema_version")
    return found if isinstance(found, int) and found > 0 else 0


def misfit(version: int | None) -> str:
    """What to say, and what to do, about a schema of another version than ours, or of none."""
    if version is None:
        return "has tables, but not ours: name another database in INVITE_API_DATABASE_URL"
    if not version:
        return "it no longer says which version its schema is: it is damaged, go back to a backup"
    what = f"its schema is version {version}, this invite-api needs {VERSION}"
    if version < VERSION:
        return f"{what}: stop the server and run invite-api db migrate"
    return f"{what}: install the invite-api that it was used with, or restore a backup from before"


def statements(script: str) -> Iterator[str]:
    """The statements of an SQL script, one by one (`executescript` would commit behind our back)."""
    statement = ""
    for line in script.splitlines(keepends=True):
        if line.lstrip().startswith("--"):
            continue
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
    if statement.strip():
        raise ValueError(f"a statement without its end: {statement.strip()}")
