"""A backup becomes the database again, at one blow, while nobody uses it; the former one is kept."""

import itertools
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import clock
import config
from database import Unavailable, files, lock, sqlite
from upkeep import backup, since, upgrade

_SIGN_OUT = (
    "UPDATE sessions SET ended_at = ? WHERE ended_at IS NULL",
    "DELETE FROM access_tokens",
    "DELETE FROM codes",
)


class Restore:
    """A restore that is ready: a checked copy of the backup beside the database, which nobody uses.

    `notes` are sentences, `named` what is lost, comes back or stays shut by it.
    """

    def __init__(self, path: Path, draft: Path) -> None:
        self.path, self.draft = path, draft
        self.notes: list[str] = []
        self.named: list[since.Named] = []

    def finish(self) -> Path | None:
        """Put the copy in the database's place at one blow; returns where the former one is kept."""
        kept = _kept_aside(self.path) if self.path.exists() else None
        os.replace(self.draft, self.path)
        config.sync(self.path.parent)
        return kept


@contextmanager
def prepared(settings: config.Settings, file: Path, reopen: bool = False) -> Iterator[Restore]:
    """Have a backup ready to be the database; nothing has changed unless `finish` is called.

    `reopen` lets invites that were used or withdrawn since open again, and accounts come back. Raises
    Unavailable if the backup is not whole or newer than we are, or the database in use.
    """
    path = files.file_of(settings).resolve()
    config.make_private(settings.instance)
    _refuse_strangers(path)
    with lock.alone(path), _copied(file, path) as draft:
        made = Restore(path, draft)
        if not backup.verify(file, draft):
            made.notes.append(f"there is no {backup.sums_of(file).name} beside it to compare it with")
        with sqlite.connect(draft, file) as connection:
            _bring_up_to_date(connection, file, made)
            _end_sessions(connection)
            if files.is_there(settings):
                _compare(connection, made, reopen)
            connection.execute("PRAGMA main.journal_mode = DELETE")  # one file, with nothing beside it
        config.sync(draft)
        yield made


def _refuse_strangers(path: Path) -> None:
    try:
        files.refuse_foreign(path if path.exists() else path.parent)
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{config.as_owner(path)}") from error


@contextmanager
def _copied(file: Path, path: Path) -> Iterator[Path]:
    """A private copy in the database's folder, which is deleted if it is still there at the end."""
    draft = path.with_name(f"{path.name}.restoring")
    backup.discard(draft)  # one that was killed has left it
    if file.exists() and not file.is_file():  # a pipe or a device may never end
        raise Unavailable(f"{file}: is no file; nothing was changed")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        for end in ("", "-wal"):  # a file that was copied by other means may have a journal
            if file.with_name(file.name + end).exists() or not end:
                shutil.copyfile(file.with_name(file.name + end), draft.with_name(draft.name + end))
        yield draft
    except OSError as error:
        raise Unavailable(f"{error.filename or draft}: {error.strerror}; nothing was changed") from error
    finally:
        backup.discard(draft)


def _bring_up_to_date(connection: sqlite3.Connection, file: Path, made: Restore) -> None:
    """Refuse what is damaged, not ours or too new; take the steps that lead to our schema."""
    try:
        if wrong := sqlite.faults(connection.execute):
            raise Unavailable(f"is damaged: {wrong[0]}")
        whole = sqlite.Whole(connection)
        done = list(upgrade.migrate(whole, upgrade.steps(upgrade.version_of(whole))))
    except Unavailable as error:
        raise Unavailable(f"{file}: {error}") from error
    made.notes += [f"migrated: {each}" for each in done]


def _end_sessions(connection: sqlite3.Connection) -> None:
    """Nobody is signed in by a restore; and a code that was tried or used since is not as new."""
    for statement in _SIGN_OUT:
        connection.execute(statement, [_now()] * statement.count("?"))


def _compare(connection: sqlite3.Connection, made: Restore, reopen: bool) -> None:
    try:
        made.named += since.settle(connection, made.path, reopen)
    except sqlite3.Error as error:
        made.notes.append(
            f"the present database cannot be compared ({error}): invites that were used or withdrawn since the backup "
            "will be open again, and those made since are lost; see invite-api invite list"
        )


def _kept_aside(path: Path) -> Path:
    """Give the database a second name, under which it stays, and take its journal away from its first."""
    _settle(path)
    kept = _free(path.with_name(f"{path.stem}-before-restore-{backup.moment()}{path.suffix}"))
    os.link(path, kept)
    journal = path.with_name(f"{path.name}-wal")
    if journal.exists():  # of a file that SQLite cannot read; the next one must not find it
        journal.rename(kept.with_name(f"{kept.name}-wal"))
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return kept


def _free(path: Path) -> Path:
    """This path, or one much like it that nothing is called yet."""
    others = (path.with_stem(f"{path.stem}-{number}") for number in itertools.count(2))
    return next(each for each in itertools.chain([path], others) if not each.exists())


def _settle(path: Path) -> None:
    """Have all that was committed in the file itself; raises Unavailable if another program is using it."""
    try:
        with sqlite.connect(path) as connection:
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except Unavailable as error:
        if getattr(error.__cause__, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY:
            return  # it is damaged
        busy = True
    if busy:
        raise Unavailable(f"{path}: another program has it open; nothing was changed")


def _now() -> str:
    """This moment as the database keeps moments."""
    return f"{clock.now():%Y-%m-%d %H:%M:%S.%f}"
