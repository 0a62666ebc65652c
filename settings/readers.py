"""How the text of each setting is read: what it may be, and what is said of anything else.

A reader takes the text and returns the value. It raises ValueError with words that can follow the setting's
name: ``write on or off``.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import clock
from settings import home, texts

SHORTEST_SECRET = 16
WITH_COMMA = (
    f"has a comma in it, which would divide it in {home.PREFIX}SECRET_KEY_FALLBACKS: set another one (`openssl rand "
    f"-hex 32` prints a good one). If this one was in use, keep it in {home.PREFIX}SECRET_KEY_FALLBACKS, with %2C for "
    "each comma"
)
MAX_PLACES = 10_000  # of a budget: to create takes longer, the more of them are spent

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?(?=[/?#]|$)", re.IGNORECASE | re.ASCII
)
# What follows the login has no @ and no #, and a % stands before two hex digits: else it is a part of the password.
_PART = r"[^@/?#%\[\]]|%[0-9a-f]{2}"
_SERVER = re.compile(
    rf"[a-z+]+://(?:(?P<login>(?:{_PART})*)@)?(?P<hosts>(?:{_PART}|\[[0-9a-f:.]+\])*)"
    r"(?:[/?](?:[^@#%]|%[0-9a-f]{2})*)?",
    re.IGNORECASE | re.ASCII,
)
_ENCODED = "in a user or password write %40 for @, %2F for /, %23 for #, %3F for ?, %5B for [, %5D for ] and %25 for %"
_USUAL = (("http", 80), ("https", 443))
_ADDRESS = r"[!-?A-~]+@[!-?A-~]+"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def text(value: str) -> str:
    """Any text without control characters."""
    if unseen := texts.unseen(value):
        raise ValueError(f"has a character in it that cannot be seen: {texts.called(value[unseen[0]])}")
    return value


def utf8(value: str) -> str:
    """Any text that can be written in UTF-8, which bytes in the environment may not be."""
    try:
        value.encode()
    except UnicodeError:
        raise ValueError("is not UTF-8") from None
    return value


def unquoted(value: str) -> str:
    """A text of the environment; ValueError for one in quotes, which are a part of it there."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        raise ValueError("has quotes around it, which docker's --env-file keeps: leave them out")
    return value


def switch(value: str) -> bool:
    """``on`` or ``off``."""
    if value.lower() not in ("on", "off"):
        raise ValueError("write on or off")
    return value.lower() == "on"


