"""URLs that the operator gives: which are plain, which are on this machine, and where guests of a project go."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from rules.refusals import Invalid
from settings import origin

_PLAIN = re.compile(r"[!-~]{1,2000}", re.ASCII)
_UNSAFE = '\\"<>`{}|^'
_LOCAL = ("http://localhost", "http://127.0.0.1", "http://[::1]")
_TOKEN = "0" * 64


def refuse_odd(url: str, field: str) -> None:
    """Raise Invalid unless a text has at most 2,000 characters, all of which stand for themselves in every program."""
    refuse_other_letters(url, field)
    if _PLAIN.fullmatch(url) is None or any(each in url for each in _UNSAFE):
        raise Invalid.at(field, "url", "must be a URL of at most 2000 plain characters")


def refuse_other_letters(url: str, field: str) -> None:
    """Raise Invalid for a host with letters beyond ASCII; it says how links have that host."""
    try:
        in_links = (urlsplit(url).hostname or "").encode("idna").decode()
    except ValueError:
        return
    if "xn--" in in_links and not url.isascii():
        raise Invalid.at(field, "url", "must have its host as links have it: %(host)s", host=in_links)


def is_local(target: str) -> bool:
    """Whether an origin is plain http on this machine."""
    return target in _LOCAL or target.rsplit(":", 1)[0] in _LOCAL


def unencrypted(origins: Iterable[str]) -> list[str]:
    """Those origins at which what is sent can be read on the way: plain http, and not on this machine."""
    return [each for each in origins if each.startswith("http:") and not is_local(each)]


def join_url(written: str) -> str:
    """Where guests of a project go: https, or http on this machine, with ``{token}`` in its path or behind it, once.

    Raises Invalid for all else.
    """
    filled = written.replace("{token}", _TOKEN)
    if written.count("{token}") != 1:
        raise Invalid.at("url", "url", "must have {token} in it once, such as https://app.example.org/join?i={token}")
    refuse_odd(filled, "url")
    try:
        target = origin(filled)
    except ValueError:
        target = _TOKEN
    if _TOKEN in target:
        raise Invalid.at(
            "url", "url", "must be a whole URL such as https://app.example.org/join?i={token}, without a password"
        )
    if not (target.startswith("https://") or is_local(target)):
        raise Invalid.at("url", "url", "must start with https://")
    return written
