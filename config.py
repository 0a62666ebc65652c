"""Every setting: its name, its default, what it means. Read once, and nonsense is refused by name.

A setting is the environment variable ``INVITE_API_`` and the field's name in capitals, or a line of
the file of settings; the environment goes first. Nothing needs setting. Inside the service `settings()`
gives those in force.
"""

import difflib
import ipaddress
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import Field, dataclass, field, fields
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import clock
import envfile
from envfile import Given

VERSION = "0.1.0"
PREFIX = "INVITE_API_"
CHECKOUT = Path(__file__).resolve().parent
TRANSLATIONS = CHECKOUT / "translations"
LANGUAGES = ("en", *sorted(path.stem for path in TRANSLATIONS.glob("*.po")))
SHORTEST_SECRET = 16
LOCAL_URL = "http://127.0.0.1:8080"

_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_ORIGIN = re.compile(
    rf"(https?)://({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?(?=[/?#]|$)", re.IGNORECASE | re.ASCII
)
_USUAL = (("http", 80), ("https", 443))

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ConfigError(Exception):
    """Settings that cannot be used; the message has one line for each, with its name."""


def _setting(read: Callable[[str], Any], default: str, meaning: str, *, secret: bool = False) -> Any:
    """A field of `Settings`: how its text is read, its default as text, and one sentence on it."""
    return field(metadata={"read": read, "default": default, "meaning": meaning}, repr=not secret)


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("has control characters in it")
    return value


def _utf8(value: str) -> str:
    try:
        value.encode()
    except UnicodeError:
        raise ValueError("is not UTF-8") from None
    return value


def _switch(value: str) -> bool:
    if value.lower() not in ("on", "off"):
        raise ValueError("write on or off")
    return value.lower() == "on"


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", value) or not least <= int(value) <= most:
            raise ValueError(f"write a whole number from {least} to {most}")
        return int(value)

    return read


def _lifetime(value: str) -> timedelta:
    length = clock.duration(value)
    if not clock.MINUTE <= length <= 3650 * clock.DAY:
        raise ValueError("write a time between 1m and 3650d")
    return length


def origin(value: str) -> str:
    """The origin ``scheme://host[:port]`` of a plain http(s) URL; ValueError for anything else."""
    match = _ORIGIN.match(value)
    if not match:
        raise ValueError("write a URL such as https://invites.example.org")
    scheme, host, port = match[1].lower(), match[2].lower(), match[3]
    if host.startswith("["):
        ipaddress.IPv6Address(host[1:-1])
    if port and not 1 <= int(port) <= 65535:
        raise ValueError("has a port that does not exist")
    return f"{scheme}://{host}" + (f":{int(port)}" if port and (scheme, int(port)) not in _USUAL else "")


def _public_url(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value) or any(each in value for each in '\\?#@%"<>'):
        raise ValueError("write only where the service is reached, such as https://example.org/invites")
    return origin(value) + urlsplit(value).path.rstrip("/")


