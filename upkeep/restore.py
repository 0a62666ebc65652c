"""Restore: a backup replaces the database in one step, while no process uses it; the former one is kept."""

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database import Unavailable, files, lock, shape, sqlite
from settings import Settings, as_owner, make_private, sync
from upkeep import backup, carry_over, upgrade

_SIGN_OUT = (
    "DELETE FROM sessions",
    "DELETE FROM access_tokens",
    "DELETE FROM codes",
)
# A program that reads what happened remembers a number. Those that were given after the backup are not given again,
# also where the database that has them is gone.
_LEAVE_A_GAP = (
    "INSERT INTO main.sqlite_sequence (name, seq) SELECT 'events', 0 "
    "WHERE NOT EXISTS (SELECT 1 FROM main.sqlite_sequence WHERE name = 'events')",
    "UPDATE main.sqlite_sequence SET seq = seq + 1000000 WHERE name = 'events'",
)


class Restore:
    """A restore that is ready: a checked copy of the backup, the `draft`, in the folder of the database.

    `notes` are sentences for the operator. `findings` are what is lost, comes back or stays closed by it.
    """

    def __init__(self, path: Path, draft: Path) -> None:
        self.path, self.draft = path, draft
        self.notes: list[str] = []
        self.findings: list[carry_over.Finding] = []

    def finish(self) -> Path | None:
        """Replace the database by the draft, in one step; returns the file that keeps the former one, None if none."""
        kept = keep_aside(self.path) if self.path.exists() else None
        os.replace(self.draft, self.path)
        sync(self.path.parent)
        return kept


@contextmanager
def prepared(settings: Settings, file: Path, reopen: bool = False) -> Iterator[Restore]:
    """Prepare a backup to be the database; nothing is changed unless `finish` is called inside.

    `reopen` makes invites active again that were used or revoked since, and enables accounts again. Raises
    Unavailable if the backup is damaged or of a newer version, or the database is in use.
    """
    path = files.file_of(settings).resolve()
    make_private(settings.instance)
    try:
        files.refuse_foreign(path if path.exists() else path.parent)
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{as_owner(path)}") from error
    with lock.exclusive(path), copied(file, path) as draft:
        made = Restore(path, draft)
        if not backup.verify(file, draft):
            made.notes.append(f"there is no {backup.sums_of(file).name} beside it to compare it with")
        with sqlite.connect(draft, file) as connection:
            bring_up_to_date(connection, file, made)
            end_sessions(connection)
            if files.is_there(settings):
                compare(connection, made, reopen)
            for each in _LEAVE_A_GAP:
                connection.execute(each)
            connection.execute("PRAGMA main.journal_mode = DELETE")  # so that all is in one file, which is renamed
        sync(draft)
        yield made


@contextmanager
def copied(file: Path, path: Path) -> Iterator[Path]:
    """A private copy of a file in the folder of `path`. It is deleted at the end, unless it was moved.

    Raises Unavailable if the file cannot be read or the copy cannot be written.
    """
    draft = path.with_name(f"{path.name}.restoring")
    backup.discard(draft)  # a restore that was killed may have left one
    if file.exists() and not file.is_file():  # reading a pipe or a device may never end
        raise Unavailable(f"{file}: is no file; nothing was changed")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        for end in ("", "-wal"):  # a copy that was not made by `backup` may have a journal
            if file.with_name(file.name + end).exists() or not end:
                shutil.copyfile(file.with_name(file.name + end), draft.with_name(draft.name + end))
        yield draft
    except OSError as error:
        raise Unavailable(f"{error.filename or draft}: {error.strerror}; nothing was changed") from error
    finally:
        backup.discard(draft)


def bring_up_to_date(connection: sqlite3.Connection, file: Path, made: Restore) -> None:
    """Migrate the draft, and note the steps; raises Unavailable if it is damaged, not ours or of a newer version."""
    try:
        if wrong := sqlite.faults(connection.execute):
            raise Unavailable(f"is damaged: {wrong[0]}")
        opened = sqlite.ExclusiveSqlite(connection)
        done = list(upgrade.migrate(opened, upgrade.steps(upgrade.version_of(opened))))
        if wrong := shape.differences(connection.execute):
            raise Unavailable(f"is not a database of invite-api: {wrong[0]}")
    except Unavailable as error:
        raise Unavailable(f"{file}: {error}") from error
    made.notes += [f"migrated: {each}" for each in done]


def end_sessions(connection: sqlite3.Connection) -> None:
    """End all sessions and delete all codes: they may have ended, or been tried or used, since the backup."""
    for statement in _SIGN_OUT:
        connection.execute(statement)


def compare(connection: sqlite3.Connection, made: Restore, reopen: bool) -> None:
    """Compare the draft with the present database; add what is found, or a note if they cannot be compared."""
    try:
        made.findings += carry_over.carry_over(connection, made.path, reopen)
    except sqlite3.Error as error:
        made.notes.append(
            f"the present database cannot be compared ({error}): invites that were used or revoked since the backup "
            "will be active again, and those created since are lost; see invite-api invite list"
        )


def keep_aside(path: Path) -> Path:
    """Give the database a second name and return it; the first is free for another file, without a journal beside it.

    Raises Unavailable if another program has the file open.
    """
    empty_journal(path)
    kept = unused(path.with_name(f"{path.stem}-before-restore-{backup.moment()}{path.suffix}"))
    try:
        os.link(path, kept)
    except OSError:  # FAT, some NAS and FUSE have no links
        copy_whole(path, kept)
    journal = path.with_name(f"{path.name}-wal")
    if journal.exists():  # SQLite could not read the file; the restored one must not be given this journal
        journal.rename(kept.with_name(f"{kept.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return kept


def copy_whole(path: Path, kept: Path) -> None:
    """Copy a file under a name that appears when the copy is on disk; raises OSError."""
    draft = path.with_name(f"{path.name}.keeping")
    draft.unlink(missing_ok=True)  # a restore that was killed may have left one
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        shutil.copyfile(path, draft)
        sync(draft)
        draft.rename(kept)
    finally:
        draft.unlink(missing_ok=True)


def unused(path: Path) -> Path:
    """This path, or if it exists, the first of ``NAME-2``, ``NAME-3`` and so on that does not."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], others) if not each.exists())


def empty_journal(path: Path) -> None:
    """Move all that was committed from the journal into the file, unless the file is damaged.

    Raises Unavailable if another program has it open.
    """
    try:
        with sqlite.connect(path) as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except Unavailable as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            return  # it is damaged, and is kept as it is
        busy = True
    if busy:
        raise Unavailable(f"{path}: another program has it open; nothing was changed")
