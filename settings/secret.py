"""The file with the master secret, and what keeps it and the database private: folders and files of one owner."""

import errno
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import clock
from settings.readers import SHORTEST_SECRET, WITH_COMMA

# What a file system says that knows nothing of modes, or of putting a folder's list of files on disk.
_UNKNOWN_TO_IT = (errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)
# How the names of what may be in a folder begin that is made private; a checkout and a new disk have some.
_OURS = re.compile(r"invites|secret\.key|settings\.env|\.git|lost\+found$")


class ConfigError(Exception):
    """Settings that cannot be used; the message has one line for each, with its name."""


def read_secret(path: Path) -> str:
    """The master secret in a file; raises ConfigError where there is none that is good enough."""
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the master secret cannot be read: {error}") from error
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"{path}: holds no master secret of at least {SHORTEST_SECRET} characters")
    if "," in secret:
        raise ConfigError(f"{path}: the master secret {WITH_COMMA}")
    return secret


def own_secret(instance: Path) -> Path:
    """The file ``secret.key`` in the instance folder, created with a new secret if it is not there.

    It appears under its name complete or not at all, so two first starts at once agree on one secret, and one
    that is killed leaves no half of it. Raises ConfigError if it cannot be written.
    """
    path = instance / "secret.key"
    if path.exists():
        return path
    make_private(instance)
    try:
        descriptor, name = tempfile.mkstemp(dir=instance, prefix="secret.key.")
        draft = Path(name)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(clock.random_hex(32) + "\n")
                file.flush()
                os.fsync(descriptor)
            _name_unless_taken(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        sync(instance)
    except OSError as error:
        raise ConfigError(f"{path}: the master secret cannot be written: {error.strerror}") from error
    return path


def _name_unless_taken(draft: Path, path: Path) -> None:
    """Give a file another name in its folder, unless that is taken."""
    try:
        os.link(draft, path)  # and no rename, which would replace what is there
    except FileExistsError:
        pass
    except OSError:  # FAT, some NAS and FUSE have no links
        _rename_unless_there(draft, path)


def _rename_unless_there(draft: Path, path: Path) -> None:
    """Rename a file in its folder, unless the name is taken. The kernel lets one process at a time do this."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        if not path.exists():
            draft.rename(path)
    finally:
        os.close(folder)


def make_private(folder: Path) -> None:
    """Make a folder, if it is not there, that nobody else may look into (mode 0700); raises ConfigError.

    One that is there is made private if nothing is in it but our own: others may use it otherwise. On a file system
    without modes, such as FAT, who may look is decided by how it is mounted.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        is_own = found.st_uid == os.geteuid()
        if not (found.st_mode & 0o077 if is_own else found.st_mode & stat.S_IWOTH):
            return
        others = [each.name for each in folder.iterdir() if not _OURS.match(each.name)]
        if (others or not is_own) and _has_modes(folder):
            what = f"{others[0]} is in it" if others else "anyone may write there"
            hint = "set INVITE_API_INSTANCE to another folder"
            raise ConfigError(f"{folder}: is not only for invite-api: {what}; {hint}")
        with _if_known():
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be kept private: {error.strerror}") from error


def _has_modes(folder: Path) -> bool:
    """Whether a file in this folder can be kept from others."""
    with tempfile.NamedTemporaryFile(dir=folder) as tried:  # mode 0600
        return not os.fstat(tried.fileno()).st_mode & 0o077


def sync(path: Path) -> None:
    """Have a file on disk, or a folder's list of files, so that a power cut does not take a new one back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with _if_known() if path.is_dir() else nullcontext():
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _if_known() -> Iterator[None]:
    """Inside, an OSError is passed over if it says that the file system cannot do such a thing at all."""
    try:
        yield
    except OSError as error:
        if error.errno not in _UNKNOWN_TO_IT:
            raise
