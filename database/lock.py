"""Who uses the database: many may work with it, or one may replace it.

A lock on a file beside the database, kept by the kernel for as long as the process lives, so that
one that was killed holds nothing.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from database.files import refuse_foreign
from database.units import Unavailable


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Work with the database among others; raises Unavailable while it is restored or migrated."""
    with _held(path, fcntl.LOCK_SH, "is being restored or migrated: try again when that is done"):
        yield


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Have the database to oneself; raises Unavailable while a server or another command works with it."""
    with _held(path, fcntl.LOCK_EX, "is in use: stop the server (and other invite-api commands) first"):
        yield


@contextmanager
def _held(path: Path, kind: int, otherwise: str) -> Iterator[None]:
    real = path.resolve()  # by whatever name it is opened
    file = real.with_name(f"{real.name}.lock")
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDONLY, 0o600)
    except OSError as error:
        raise Unavailable(f"{file}: cannot be opened: {error.strerror}") from error
    try:
        refuse_foreign(file)
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Unavailable(f"{path}: {otherwise}") from error
    finally:
        os.close(descriptor)
