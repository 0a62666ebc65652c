"""Passwords: what one may be, and how it is hashed.

Hashing takes 19 MiB and a noticeable time, so that guessing is dear. It happens in one thread of its
own with a short queue: a flood of sign-ins then neither starves the other requests nor eats the
memory; who comes when the queue is full is asked to come again.
"""

import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

import clock
from config import settings
from rules.refusals import Invalid, Overloaded

T = TypeVar("T")

LONGEST = 128
QUEUE = 8

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="passwords")
_places = threading.BoundedSemaphore(1 + QUEUE)


def check(password: object, username: str | None = None, field: str = "password") -> str:
    """The password as it is hashed (NFC); raises Invalid if it is too short, too long or well known."""
    if not isinstance(password, str):
        raise Invalid.field(field, "string", "must be text")
    kept = unicodedata.normalize("NFC", password)
    shortest = settings().password_min_length
    if len(kept) < shortest:
        raise Invalid.field(field, "minLength", f"must have at least {shortest} characters")
    if len(kept) > LONGEST:
        raise Invalid.field(field, "maxLength", f"must have at most {LONGEST} characters")
    if not kept.isprintable():
        raise Invalid.field(field, "characters", "has characters that cannot be typed again, such as a line break")
    if kept.lower() in _common() or kept.lower() == username:
        raise Invalid.field(field, "common", "is one of the first that anybody would guess; choose another one")
    return kept


def hash(password: str) -> str:
    """The argon2id hash to store; raises Overloaded. Takes long: not for inside a unit of work."""
    return _in_turn(_hasher.hash, password)


def verify(password: str, stored: str | None) -> bool:
    """Whether this is the password; raises Overloaded. Without a stored hash it takes as long, and is False."""
    matched = _in_turn(_matches, unicodedata.normalize("NFC", password), stored or _nobody())
    return matched and stored is not None


def _matches(password: str, stored: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (Argon2Error, UnicodeEncodeError):
        return False


def _in_turn(work: Callable[..., T], *arguments: object) -> T:
    if not _places.acquire(blocking=False):
        raise Overloaded
    try:
        return _thread.submit(work, *arguments).result()
    finally:
        _places.release()


@cache
def _nobody() -> str:
    """The hash that a password is compared with where there is no account."""
    return _hasher.hash(clock.random_hex(16))


@cache
def _common() -> frozenset[str]:
    """Some 30,000 passwords that have been seen most often, from the zxcvbn package."""
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])
