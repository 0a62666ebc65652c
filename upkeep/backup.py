"""A copy of the database in one file, made while it is in use, checked, with its checksum beside it."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import clock
import config
from database import Unavailable, sqlite

LEFTOVERS = ("", "-journal", "-wal", "-shm")


def make(source: Path, target: Path) -> Path:
    """Back up a database into a file that is not there yet, or into a folder, in a file named after the moment.

    The copy is of one moment, however much is written meanwhile. It is private, checked and on disk
    when this returns the file. Raises Unavailable, and leaves nothing behind.
    """
    file = _absolute(target / f"invites-{moment()}.db" if target.is_dir() else target)
    with _told(file), _reserved(file), _reserved(sums_of(file)):
        with sqlite.connect(source) as connection:
            _copy(connection, file)
        if wrong := _faults(file):
            raise Unavailable(
                f"{source}: is damaged, so that its copy is no backup: {wrong[0]}; see invite-api db check"
            )
        config.sync(file)
        sums_of(file).write_text(f"{digest(file)}  {file.name}\n")
        config.sync(sums_of(file))
        config.sync(file.parent)
    return file


def verify(file: Path, copy: Path) -> bool:
    """Whether there is a checksum beside a backup; raises Unavailable if the copy of it has another."""
    sums = sums_of(file)
    if not sums.exists():
        return False
    if sums.read_text(errors="replace").split()[:1] != [digest(copy)]:
        raise Unavailable(f"{file}: is not whole: its checksum is not the one in {sums.name}; use another backup")
    return True


def sums_of(file: Path) -> Path:
    """Where the checksum of a backup is, in the form that `sha256sum -c` reads."""
    return file.with_name(f"{file.name}.sha256")


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def moment() -> str:
    """Now (UTC), for the name of a file: it sorts by time, and nothing in it needs quoting."""
    return f"{clock.now():%Y%m%dT%H%M%SZ}"


def discard(file: Path) -> None:
    """Delete a file of SQLite's and what SQLite may have put beside it."""
    for end in LEFTOVERS:
        file.with_name(file.name + end).unlink(missing_ok=True)


def _absolute(target: Path) -> Path:
    if str(target) == "-":
        raise Unavailable("-: a backup is a file, which is checked when it is whole: name one, or a folder")
    return target.expanduser().absolute()


@contextmanager
def _reserved(file: Path) -> Iterator[None]:
    """Have the file there, empty and private, before anything is written; delete it if that fails."""
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield
    except BaseException:
        discard(file)
        raise


@contextmanager
def _told(file: Path) -> Iterator[None]:
    """Say what the system will not do, and which file it is about."""
    try:
        yield
    except FileExistsError as error:
        raise Unavailable(f"{error.filename}: is there already, and is not overwritten: name another file") from error
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise Unavailable(f"{file}: the backup cannot be written: {why}") from error


def _copy(connection: sqlite3.Connection, file: Path) -> None:
    try:
        connection.execute("VACUUM INTO ?", [str(file)])
    except sqlite3.OperationalError as error:  # damage is another kind of error, and is the source's
        raise Unavailable(f"{file}: the backup cannot be written: {error}") from error


def _faults(file: Path) -> list[str]:
    """What is wrong with a copy, which is only looked at."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        return sqlite.faults(connection.execute)
