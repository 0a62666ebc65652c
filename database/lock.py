"""A lock beside the SQLite file: many processes may share it, or one may hold it alone to replace the file.

The kernel keeps it for as long as the process lives. A process that was killed holds no lock.
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
    """Hold the shared lock, beside other processes; raises Unavailable while the file is restored or migrated."""
    with _locked(path, fcntl.LOCK_SH, "is being restored or migrated: try again when that is done"):
        yield


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the exclusive lock: no other process uses the file inside. Raises Unavailable while one does."""
    with _locked(path, fcntl.LOCK_EX, "is in use: stop the server (and other invite-api commands) first"):
        yield


@contextmanager
def _locked(path: Path, kind: int, otherwise: str) -> Iterator[None]:
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