def number(least: int, most: int) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`."""

    def read(value: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(value)

    return read


def one_of(*words: str) -> Callable[[str], str]:
    """A reader of one of these words."""

    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"write {' or '.join(words)}")
        return value

    return read


def list_of(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    """A reader of a list, separated by commas or spaces, each item read by `read`."""
    return lambda value: tuple(read(item) for item in re.split(r"[,\s]+", value.strip()) if item)


def lifetime(value: str) -> timedelta:
    """A length of time such as ``7d``, from a minute to ten years."""
    length = clock.duration(value)
    if not clock.MINUTE <= length <= 3650 * clock.DAY:
        raise ValueError("write a time between 1m and 3650d")
    return length


def age(value: str) -> timedelta:
    """A length of time such as ``7d``, which may be none at all: ``0d``."""
    length = clock.duration(value)
    if length > 3650 * clock.DAY:
        raise ValueError("write a time up to 3650d")
    return length


@dataclass(frozen=True)
class Budget:
    """How many people an account may invite within a length of time; 0 for nobody."""

    places: int
    window: timedelta = clock.DAY

    def __str__(self) -> str:
        return f"{self.places}/{clock.spell(self.window)}" if self.places else "0"


def budget(value: str) -> Budget | None:
    """A budget such as ``100/30d``; None for ``off``, which is no limit."""
    if value.strip().lower() == "off":
        return None
    number, slash, length = value.strip().partition("/")
    try:
        if not re.fullmatch("[0-9]{1,5}", number) or int(number) > MAX_PLACES or (int(number) and not slash):
            raise ValueError
        return Budget(int(number), lifetime(length) if slash else clock.DAY)
    except ValueError:
        raise ValueError(
            f"write how many in how long, such as 100/30d: 1 to {MAX_PLACES}, in 1m to 3650d; or 0, or off"
        ) from None


def lifetime_if_any(value: str) -> timedelta | None:
    """A length of time as `lifetime` reads it, or nothing."""
    return lifetime(value) if value else None


def day(value: str) -> date | None:
    """A day such as ``2027-06-30``, or nothing."""
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise ValueError("write a day such as 2027-06-30") from None


def colour(value: str) -> str:
    """A colour as CSS writes it: ``#rrggbb``."""
    if not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise ValueError("write a colour as #rrggbb, such as #2f6f5e")
    return value.lower()


def prefix(value: str) -> str:
    """What tokens may start with: a few letters, digits, ``_`` or ``-``."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", value):
        raise ValueError("write 1 to 20 letters, digits, _ or -")
    return value


def secret(value: str) -> str:
    """A master secret of at least `SHORTEST_SECRET` characters, or nothing; a comma would divide it later."""
    if value and len(value) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} characters; `openssl rand -hex 32` prints a good one")
    if "," in value:
        raise ValueError(WITH_COMMA)
    return value


def former_secret(value: str) -> str:
    """A former master secret, in which ``%2C`` stands for a comma and ``%20`` for a space: both separate several."""
    former = value.replace("%2C", ",").replace("%20", " ")
    if len(former) < SHORTEST_SECRET:
        raise ValueError(
            f"has one that is shorter than {SHORTEST_SECRET} characters; commas and spaces separate former secrets: "
            "write %2C for a comma in one, and %20 for a space"
        )
    return former


def path(value: str) -> Path | None:
    """The absolute path of a file, or nothing; ``~`` is the user's home."""
    return _absolute(value) if value else None


def instance(value: str) -> Path:
    """The absolute path of the folder for the database and the secret; the usual one if there is no text."""
    folder = _absolute(value) if value else home.usual_instance()
    if any(each in str(folder) for each in "?%#"):
        raise ValueError(f"{folder} has ?, % or # in it; choose another folder")
    return folder


def _absolute(value: str) -> Path:
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("begins with ~, for which there is no home: write the whole path") from None


def origin(value: str) -> str:
    """The origin ``scheme://host[:port]`` of a plain http(s) URL."""
    match = _ORIGIN.match(value)
    if not match:
        raise ValueError("write a URL such as https://invites.example.org")
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    if host.startswith("["):
        ipaddress.IPv6Address(host[1:-1])
    if port and not 1 <= int(port) <= 65535:
        raise ValueError("has a port that does not exist")
    return f"{scheme}://{host}" + (f":{int(port)}" if port and (scheme, int(port)) not in _USUAL else "")


def exact_origin(value: str) -> str:
    """An origin, and nothing behind it."""
    if "@" in value:
        raise ValueError("has a user or password in it: write only a URL such as https://invites.example.org")
    _refuse_host(value)
    if origin(value) != value.lower().rstrip("/"):
        raise ValueError(f"write {origin(value)}, without a path")
    return origin(value)


def public_url(value: str) -> str:
    """The URL under which the service is reached: an origin and perhaps a path, without a slash at its end."""
    if "@" not in value:
        _refuse_host(value)
    if not re.fullmatch(r"[!-~]+", value) or any(each in value for each in '\\?#@%"<>'):
        raise ValueError("write only where the service is reached, such as https://example.org/invites")
    return origin(value) + urlsplit(value).path.rstrip("/")


def page(value: str) -> str:
    """The URL of a page, or nothing."""
    if value and not (re.fullmatch(r"[!-~]+", value) and origin(value)):
        raise ValueError("write the URL of a page such as https://app.example.org/start")
    return value


def contact(value: str) -> str:
    """An e-mail address, the URL of a page, or nothing."""
    if re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)*", value, re.ASCII):  # no ?, with which a mailto link says more
        return value
    try:
        return page(value)
    except ValueError:
        raise ValueError("write an e-mail address such as help@example.org, or the URL of a page") from None


def _refuse_host(url: str) -> None:
    """Raise ValueError, with the reason, for a host as people write it that stands in no link."""
    host = urlsplit(url).hostname or ""
    if "_" in host:
        raise ValueError(f"has a _ in {host}, which stands in no host name: use - instead")
    if not host.isascii():
        raise ValueError(f"write the host as {host.encode('idna').decode()}, as links have it")


def address(value: str) -> str:
    """An e-mail address, in lower case."""
    if not re.fullmatch(_ADDRESS, value):
        raise ValueError(f"{value} is no e-mail address")
    return value.lower()


def sender(value: str) -> str:
    """What stands in the From of a mail, with or without a name: ``Our Place <invitations@example.org>``."""
    if not value:
        return ""
    from email.utils import formataddr, parseaddr  # slow to load

    name, mailbox = parseaddr(text(value))
    if not re.fullmatch(_ADDRESS, mailbox):
        raise ValueError("write an address such as invitations@example.org, or Our Place <invitations@example.org>")
    return formataddr((name, mailbox))


def smtp_url(value: str) -> str:
    """The URL of a mail server, or nothing."""
    if not value:
        return value
    example = "smtp://user:password@host:587 or smtps://user:password@host"
    server = _server(value, example)
    if server.scheme not in ("smtp", "smtps") or not server.hostname or server.path.strip("/") or server.query:
        raise ValueError(f"write {example}")
    if server.password and not server.username:
        raise ValueError(f"has a password without a user: write {example}")
    if not unquote(value).isascii():
        raise ValueError("has a user or password with letters that mail servers do not take")
    if (server.scheme, server.port) in (("smtp", 465), ("smtps", 587)):
        raise ValueError("write smtps:// with port 465, which is encrypted from the start, and smtp:// with port 587")
    return value


def database_url(value: str) -> str:
    """The URL of a database as SQLAlchemy takes it, or nothing; ValueError for anything else."""
    scheme, _, rest = value.partition("://")
    if scheme in ("postgresql+psycopg", "postgresql", "postgres"):
        example = "postgresql://user:password@host/database"
        if not _server(value, example).path.strip("/"):
            raise ValueError(f"write {example}")
        return f"postgresql+psycopg://{rest}"
    if value and (not value.startswith("sqlite:////") or any(each in value for each in "?%#")):
        raise ValueError("write sqlite:////absolute/path/to/file.db, or postgresql://user:password@host/database")
    return value


def limits_url(value: str) -> str:
    """The URL of a Redis or Valkey as its client takes it, or nothing."""
    if not value:
        return value
    example = "redis://:password@host:6379/0, or rediss://… with TLS"
    server = _server(value, example)
    if server.scheme not in ("redis", "rediss", "valkey", "valkeys") or not value.partition("://")[2]:
        raise ValueError(f"write {example}")
    return value.replace("valkey", "redis", 1) if server.scheme.startswith("valkey") else value


def _server(url: str, example: str) -> SplitResult:
    """The parts of a server's URL; raises ValueError for one that another reader may read differently.

    What is said of it quotes nothing of it, not even its port: with a # or / in a password, that is a piece of it.
    """
    match, words = _SERVER.fullmatch(url), f"write {example}; {_ENCODED}"
    if not match:
        raise ValueError(words)
    try:
        login, server = unquote(match["login"] or "", errors="strict"), urlsplit(url)
    except ValueError:  # whose own words quote what they are about
        raise ValueError(words) from None
    if not (url + login).isprintable():
        raise ValueError(words)
    if re.search(r":[^,]*,", match["hosts"]):
        raise ValueError("write one port for several hosts, behind the last: postgresql://user@one,two:5432/database")
    port = match["hosts"].rpartition("]")[2].partition(":")[2]
    if port and not (re.fullmatch("[0-9]{1,5}", port, re.ASCII) and 1 <= int(port) <= 65535):
        raise ValueError(f"has a port that does not exist, behind the host: write {example}")
    return server
