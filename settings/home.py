"""Where our own files are, what our settings are called, where an instance is kept unless told otherwise; and whose."""

import os
from pathlib import Path

PREFIX = "INVITE_API_"
LOCAL_URL = "http://127.0.0.1:8080"
HOME = Path(__file__).resolve().parents[1]
TRANSLATIONS = HOME / "language"
LANGUAGES = ("en", *sorted(path.stem for path in TRANSLATIONS.glob("*.po")))


def is_checkout(home: Path = HOME) -> bool:
    """Whether our files are in a checkout; else pip, pipx or uv has installed them.

    The launcher is a folder of the checkout; an installed package has all files in the launcher's folder.
    """
    return (home / "invite_api").is_dir()


def usual_instance(home: Path = HOME) -> Path:
    """The folder for the database and the secret if INSTANCE is not set.

    It is ``instance/`` in a checkout, else the user's data folder: an environment of Python may be
    deleted and created anew at each upgrade. Raises ValueError for a user who has no such folder, and for
    root by ``sudo`` where the data is in the folder of the user who typed that.
    """
    if is_checkout(home):
        return home / "instance"
    folder = _data_folder()
    meant = _before_sudo(folder)
    if meant and os.path.isdir(meant) and not folder.exists():
        raise ValueError(f"the database is in {meant}{as_owner(meant)}")
    return folder


def _data_folder() -> Path:
    from platformdirs import user_data_path  # slow to load, and not needed in a checkout

    try:
        folder = user_data_path("invite-api", appauthor=False)
    except RuntimeError:  # as some versions of platformdirs say it; from others comes a relative path
        folder = Path()
    if not folder.is_absolute():
        raise ValueError("this user has no home and so no data folder: set it to the folder for the database")
    return folder


def _before_sudo(folder: Path) -> Path | None:
    """The same folder in the home of the user who has become root by ``sudo``, if anyone has."""
    if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
        return None
    import pwd

    try:
        return Path(pwd.getpwuid(int(os.environ["SUDO_UID"])).pw_dir) / folder.relative_to(Path.home())
    except (KeyError, ValueError):  # an unknown user; a folder elsewhere
        return None


def as_owner(path: Path) -> str:
    """What to add to a complaint about a file that is another user's: how to act as that user; else ``""``."""
    for each in (path, *path.parents):
        try:
            owner = each.stat().st_uid
        except OSError:
            continue
        return "" if owner == os.geteuid() else f"; run this as its owner: sudo -u {_user_name(owner)} invite-api …"
    return ""


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"'#{uid}'"
