"""What a value may be. Each function returns the value as it is kept, or raises Invalid.

Values come as text (a query, a form, a command line) or as JSON has them. None and the empty
text mean "not given" wherever a value may be left out; the callers see to that.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from typing import Any, NoReturn

import clock
from config import origin, settings
from rules.refusals import Invalid, Problem, UsernameInvalid

LONGEST_ADDRESS = 254

_USERNAME = re.compile(r"[a-z0-9._-]{2,30}", re.ASCII)
_URL = re.compile(r"[!-~]{1,2000}", re.ASCII)
_LOCAL = ("http://localhost", "http://127.0.0.1", "http://[::1]")


def plain(value: object, field: str) -> str:
    """Text, as it came."""
    if not isinstance(value, str):
        _refuse(field, "string", "must be text")
    return value


def text(value: object, field: str, longest: int) -> str:
    """Printable text of at most `longest` characters, NFC, without white space at its ends."""
    raw = plain(value, field)
    if len(raw) > 4 * longest:  # to normalise takes time that grows with the square of the length
        _refuse(field, "maxLength", "is longer than %(longest)s characters", longest=longest)
    kept = unicodedata.normalize("NFC", raw).strip()
    if not kept:
        _refuse(field, "required", "is empty")
    if len(kept) > longest:
        _refuse(field, "maxLength", "is longer than %(longest)s characters", longest=longest)
    if not kept.isprintable():
        _refuse(field, "characters", "has characters that cannot be printed, such as a line break")
    return kept


def name(value: object, field: str = "name") -> str:
    """What a person may be called: letters and marks of any script, digits, spaces and . ' ’ -"""
    kept = text(value, field, 100)
    if not all(each in " .'’-" or unicodedata.category(each)[0] in "LM" or each.isdecimal() for each in kept):
        _refuse(field, "characters", "may have letters, digits, spaces and . ' ’ - only")
    if not any(unicodedata.category(each)[0] == "L" or each.isdecimal() for each in kept):
        _refuse(field, "characters", "has no letter in it")
    return kept


def email(value: object) -> str:
    """One address, normalised once and for all: ASCII, lower case, an IDNA domain."""
    address = plain(value, "email").strip(" ")
    if len(address) > LONGEST_ADDRESS:
        _refuse("email", "maxLength", "is longer than %(longest)s characters", longest=LONGEST_ADDRESS)
    if "=?" in address:  # a mail program would read it as something else
        _refuse("email", "email", "is no plain e-mail address")
    if unicodedata.normalize("NFKC", address) != address:
        _refuse("email", "email", "has look-alike characters in it; type it with the plain ones")
    try:
        checked = _validate(address)
    except ValueError:
        _refuse("email", "email", "is no e-mail address such as anne@example.org")
    # IDNA takes "。" for a dot, and drops letters that nobody sees.
    if address.rpartition("@")[2].lower() not in (checked.domain, checked.ascii_domain):
        _refuse("email", "email", "has look-alike characters in it; type it with the plain ones")
    return f"{checked.local_part}@{checked.ascii_domain}".lower()


def typed_name(value: str) -> str:
    """A user name or address as it is looked up: without spaces at its ends, ASCII capitals lowered.

    No other letter is: the Kelvin sign, lowered, is a k. A NUL, which PostgreSQL knows no text with, is in no name.
    """
    kept = value.strip(" ").replace("\0", "\N{REPLACEMENT CHARACTER}")
    return kept.lower() if kept.isascii() else kept


def read(readers: Mapping[str, Callable[[Any], Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given, each read by its reader; None and "" count as not given.

    Raises Invalid with everything that is wrong, not only the first; other refusals at once.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, reader in readers.items():
        if given.get(name) in (None, ""):
            continue
        try:
            values[name] = reader(given[name])
        except Invalid as refusal:
            problems.extend(refusal.problems)
    if problems:
        raise Invalid(*problems)
    return values


def username(value: object) -> str:
    """2 to 30 of a-z 0-9 . _ - ; capitals are lowered. Raises UsernameInvalid."""
    kept = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not _USERNAME.fullmatch(kept):
        raise UsernameInvalid
    return kept


def ttl(value: object) -> timedelta | None:
    """How long an invite is to live, such as ``3d`` or a number of seconds; None for ``never``."""
    written = _digits(value, "ttl")
    if written.strip().lower() == "never":
        return None
    try:
        length = clock.duration(written)
    except ValueError:
        _refuse("ttl", "duration", "must be a number and a unit, such as 7d, 12h, 30m or 2 weeks")
    longest = settings().invite_ttl_max
    if not clock.MINUTE <= length <= longest:
        _refuse("ttl", "range", "must be between 1m and %(longest)s", longest=clock.spell(longest))
    return length


def count(value: object, field: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    written = _digits(value, field)
    if not re.fullmatch("[0-9]{1,9}", written, re.ASCII) or not 1 <= int(written) <= most:
        _refuse(field, "range", "must be a whole number from 1 to %(most)s", most=most)
    return int(written)


def boolean(value: object, field: str) -> bool:
    """True or false, as JSON has them."""
    if not isinstance(value, bool):
        _refuse(field, "boolean", "must be true or false")
    return value


def role(value: object) -> str:
    """What somebody becomes in the project: ``member`` or ``admin``."""
    kept = plain(value, "role")
    if kept not in ("member", "admin"):
        _refuse("role", "enum", "must be member or admin")
    return kept


def redirect_url(value: object) -> str:
    """Where somebody may go after accepting: https (http on this machine), to a permitted origin."""
    url = plain(value, "redirect_url")
    if not _URL.fullmatch(url) or any(each in url for each in '\\"<>`{}|^'):
        _refuse("redirect_url", "url", "must be a URL of at most 2000 plain characters")
    try:
        target = origin(url)
    except ValueError:
        _refuse("redirect_url", "url", "must be a whole URL such as https://app.example.org/start, without a password")
    if not target.startswith("https://") and target.rsplit(":", 1)[0] not in _LOCAL and target not in _LOCAL:
        _refuse("redirect_url", "url", "must start with https://")
    allowed = settings().redirect_origins
    if allowed and target not in (*allowed, settings().origin):
        _refuse(
            "redirect_url",
            "origin",
            "may not lead to %(target)s; permitted are %(origins)s",
            target=target,
            origins=", ".join(allowed),
        )
    return url


def _validate(address: str) -> Any:
    """One plain ASCII address; ValueError for anything else."""
    return _validator().validate_email(
        address, allow_smtputf8=False, check_deliverability=False, globally_deliverable=False, strict=True
    )


@cache
def _validator() -> Any:
    """The library, slow to load and rarely needed; told that home networks have names such as .local."""
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    return email_validator


def _digits(value: object, field: str) -> str:
    """A number as it is written, whether it came as text or as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else plain(value, field)


def _refuse(field: str, rule: str, text: str, **facts: object) -> NoReturn:
    raise Invalid.at(field, rule, text, **facts)
