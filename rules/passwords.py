"""Passwords: what one may be, and how it is hashed.

Hashing takes 19 MiB and a noticeable time, so that guessing is expensive. It happens in one thread of its own, and a
limited number of requests may wait for it: a flood of sign-ins then neither slows the other requests down nor fills
the memory. A request beyond that is refused and asked to come again. How many wrong ones an account takes is in
rules/accounts.py.
"""

import threading
import unicodedata
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

import clock
from rules.refusals import Invalid, Overloaded
from settings import settings

MAX_LENGTH = 128
ROOM = 9  # requests at once: one is hashed, eight wait

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
_places = threading.BoundedSemaphore(ROOM)


def check(password: object, username: str | None = None) -> str:
    """The password in Unicode's form NFC, to be hashed; raises Invalid if it is too short, too long or too common."""
    if not isinstance(password, str):
        raise Invalid.at("password", "string", "must be text")
    kept = _normal(password)
    shortest = settings().password_min_length
    if len(kept) < shortest:
        raise Invalid.at("password", "minLength", "must have at least %(shortest)s characters", shortest=shortest)
    if len(kept) > MAX_LENGTH:
        raise Invalid.at("password", "maxLength", "must have at most %(longest)s characters", longest=MAX_LENGTH)
    if not kept.isprintable():
        raise Invalid.at("password", "characters", "has characters that cannot be typed again, such as a line break")
    if kept.lower() in _common() or kept.lower() == username:
        raise Invalid.at("password", "common", "is too easy to guess; choose another one")
    return kept


@contextmanager
def room() -> Iterator[None]:
    """Hold one of the places for requests that hash a password; raises Overloaded if all are taken."""
    if not _places.acquire(blocking=False):
        raise Overloaded
    try:
        yield
    finally:
        _places.release()


def hash(password: str) -> str:
    """The argon2id hash to store; raises Overloaded. Slow: do not call it inside a unit of work."""
    with room():
        return _thread.submit(_hasher.hash, password).result()


def verify(password: str, stored: str | None) -> bool:
    """Whether this is the password; call it inside `room`. Slow; without a stored hash as slow, and False."""
    return _thread.submit(_matches, _normal(password), stored).result()


def _normal(password: str) -> str:
    """The password in form NFC, cut if it is far too long: the time for it grows with the square of the length."""
    return unicodedata.normalize("NFC", password[: 4 * MAX_LENGTH + 1])


def _matches(password: str, stored: str | None) -> bool:
    try:
        return _hasher.verify(stored or _nobody(), password) and stored is not None
    except (Argon2Error, UnicodeEncodeError):
        return False


@cache
def _nobody() -> str:
    """The hash that a password is compared with if there is no account, computed as any other in their thread."""
    return _hasher.hash(clock.random_hex(16))


@cache
def _common() -> frozenset[str]:
    """The 30,000 most common passwords, from the zxcvbn package."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])
