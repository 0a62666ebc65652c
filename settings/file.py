"""What is set: in the environment, or in the file of settings.

The file has lines of ``NAME=value``, read as systemd's EnvironmentFile= reads them. What systemd, Docker and
a person would read differently (a backslash, half a pair of quotes, a remark behind a value) is refused, by
its line.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from settings import readers
from settings.home import PREFIX, as_owner
from settings.secret import ConfigError

_FILE = f"{PREFIX}SETTINGS"
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)", re.DOTALL)
_MARK = "\ufeff"
_QUOTES = ("'", '"')


class Given(NamedTuple):
    """The text of a setting, and where it stands: ``""`` for the environment."""

    value: str
    where: str = ""

    def located(self, sentence: str) -> str:
        """A sentence about it, after where it stands."""
        return f"{self.where}: {sentence}" if self.where else sentence


def given(environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    """What is set, by name, and a sentence for every line of the file that is wrong.

    The environment goes first. Raises ConfigError if there is a file that cannot be read.
    """
    found, wrong = _from_file(environ)
    if misplaced := found.pop(_FILE, None):
        wrong.append(misplaced.located(f"{_FILE}: only the environment can name the file"))
    return found | {name: Given(environ[name]) for name in sorted(environ) if name.startswith(PREFIX)}, wrong


def _from_file(environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    named = environ.get(_FILE)
    try:
        path = readers.path(named or "") or readers.instance(environ.get(f"{PREFIX}INSTANCE", "")) / "settings.env"
    except ValueError:  # said when these two settings are read
        return {}, []
    try:
        return read(path)
    except FileNotFoundError as error:
        if named:
            raise ConfigError(f"{_FILE}: there is no file {path}") from error
        return {}, []
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8"
        raise ConfigError(f"{path}: the settings cannot be read: {why}{as_owner(path)}") from error


def read(path: Path) -> tuple[dict[str, Given], list[str]]:
    """What a file sets, by name, and a sentence for every line that is wrong. Raises OSError, UnicodeError."""
    found: dict[str, Given] = {}
    wrong: list[str] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            _take(line.strip(), where, found)
        except ValueError as error:
            wrong.append(f"{where}: {error}")
    return found, wrong


def _take(line: str, where: str, found: dict[str, Given]) -> None:
    if line.startswith(_MARK):
        raise ValueError("begins with a byte order mark, for which systemd would skip the line: save it without one")
    if not line or line[0] in "#;":
        return
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError("write NAME=value")
    name, value = match.groups()
    if name in found:
        raise ValueError(f"{name} is set before, at {found[name].where.rpartition(', ')[2]}")
    found[name] = Given(_plain(value), where)


def _plain(value: str) -> str:
    """The value without the quotes around it."""
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in _QUOTES
    bare = value[1:-1] if quoted else value
    if "\\" in bare:
        raise ValueError("has a backslash, which means something else to every reader")
    if any(each in bare for each in _QUOTES if not quoted or each == value[0]):
        raise ValueError("has a quote that is not around the whole value")
    if not quoted and re.search(r"\s#", bare):
        raise ValueError("has a remark behind the value: give it a line of its own, or quote the value")
    return bare
