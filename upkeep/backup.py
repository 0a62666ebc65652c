"""A backup: a checked copy of the database in one file, made while it is in use, with a checksum beside it."""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import clock
from database import Unavailable, sqlite
from settings import sync

LEFTOVERS = ("", "-journal", "-wal", "-shm")


def make(source: Path, target: Path) -> Path:
    """Back up the database in the file `source`; returns the backup's file.

    `target` is a file that does not exist, or a folder, in which the backup is named after the time. The
    copy is of one moment, also while the database is written to. It is private, checked, and on disk when
    this returns. Raises Unavailable, and leaves no file behind, if it cannot be made.
    """
    file = target / f"invites-{moment()}.db" if target.is_dir() else target
    if str(file) == "-":
        raise Unavailable("-: a backup is a file, which is checked when it is whole: name one, or a folder")
    file = file.expanduser().absolute()
    with explained(file), reserved(file), reserved(sums_of(file)):
        copy_checked(source, file)
        sync(file)
        sums_of(file).write_text(f"{digest(file)}  {file.name}\n")
        sync(sums_of(file))
        sync(file.parent)
    return file


def copy_checked(source: Path, file: Path) -> None:
    """Copy a database into an empty file, and check the copy; raises Unavailable if that fails or finds damage."""
    with sqlite.connect(source) as connection:
        try:
            connection.execute("VACUUM INTO ?", [str(file)])
        except sqlite3.OperationalError as error:  # damage of the source is another class of error
            raise Unavailable(f"{file}: the backup cannot be written: {error}") from error
    # Read-only, so that SQLite puts no file beside the copy.
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
        wrong = sqlite.faults(connection.execute)
    if wrong:
        raise Unavailable(f"{source}: is damaged, so that its copy is no backup: {wrong[0]}; see invite-api db check")


def verify(file: Path, copy: Path) -> bool:
    """Compare a copy of a backup with the checksum beside the backup; returns False if there is no checksum.

    Raises Unavailable if the copy has another checksum.
    """
    sums = sums_of(file)
    if not sums.exists():
        return False
    if sums.read_text(errors="replace").split()[:1] != [digest(copy)]:
        raise Unavailable(f"{file}: is not whole: its checksum is not the one in {sums.name}; use another backup")
    return True


def sums_of(file: Path) -> Path:
    """The file with a backup's checksum, which `sha256sum -c` reads."""
    return file.with_name(f"{file.name}.sha256")


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def moment() -> str:
    """The time (UTC) for the name of a file, such as 20261128T090500Z. Such names sort by time."""
    return f"{clock.now():%Y%m%dT%H%M%SZ}"


def discard(file: Path) -> None:
    """Delete a database file, and the journals that SQLite may have put beside it."""
    for end in LEFTOVERS:
        file.with_name(file.name + end).unlink(missing_ok=True)


@contextmanager
def reserved(file: Path) -> Iterator[None]:
    """Create a file, empty and private, to be written inside; delete it if an error occurs. Raises OSError."""
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield
    except BaseException:
        discard(file)
        raise


@contextmanager
def explained(file: Path) -> Iterator[None]:
    """Inside, an OSError becomes an Unavailable that names the file and says what to do."""
    try:
        yield
    except FileExistsError as error:
        raise Unavailable(f"{error.filename}: is there already, and is not overwritten: name another file") from error
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        raise Unavailable(f"{file}: the backup cannot be written: {why}") from error
