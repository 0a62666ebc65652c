"""The file of an SQLite database: where it is, whether it is there, and who owns it."""

import os
from pathlib import Path

from sqlalchemy.engine import make_url

from database.units import Unavailable
from settings import Settings, as_owner, make_private, sync


def is_there(settings: Settings) -> bool:
    """Whether the file that these settings name exists and is not empty."""
    path = file_of(settings)
    return path.is_file() and path.stat().st_size > 0


def file_of(settings: Settings) -> Path:
    """The absolute path of the SQLite file that these settings name; raises Unavailable where they name PostgreSQL."""
    if not settings.on_sqlite:
        raise Unavailable("the invites are in PostgreSQL, not in a file: use its own tools, such as pg_dump")
    return Path(make_url(settings.database_url).database or "").absolute()


def ensured_file(settings: Settings) -> Path:
    """The SQLite file that these settings name. If it is not there it is created: empty, and private to its owner.

    Raises Unavailable if it cannot be created, is not a file, or belongs to another user.
    """
    path = file_of(settings)
    make_private(settings.instance)
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            sync(path.parent)
        if not path.is_file():
            raise Unavailable(f"{path}: is no file: name one that is there, or is to be created")
        refuse_foreign(path)
    except OSError as error:
        hint = as_owner(path.parent) if isinstance(error, PermissionError) else ""
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{hint}") from error
    return path


def existing_file(settings: Settings) -> Path:
    """The SQLite file that these settings name; raises Unavailable if it is not there or not this user's."""
    path = file_of(settings)
    try:
        refuse_foreign(path)
    except FileNotFoundError as error:
        raise Unavailable(f"{path}: there is no database yet; the first start of invite-api creates it") from error
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{as_owner(path)}") from error
    return path


def refuse_foreign(path: Path) -> None:
    """Raise Unavailable if a file belongs to another user, and OSError if it is not there."""
    if path.stat().st_uid != os.geteuid():
        raise Unavailable(f"{path}: belongs to another user{as_owner(path)}")


def identity(path: str) -> tuple[int, int] | None:
    """The device and inode of a file, which tell whether it was replaced; None if it is not there.

    It takes a string, since it is asked in every unit of work and a Path is slow.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