def _list_of(read: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda value: tuple(read(item) for item in re.split(r"[,\s]+", value.strip()) if item)


def _exact_origin(value: str) -> str:
    if origin(value) != value.lower().rstrip("/"):
        raise ValueError(f"write {origin(value)}, without a path")
    return origin(value)


def _secret(value: str) -> str:
    if value and len(value) < SHORTEST_SECRET:
        raise ValueError(f"is shorter than {SHORTEST_SECRET} characters; `openssl rand -hex 32` makes a good one")
    return value


def _address(value: str) -> str:
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", value):
        raise ValueError(f"{value} is no e-mail address")
    return value.lower()


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in words:
            raise ValueError(f"write {' or '.join(words)}")
        return value

    return read


def _colour(value: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise ValueError("write a colour as #rrggbb, such as #2f6f5e")
    return value.lower()


def _smtp_url(value: str) -> str:
    parts = urlsplit(value)
    if value and (parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path.strip("/")):
        raise ValueError("write smtp://user:password@host:587 or smtps://user:password@host")
    _ = parts.port  # raises ValueError beyond 65535
    if not unquote(value).isascii():
        raise ValueError("has a user or password with letters that mail servers do not take")
    return value


def _usual_sender(public_url: str) -> str:
    host = urlsplit(public_url).hostname or ""
    return f"invitations@{'localhost' if ':' in host else host}"


def _mail_from(value: str) -> str:
    if not value:
        return ""
    from email.utils import formataddr, parseaddr  # slow to load

    name, address = parseaddr(_text(value))
    if not re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", address):
        raise ValueError("write an address such as invitations@example.org, or Our Place <invitations@example.org>")
    return formataddr((name, address))


def _prefix(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,20}", value):
        raise ValueError("write 1 to 20 letters, digits, _ or -")
    return value


def _date(value: str) -> date | None:
    try:
        return date.fromisoformat(value) if value else None
    except ValueError:
        raise ValueError("write a day such as 2027-06-30") from None


def _path(value: str) -> Path | None:
    return Path(value).expanduser().absolute() if value else None


def _instance(value: str) -> Path:
    if any(each in value for each in "?%#"):
        raise ValueError("names a folder with ?, % or # in it; choose another one")
    return Path(value).expanduser().absolute()


def _refuse_unclear(server: SplitResult) -> None:
    """Raise ValueError for a server's URL that another reader may read differently."""
    login, _, hosts = server.netloc.rpartition("@")
    if "@" in login or not server.path.strip("/"):
        raise ValueError(
            "write postgresql://user:password@host/database, and in a password %40 for @, %2F for /, %23 for #, "
            "%3F for ? and %25 for %"
        )
    if re.search(r":[^,]*,", hosts):
        raise ValueError("write one port for several hosts, behind the last: postgresql://user@one,two:5432/database")
    _refuse_port(server)


def _refuse_port(server: SplitResult) -> None:
    port = server.netloc.rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if port and not (re.fullmatch("[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
        raise ValueError(f"has a port that does not exist: {port}")


def database_url(value: str) -> str:
    """The URL of a database as SQLAlchemy takes it; ValueError for anything else."""
    scheme, _, rest = value.partition("://")
    if scheme in ("postgresql+psycopg", "postgresql", "postgres"):
        _refuse_unclear(urlsplit(value))
        return f"postgresql+psycopg://{rest}"
    if value and (not value.startswith("sqlite:////") or any(each in value for each in "?%#")):
        raise ValueError("write sqlite:////absolute/path/to/file.db, or postgresql://user:password@host/database")
    return value


def _limits_url(value: str) -> str:
    scheme, _, rest = value.partition("://")
    _refuse_port(urlsplit(value))
    if value and (scheme not in ("redis", "rediss", "valkey", "valkeys") or not rest):
        raise ValueError("write redis://:password@host:6379/0, or rediss://… with TLS")
    return value.replace("valkey", "redis", 1) if scheme.startswith("valkey") else value


@dataclass(frozen=True)
class Settings:
    """The settings in force. Make one with `load`."""

    settings: Path | None = _setting(
        _path,
        "",
        "A file with the settings below, a line `NAME=value` for each. Unset: `INSTANCE/settings.env`, if any.",
    )
    instance: Path = _setting(_instance, str(CHECKOUT / "instance"), "The folder for the database and the key file.")
    database_url: str = _setting(
        database_url,
        "",
        "Where the invites live: `sqlite:////path/to/file.db`, or `postgresql://user:password@host/database`. "
        "Unset: `invites.db` in `INSTANCE`.",
        secret=True,
    )
    public_url: str = _setting(_public_url, LOCAL_URL, "Where people reach the service; every link starts with it.")
    site_name: str = _setting(_text, "", "What the pages call this place. Unset: the host of `PUBLIC_URL`.")
    language: str = _setting(
        _one_of(*LANGUAGES), "en", "The language of mail, and of pages for browsers that ask for none we know."
    )
    accent: str = _setting(_colour, "#2f6f5e", "The colour of the pages' buttons and links.")
    secret_key: str = _setting(
        _secret, "", "The master secret. Unset: made at the first start, in `INSTANCE/secret.key`.", secret=True
    )
    secret_key_file: Path | None = _setting(_path, "", "A file that holds the master secret instead.")
    secret_key_fallbacks: tuple[str, ...] = _setting(
        _list_of(_secret), "", "Former master secrets, so that links made under them can still be shown.", secret=True
    )
    invite_ttl: timedelta = _setting(_lifetime, "7d", "How long an invite lives when nothing else is asked for.")
    invite_ttl_max: timedelta = _setting(_lifetime, "365d", "The longest life of an invite that expires.")
    redirect_origins: tuple[str, ...] = _setting(
        _list_of(_exact_origin), "", "If set, the only origins a `redirect_url` may have, beside our own."
    )
    password_min_length: int = _setting(_number(8, 64), "8", "The shortest password a new account may have.")
    allow_query_key: bool = _setting(_switch, "on", "Whether `?key=` is taken beside the `Authorization` header.")
    registration: str = _setting(
        _one_of("invite", "open"), "invite", "Whether one can register without an invite, with a code by mail."
    )
    smtp_url: str = _setting(
        _smtp_url,
        "",
        "The mail server: `smtp://user:password@host:587` (with STARTTLS) or `smtps://…`. Unset: mail waits.",
        secret=True,
    )
    mail_from: str = _setting(_mail_from, "", "Whom mail is from. Unset: `invitations@` the host of `PUBLIC_URL`.")
    trusted_proxies: tuple[Network, ...] = _setting(
        _list_of(ipaddress.ip_network), "", "Addresses or networks whose `X-Forwarded-For` is believed."
    )
    admin_emails: tuple[str, ...] = _setting(
        _list_of(_address), "", "Whoever has verified one of these addresses is an admin of the site."
    )
    token_prefix: str = _setting(_prefix, "hitkey_", "What access tokens start with.")
    legacy_codes: bool = _setting(_switch, "on", "Agentbot's deprecated 12-hex codes; off: both calls answer `410`.")
    legacy_sunset: date | None = _setting(
        _date, "", "The day (`2027-06-30`) on which they will be switched off, for the `Sunset` header."
    )
    limits: bool = _setting(_switch, "on", "Flood limits: how many calls a minute one caller may make.")
    limits_url: str = _setting(
        _limits_url,
        "",
        "A Redis or Valkey in which several servers count together: `redis://:password@host:6379/0`. "
        "Unset: each counts for itself.",
        secret=True,
    )
    threads: int = _setting(_number(1, 64), "4", "How many threads answer what takes longer, such as lists.")

    @cached_property
    def secrets(self) -> tuple[bytes, ...]:
        """The master secret, then its fallbacks; made on first use where there is none."""
        current = self.secret_key or _read_secret(self.secret_key_file or _own_secret(self.instance))
        return tuple(text.encode() for text in (current, *self.secret_key_fallbacks))

    @property
    def on_sqlite(self) -> bool:
        """Whether the database is a file, and no server's."""
        return self.database_url.startswith("sqlite:")

    @property
    def open_registration(self) -> bool:
        """Whether one can register without an invite."""
        return self.registration == "open"

    @cached_property
    def origin(self) -> str:
        """The origin of PUBLIC_URL: what a browser calls us."""
        return origin(self.public_url)

    @cached_property
    def cookie_name(self) -> str:
        """What the browser's cookie is called: on https it is held to this host alone."""
        return "__Host-invite-session" if self.origin.startswith("https:") else "invite-session"

    @cached_property
    def root(self) -> str:
        """The path of PUBLIC_URL, ``""`` or such as ``/invites``: what every link on a page starts with."""
        return self.public_url.removeprefix(self.origin)


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raise ConfigError naming every one that is nonsense or unknown, and its line."""
    given, wrong = _given(environ)
    wrong += [_said(each, _unknown(name)) for name, each in given.items() if name not in _NAMES]
    values: dict[str, Any] = {}
    for each in fields(Settings):
        told = given.get(_name(each), Given(""))
        try:
            values[each.name] = each.metadata["read"](_utf8(told.value or each.metadata["default"]))
        except ValueError as error:
            wrong.append(_said(told, f"{_name(each)}: {error}"))
    if not wrong and values["invite_ttl"] > values["invite_ttl_max"]:
        wrong.append(f"{PREFIX}INVITE_TTL: is longer than {PREFIX}INVITE_TTL_MAX")
    if wrong:
        raise ConfigError("\n".join(wrong))
    values["site_name"] = values["site_name"] or urlsplit(values["public_url"]).netloc
    values["mail_from"] = values["mail_from"] or _usual_sender(values["public_url"])
    values["database_url"] = values["database_url"] or f"sqlite:///{values['instance'] / 'invites.db'}"
    return Settings(**values)


def table() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every setting, for the README and its test."""
    return [
        (_name(each), each.metadata["default"].replace(str(CHECKOUT) + "/", ""), each.metadata["meaning"])
        for each in fields(Settings)
    ]


_in_force: ContextVar[Settings] = ContextVar("settings")


def settings() -> Settings:
    """The settings of the request or command that is running."""
    return _in_force.get()


@contextmanager
def using(chosen: Settings) -> Iterator[Settings]:
    """Put settings in force for what runs inside."""
    before = _in_force.set(chosen)
    try:
        yield chosen
    finally:
        _in_force.reset(before)


def _name(each: "Field[Any]") -> str:
    return PREFIX + each.name.upper()


_NAMES = [_name(each) for each in fields(Settings)]
_FILE = f"{PREFIX}SETTINGS"


def _unknown(name: str) -> str:
    bare = [each.removeprefix(PREFIX) for each in _NAMES]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, 1, 0.75)
    return f"{name}: there is no such setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")


def _said(told: Given, sentence: str) -> str:
    return f"{told.where}: {sentence}" if told.where else sentence


def _given(environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    """What is set, by name, and what is wrong with the lines of the file."""
    found, wrong = _from_file(environ)
    if misplaced := found.pop(_FILE, None):
        wrong.append(_said(misplaced, f"{_FILE}: only the environment can name the file"))
    return found | {name: Given(environ[name]) for name in sorted(environ) if name.startswith(PREFIX)}, wrong


def _from_file(environ: Mapping[str, str]) -> tuple[dict[str, Given], list[str]]:
    named = environ.get(_FILE)
    usual = Path(environ.get(f"{PREFIX}INSTANCE") or CHECKOUT / "instance") / "settings.env"
    path = Path(named or usual).expanduser().absolute()
    try:
        return envfile.read(path)
    except FileNotFoundError as error:
        if named:
            raise ConfigError(f"{_FILE}: there is no file {path}") from error
        return {}, []
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "is not UTF-8"
        raise ConfigError(f"{path}: the settings cannot be read: {why}{as_owner(path)}") from error


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


def _read_secret(path: Path) -> str:
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the master secret cannot be read: {error}") from error
    if len(secret) < SHORTEST_SECRET:
        raise ConfigError(f"{path}: holds no master secret of at least {SHORTEST_SECRET} characters")
    return secret


def _own_secret(instance: Path) -> Path:
    """The key file in the instance folder, made if it is not there.

    It appears under its name complete or not at all (a link, not a rename, which would replace),
    so two first starts at once agree on one secret.
    """
    path = instance / "secret.key"
    if path.exists():
        return path
    make_private(instance)
    descriptor, draft = tempfile.mkstemp(dir=instance, prefix="secret.key.")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(clock.random_hex(32) + "\n")
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
    sync(instance)
    return path


def make_private(folder: Path) -> None:
    """Make a folder, if it is not there, that nobody else may look into (mode 0700)."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077 and folder.stat().st_uid == os.geteuid():
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be made a private folder: {error.strerror}") from error


def sync(path: Path) -> None:
    """Have a file on disk, or a folder's list of files, so that a power cut does not take a new one back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
