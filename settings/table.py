"""The table of settings: name, default, what it may be (its reader in `readers`), what it means.

They are read once, and nonsense is refused by name. A setting is the environment variable ``INVITE_API_``
and the field's name in capitals, or a line of the file of settings; the environment goes first. Nothing
needs setting. Inside the service `settings()` gives those in force.
"""

import difflib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import Field, dataclass, field, fields
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from settings import file, readers
from settings.file import Given
from settings.home import LANGUAGES, LOCAL_URL, PREFIX
from settings.readers import Budget, Network
from settings.secret import ConfigError, own_secret, read_secret


def _setting(read: Callable[[str], Any], default: str, meaning: str, *, secret: bool = False) -> Any:
    """A field of `Settings`: its reader in `readers`, its default as text, and a sentence on it."""
    return field(metadata={"read": read, "default": default, "meaning": meaning}, repr=not secret)


@dataclass(frozen=True)
class Settings:
    """All settings, one field for each. `load_settings` reads them."""

    settings: Path | None = _setting(
        readers.path,
        "",
        "A file with the settings below, a line `NAME=value` for each. Unset: `INSTANCE/settings.env`, if any.",
    )
    instance: Path = _setting(
        readers.instance,
        "",
        "The folder for the database and the key file. Unset: `instance` in a checkout; where pip, pipx or uv has "
        "installed the command, `invite-api` in the user's data folder (`~/.local/share`).",
    )
    database_url: str = _setting(
        readers.database_url,
        "",
        "The database: `sqlite:////path/to/file.db`, or `postgresql://user:password@host/database`. "
        "Unset: `invites.db` in `INSTANCE`.",
        secret=True,
    )
    host: str = _setting(readers.text, "127.0.0.1", "The address that `serve` listens on; `::` for every one.")
    port: int = _setting(readers.number(0, 65535), "8080", "The port that `serve` listens on; 0 for any.")
    public_url: str = _setting(
        readers.public_url, LOCAL_URL, "Where people reach the service; every link starts with it."
    )
    site_name: str = _setting(
        readers.text, "", "The name of this site, on pages and in mail. Unset: the host of `PUBLIC_URL`."
    )
    home_url: str = _setting(
        readers.page, "", "Where people go on after they have joined, such as your app. Unset: to their account."
    )
    contact: str = _setting(
        readers.contact,
        "",
        "Who helps visitors that cannot go on: an e-mail address, or the URL of a page. It is shown on such pages.",
    )
    language: str = _setting(
        readers.one_of(*LANGUAGES),
        "en",
        "The language of mail, and of pages for browsers that ask for no language we have.",
    )
    accent: str = _setting(readers.colour, "#2f6f5e", "The colour of the pages' buttons and links.")
    secret_key: str = _setting(
        readers.secret,
        "",
        "The master secret. Unset: created at the first start, in `INSTANCE/secret.key`.",
        secret=True,
    )
    secret_key_file: Path | None = _setting(readers.path, "", "A file that holds the master secret instead.")
    secret_key_fallbacks: tuple[str, ...] = _setting(
        readers.list_of(readers.former_secret),
        "",
        "Former master secrets, so that links created under them can still be shown; `%2C` in one is a comma, `%20` a "
        "space.",
        secret=True,
    )
    invite_ttl: timedelta = _setting(
        readers.lifetime, "7d", "How long an invite is valid, if nothing else is asked for."
    )
    invite_ttl_max: timedelta = _setting(
        readers.lifetime, "365d", "The longest time that an invite may be valid, unless it never expires."
    )
    budget: Budget | None = _setting(
        readers.budget,
        "100/30d",
        "How many people one account may invite in how long, if it is not an admin of the site; "
        "`0`: only admins invite; `off`: no limit.",
    )
    budget_after: timedelta = _setting(readers.age, "0d", "How old an account must be before it may invite people.")
    events_kept: timedelta | None = _setting(
        readers.lifetime_if_any, "", "How long events are kept, such as `400d`. Unset: they are never deleted."
    )
    redirect_origins: tuple[str, ...] = _setting(
        readers.list_of(readers.exact_origin), "", "If set, the only origins a `redirect_url` may have, beside our own."
    )
    cors_origins: tuple[str, ...] = _setting(
        readers.list_of(readers.exact_origin),
        "",
        "Front ends at other origins that may call the API (not Prosody's): with a bearer token, never a cookie.",
    )
    password_min_length: int = _setting(readers.number(8, 64), "8", "The shortest password a new account may have.")
    allow_query_key: bool = _setting(
        readers.switch, "on", "Whether `?key=` is taken beside the `Authorization` header."
    )
    registration: str = _setting(
        readers.one_of("invite", "open"),
        "invite",
        "Whether people can register without an invite, with a code by mail.",
    )
    smtp_url: str = _setting(
        readers.smtp_url,
        "",
        "The mail server: `smtp://user:password@host:587` (with STARTTLS) or `smtps://…`. Unset: mail waits.",
        secret=True,
    )
    mails_per_day: int = _setting(
        readers.number(1, 1_000_000),
        "50",
        "How many invitations an account that is no admin may have mailed within a day.",
    )
    mail_from: str = _setting(readers.sender, "", "The sender of mail. Unset: `invitations@` the host of `PUBLIC_URL`.")
    trusted_proxies: tuple[Network, ...] = _setting(
        readers.list_of(ipaddress.ip_network),
        "",
        "Addresses or networks whose `X-Forwarded-For` is trusted. Set it behind a proxy: otherwise all visitors share "
        "one rate limit.",
    )
    admin_emails: tuple[str, ...] = _setting(
        readers.list_of(readers.address),
        "",
        "Accounts that have verified one of these addresses are admins of the site.",
    )
    token_prefix: str = _setting(readers.prefix, "hitkey_", "What access tokens start with.")
    legacy_codes: bool = _setting(
        readers.switch, "on", "Agentbot's deprecated 12-hex codes; off: both calls answer `410`."
    )
    legacy_sunset: date | None = _setting(
        readers.day, "", "The day (`2027-06-30`) on which they will be switched off, for the `Sunset` header."
    )
    limits: bool = _setting(readers.switch, "on", "Rate limits: how many calls a minute one caller may send.")
    limits_url: str = _setting(
        readers.limits_url,
        "",
        "A Redis or Valkey in which several servers count together: `redis://:password@host:6379/0`. "
        "Unset: each counts for itself.",
        secret=True,
    )
    threads: int = _setting(readers.number(1, 64), "4", "How many threads answer what takes longer, such as lists.")

    @cached_property
    def secrets(self) -> tuple[bytes, ...]:
        """The master secret, then its fallbacks; made on first use where there is none."""
        current = self.secret_key or read_secret(self.secret_key_file or own_secret(self.instance))
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
        return readers.origin(self.public_url)

    @cached_property
    def cookie_name(self) -> str:
        """What the browser's cookie is called: on https it is held to this host alone.

        Where PUBLIC_URL has a port or a path, they are a part of it: browsers keep one cookie of a name for all ports
        of a host, and paths do not keep apart what is held to a host.
        """
        name = "__Host-invite-session" if self.origin.startswith("https:") else "invite-session"
        port = "" if self.public_url == LOCAL_URL else urlsplit(self.origin).port or ""
        return name + re.sub("[^A-Za-z0-9]+", "-", f"-{port}{self.root}").rstrip("-")

    @cached_property
    def root(self) -> str:
        """The path of PUBLIC_URL, ``""`` or such as ``/invites``: what every link on a page starts with."""
        return self.public_url.removeprefix(self.origin)


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raise ConfigError naming every one that is nonsense or unknown, and its line."""
    given, wrong = file.given(environ)
    wrong += [each.located(_unknown(name)) for name, each in given.items() if name not in _NAMES]
    values: dict[str, Any] = {}
    for each in fields(Settings):
        told = given.get(_name(each), Given(""))
        try:
            if not told.where and each.name not in _AS_IT_IS:
                readers.unquoted(told.value)
            values[each.name] = each.metadata["read"](readers.utf8(told.value or each.metadata["default"]))
        except ValueError as error:
            wrong.append(told.located(f"{_name(each)}: {error}"))
    if not wrong and values["invite_ttl"] > values["invite_ttl_max"]:
        wrong.append(f"{PREFIX}INVITE_TTL: is longer than {PREFIX}INVITE_TTL_MAX")
    if wrong:
        raise ConfigError("\n".join(wrong))
    values["site_name"] = values["site_name"] or urlsplit(values["public_url"]).netloc
    values["mail_from"] = values["mail_from"] or _usual_sender(values["public_url"])
    values["database_url"] = values["database_url"] or f"sqlite:///{values['instance'] / 'invites.db'}"
    return Settings(**values)


def _usual_sender(public_url: str) -> str:
    host = urlsplit(public_url).hostname or ""
    return f"invitations@{'localhost' if ':' in host else host}"


def table() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of every setting, for docs/SETTINGS.md and its test."""
    return [(_name(each), each.metadata["default"], each.metadata["meaning"]) for each in fields(Settings)]


_in_force: ContextVar[Settings] = ContextVar("settings")


def settings() -> Settings:
    """The settings of the request or command that is running."""
    return _in_force.get()


@contextmanager
def in_force(chosen: Settings) -> Iterator[Settings]:
    """Put settings in force for what runs inside."""
    before = _in_force.set(chosen)
    try:
        yield chosen
    finally:
        _in_force.reset(before)


def _name(each: "Field[Any]") -> str:
    return PREFIX + each.name.upper()


_NAMES = [_name(each) for each in fields(Settings)]
_AS_IT_IS = ("secret_key", "secret_key_fallbacks")  # one that is in use with its quotes would be another without them


def _unknown(name: str) -> str:
    bare = [each.removeprefix(PREFIX) for each in _NAMES]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), bare, 1, 0.75)
    return f"{name}: there is no such setting" + (f"; did you mean {PREFIX}{near[0]}?" if near else "")
