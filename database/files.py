"""The file that is SQLite's database: where it is, making it, and whose it is."""

import os
from pathlib import Path

from sqlalchemy.engine import make_url

import config
from database.units import Unavailable


def is_there(settings: config.Settings) -> bool:
    """Whether these settings name a file that has been made."""
    path = file_of(settings)
    return path.is_file() and path.stat().st_size > 0


def file_of(settings: config.Settings) -> Path:
    """The SQLite file these settings name, as an absolute path; raises Unavailable where they name a server."""
    if not settings.on_sqlite:
        raise Unavailable("the invites are in PostgreSQL, not in a file: use its own tools, such as pg_dump")
    return Path(make_url(settings.database_url).database or "").absolute()


def made_file(settings: config.Settings) -> Path:
    """The SQLite file these settings name, made, empty and private, if it is not there; raises Unavailable."""
    path = file_of(settings)
    config.make_private(settings.instance)
    _make_file(path)
    return path


def found_file(settings: config.Settings) -> Path:
    """The SQLite file these settings name, which must be there and ours; raises Unavailable."""
    path = file_of(settings)
    try:
        refuse_foreign(path)
    except FileNotFoundError as error:
        raise Unavailable(f"{path}: there is no database yet; the first start of invite-api makes it") from error
    except OSError as error:
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{config.as_owner(path)}") from error
    return path


def refuse_foreign(path: Path) -> None:
    """Refuse to touch another user's file; raises Unavailable, or OSError if it is not there."""
    if path.stat().st_uid != os.geteuid():
        raise Unavailable(f"{path}: belongs to another user{config.as_owner(path)}")


def identity(path: str) -> tuple[int, int] | None:
    """Which file this is, whatever it is called; asked in every unit of work, for which a Path is slow."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _make_file(path: Path) -> None:
    """Have the file there, readable by its owner alone; refuse to touch another user's."""
    try:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            config.sync(path.parent)
        if not path.is_file():
            raise Unavailable(f"{path}: is no file: name one that is there, or is to be made")
        refuse_foreign(path)
    except OSError as error:
        hint = config.as_owner(path.parent) if isinstance(error, PermissionError) else ""
        raise Unavailable(f"{path}: cannot be opened: {error.strerror}{hint}") from error
