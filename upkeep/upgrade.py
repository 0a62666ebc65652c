"""From the schema of one version to that of the next: the steps in migrations/."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import config
import database
from database import Unavailable

FOLDER = config.CHECKOUT / "migrations"


def version_of(connection: sqlite3.Connection) -> int:
    """The version of a database's schema; raises Unavailable if it is none of ours."""
    version = database.version_of(connection.execute)
    if version is None:
        raise Unavailable("this is no database of invite-api")
    if not version:
        raise Unavailable(database.misfit(version))
    return version


def steps(version: int, folder: Path = FOLDER, to: int = database.VERSION) -> list[Path]:
    """The files that lead from a version to another; raises Unavailable where none do."""
    if version > to:
        raise Unavailable(database.misfit(version))
    found = {int(each.name[:4]): each for each in folder.glob("[0-9][0-9][0-9][0-9]_*.sql")}
    wanted = range(version + 1, to + 1)
    if missing := [number for number in wanted if number not in found]:
        raise Unavailable(f"there is no step to version {missing[0]} in {folder}")
    return [found[number] for number in wanted]


def migrate(connection: sqlite3.Connection, chosen: list[Path]) -> Iterator[str]:
    """Take these steps, each as a whole or not at all, and give the name of each that is done."""
    for step in chosen:
        _take(connection, step)
        yield step.stem


def _take(connection: sqlite3.Connection, step: Path) -> None:
    connection.execute("PRAGMA foreign_keys = OFF")  # a table that is rebuilt is away for a moment
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in database.statements(step.read_text()):
            connection.execute(statement)
        connection.execute("UPDATE schema_version SET version = ?", [int(step.name[:4])])
        if wrong := database.faults(connection.execute):
            raise Unavailable(f"{step.name}: {wrong[0]}")
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise Unavailable(f"{step.name}: {error}; nothing of this step was done") from error
        raise
    finally:
        connection.execute("PRAGMA foreign_keys = ON")
